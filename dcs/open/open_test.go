package open

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/dcstest"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/internal/messages"
)

// TestOpen writes a key through each kind of configuration and reads it through
// another connection.
func TestOpen(t *testing.T) {
	etcd := dcstest.StartEtcd(t)
	zk := dcstest.StartZooKeeper(t)
	embedded := &config.Embedded{AdvertisePeer: "127.0.0.1:1", AdvertiseClient: etcd[0]}
	for name, s := range map[string]config.StoreSection{
		"etcd3":     {Kind: "etcd3", Hosts: etcd, Protocol: "http"},
		"etcd":      {Kind: "etcd3", Hosts: etcd, LegacyEtcd: true},
		"embedded":  {Kind: "embedded", Embedded: embedded},
		"zookeeper": {Kind: "zookeeper", Hosts: zk},
		"zookeeper with a login": {Kind: "zookeeper", Hosts: zk,
			AuthData: []config.Auth{{Scheme: "digest", Credential: "me:secret"}},
			SetACLs:  []config.ACL{{Principal: "auth:", Permissions: []string{"ALL"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			// A namespace of its own: the node above all clusters is protected as the
			// first one is.
			f := &config.File{Namespace: strings.ReplaceAll(name, " ", "-"), Scope: "open", Store: s}
			st, again := mustOpen(t, f), mustOpen(t, f)
			if _, err := st.Put(t.Context(), "config", "{}", dcs.Absent()); err != nil {
				t.Fatal(err)
			}
			snap, err := again.Load(t.Context())
			if err != nil || len(snap.Keys) != 1 {
				t.Errorf("%+v %v", snap, err)
			}
		})
	}
	// What was protected is closed to others.
	stranger := mustOpen(t, &config.File{Namespace: "zookeeper-with-a-login", Scope: "open",
		Store: config.StoreSection{Kind: "zookeeper", Hosts: zk}})
	if _, err := stranger.Put(t.Context(), "config", "x", dcs.Always()); !errors.Is(err, dcs.ErrRefused) {
		t.Errorf("a stranger's write: %v", err)
	} else {
		messages.Check(t, "zookeeper-acl", err.Error())
	}
}

func mustOpen(t *testing.T, f *config.File) dcs.Store {
	t.Helper()
	st, err := Open(t.Context(), f, clock.Real{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

func TestRefused(t *testing.T) {
	for _, s := range []config.StoreSection{{}, {Kind: "consul"}, {Kind: "embedded"}, {Kind: "zookeeper"}, {Kind: "etcd3"},
		{Kind: "zookeeper", Hosts: []string{"h:1"}, UseSSL: true, TLS: config.TLS{CA: "/nonexistent"}}} {
		if st, err := Open(t.Context(), &config.File{Scope: "x", Store: s}, clock.Real{}, nil); err == nil {
			st.Close()
			t.Errorf("%+v was accepted", s)
		}
	}
}

func TestSRV(t *testing.T) {
	lookup := func(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
		switch name {
		case "_etcd-client-x._tcp.example.org":
			return "", []*net.SRV{{Target: "a.example.org.", Port: 2379}, {Target: "b.example.org.", Port: 2380}}, nil
		case "_etcd-ssl._tcp.example.org":
			return "", []*net.SRV{{Target: "s.example.org.", Port: 2379}}, nil
		}
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	for suffix, want := range map[string][]string{
		"x": {"http://a.example.org:2379", "http://b.example.org:2380"},
		"":  {"https://s.example.org:2379"},
	} {
		got, err := etcdEndpoints(t.Context(), config.StoreSection{SRV: "example.org", SRVSuffix: suffix}, lookup)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("suffix %q: %v %v", suffix, got, err)
		}
	}
	if _, err := srvEndpoints(t.Context(), "example.net", "", lookup); !errors.Is(err, dcs.ErrUnavailable) {
		t.Errorf("no records: %v", err)
	}
}

func TestTLSFiles(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 the form that is to be read
	locked, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", plain, []byte("secret"), x509.PEMCipherAES256)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert := write(t, dir, "cert", &pem.Block{Type: "CERTIFICATE", Bytes: der})
	open := write(t, dir, "open", &pem.Block{Type: "EC PRIVATE KEY", Bytes: plain})
	shut := write(t, dir, "shut", locked)
	another, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	anotherDER, err := x509.MarshalECPrivateKey(another)
	if err != nil {
		t.Fatal(err)
	}
	other := write(t, dir, "other", &pem.Block{Type: "EC PRIVATE KEY", Bytes: anotherDER})
	modern := write(t, dir, "modern", &pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: plain})
	for _, c := range []struct {
		name string
		f    config.TLS
		want string
	}{
		{"plain key", config.TLS{CA: cert, Cert: cert, Key: open, Verify: true}, ""},
		{"encrypted key", config.TLS{Cert: cert, Key: shut, KeyPassword: "secret"}, ""},
		{"no password", config.TLS{Cert: cert, Key: shut}, "key_password"},
		{"wrong password", config.TLS{Cert: cert, Key: shut, KeyPassword: "wrong"}, "key_password"},
		{"modern encryption", config.TLS{Cert: cert, Key: modern, KeyPassword: "secret"}, "PKCS#8"},
		{"no certificate in the file", config.TLS{CA: open}, "holds no certificate"},
		{"no key", config.TLS{Cert: cert}, "certificate for the store"},
		{"another key", config.TLS{Cert: cert, Key: other}, "certificate for the store"},
	} {
		got, err := tlsConfig(c.f)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", c.name, err)
			}
			if c.name == "another key" && err != nil {
				messages.Check(t, "store-other-key", err.Error())
			}
			continue
		}
		if err != nil || len(got.Certificates) != 1 || got.InsecureSkipVerify == c.f.Verify {
			t.Errorf("%s: %+v %v", c.name, got, err)
		}
	}
}

func write(t *testing.T, dir, name string, b *pem.Block) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A client's file names the partners only: nobody else may be asked, least of
// all whoever listens on the addresses that a member here would have by default.
func TestVotesOfAClientsFile(t *testing.T) {
	load := func(yaml string) []config.Partner {
		t.Helper()
		path := filepath.Join(t.TempDir(), "f.yml")
		if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		f, _, err := config.Load(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return votes(f)
	}
	partners := "scope: s\nembedded:\n  partners: [{name: a, peer: '127.0.0.1:11', client: '127.0.0.1:12'}]\n"
	if got := load(partners); len(got) != 1 || got[0].Client != "127.0.0.1:12" {
		t.Errorf("partners only: %v", got)
	}
	if got := load(partners + "  listen_peer: 127.0.0.1:21\n  listen_client: 127.0.0.1:22\n"); len(got) != 2 {
		t.Errorf("a member of its own: %v", got)
	}
}
