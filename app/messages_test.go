package app

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/dcstest"
	"github.com/matriarch-ha/matriarch/guard"
	"github.com/matriarch-ha/matriarch/internal/messages"
	"github.com/matriarch-ha/matriarch/postgres/runas"
)

// ground is a place for members of one cluster: a directory that the server's
// user may enter, and a running store.
type ground struct {
	t     *testing.T
	dir   string
	user  runas.User
	store string // host:port of etcd
}

func newGround(t *testing.T) *ground {
	t.Helper()
	dir, err := os.MkdirTemp("", "mtr-app-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	user, err := runas.For(filepath.Join(dir, "none"))
	if err != nil {
		t.Fatal(err)
	}
	must(t, os.Chmod(dir, 0o755))
	must(t, user.Chown(dir))
	return &ground{t: t, dir: dir, user: user, store: dcstest.StartEtcd(t)[0]}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// member is one agent, described by a file.
type testMember struct {
	*ground
	t            *testing.T
	scope, name  string
	rest, server string // host:port
	text         string // of its file
	out          *lockedBuffer
	cmd          *exec.Cmd
	ended        chan struct{}
}

func (g *ground) member(t *testing.T, scope, name string) *testMember {
	t.Helper()
	m := &testMember{ground: g, t: t, scope: scope, name: name, rest: freeAddr(t), server: freeAddr(t)}
	must(t, g.user.MkdirAll(m.path(), 0o755))
	m.text = fmt.Sprintf(`scope: %s
name: %s
restapi: {listen: '%s', connect_address: '%s'}
etcd3: {hosts: ['%s'], protocol: http}
bootstrap:
  dcs: {ttl: 20, loop_wait: 1, retry_timeout: 3, postgresql: {use_pg_rewind: true, parameters: {max_connections: 30}}}
  initdb: [{encoding: UTF8}]
postgresql:
  listen: '%s'
  connect_address: '%s'
  data_dir: %s
  authentication:
    superuser: {username: postgres, password: secret-one}
    replication: {username: replicator, password: secret-two}
  parameters: {fsync: 'off', shared_buffers: 16MB, unix_socket_directories: '%s'}
  pg_hba: [local all all trust, host all all 127.0.0.1/32 scram-sha-256, host replication replicator 127.0.0.1/32 scram-sha-256]
`, scope, name, m.rest, m.rest, g.store, m.server, m.server, m.data(), m.path())
	return m
}

func (m *testMember) path(elem ...string) string {
	return filepath.Join(append([]string{m.dir, m.scope + "-" + m.name}, elem...)...)
}
func (m *testMember) data() string { return m.path("data") }
func (m *testMember) file() string { return m.path("member.yml") }

// edit replaces texts of the file; each must be there.
func (m *testMember) edit(oldnew ...string) {
	m.t.Helper()
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(m.text, oldnew[i]) {
			m.t.Fatalf("the file has no %q:\n%s", oldnew[i], m.text)
		}
		m.text = strings.Replace(m.text, oldnew[i], oldnew[i+1], 1)
	}
}

// start runs the agent until it ends, or the test.
func (m *testMember) start() {
	m.t.Helper()
	must(m.t, os.WriteFile(m.file(), []byte(m.text), 0o600))
	m.out, m.ended = &lockedBuffer{}, make(chan struct{})
	m.cmd = exec.Command(os.Args[0], "agent", m.file())
	m.cmd.Stdout, m.cmd.Stderr = m.out, m.out
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	must(m.t, m.cmd.Start())
	go func() { _ = m.cmd.Wait(); close(m.ended) }()
	m.t.Cleanup(m.stop)
}

// stop ends the agent, and its server with it.
func (m *testMember) stop() {
	select {
	case <-m.ended:
		return
	default:
	}
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.ended:
	case <-time.After(30 * time.Second):
		_ = syscall.Kill(-m.cmd.Process.Pid, syscall.SIGKILL)
		<-m.ended
	}
}

// refused waits for the agent's end with an error and returns what it said.
func (m *testMember) refused() string {
	m.t.Helper()
	m.start()
	select {
	case <-m.ended:
	case <-time.After(60 * time.Second):
		m.t.Fatalf("the agent runs on:\n%s", m.out)
	}
	if m.cmd.ProcessState.ExitCode() == 0 {
		m.t.Errorf("the agent ended with 0:\n%s", m.out)
	}
	return m.out.String()
}

// says waits until the running agent has said something.
func (m *testMember) says(what string) string {
	m.t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		text := m.out.String()
		if strings.Contains(text, what) {
			return text
		}
		select {
		case <-m.ended:
			m.t.Fatalf("the agent ended and has not said %q:\n%s", what, text)
		default:
		}
		if time.Now().After(end) {
			m.t.Fatalf("the agent has not said %q:\n%s", what, text)
		}
	}
}

// TestMessagesAtStart: what stops a start, or keeps it waiting, is told once,
// and nothing is made.
func TestMessagesAtStart(t *testing.T) {
	g := newGround(t)
	hold := func(m *testMember, addr string) {
		l, err := net.Listen("tcp", addr)
		must(m.t, err)
		m.t.Cleanup(func() { l.Close() })
	}
	proxy := func(m *testMember, taken string) {
		at := map[string]string{"listen": freeAddr(m.t), "listen_replicas": freeAddr(m.t), "stats": freeAddr(m.t)}
		hold(m, at[taken])
		m.text += fmt.Sprintf("proxy: {listen: '%s', listen_replicas: '%s', stats: '%s'}\n", at["listen"], at["listen_replicas"], at["stats"])
	}
	// An etcd that wants a password, and one that holds the cluster under its old API.
	locked, old := dcstest.StartEtcd(t)[0], dcstest.StartEtcd(t, "--enable-v2=true")[0]
	for _, args := range [][]string{{"user", "add", "root:right"}, {"user", "grant-role", "root", "root"}, {"auth", "enable"}} {
		cmd := exec.Command("etcdctl", append([]string{"--endpoints", locked}, args...)...)
		cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	put, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+old+"/v2/keys/service/start-store-holds-v2-keys/config", strings.NewReader("value=x"))
	must(t, err)
	put.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(put)
	must(t, err)
	resp.Body.Close()
	embedded := func(m *testMember, client bool) {
		peer, other := freeAddr(m.t), freeAddr(m.t)
		m.edit("etcd3: {hosts: ['"+g.store+"'], protocol: http}", fmt.Sprintf("embedded: {listen_peer: '%s', listen_client: '%s'}", peer, other))
		if client {
			hold(m, other)
		} else {
			hold(m, peer)
		}
	}
	secure := func(m *testMember, life time.Duration, ip string, otherCA bool) {
		at, ca := serveTLS(m, life, ip)
		if otherCA {
			_, ca = serveTLS(m, life, ip)
		}
		m.edit("'"+g.store+"'], protocol: http", "'"+at+"'], protocol: https, cacert: "+ca)
	}
	for _, k := range []struct {
		id   string
		edit func(m *testMember)
		wait string // what a start that goes on says; "": it ends
	}{
		{"rest-port-taken", func(m *testMember) { hold(m, m.rest) }, ""},
		{"entrypoint-port-taken", func(m *testMember) { proxy(m, "listen") }, ""},
		{"stats-port-taken", func(m *testMember) { proxy(m, "stats") }, ""},
		{"store-cacert-missing", func(m *testMember) { m.edit("protocol: http", "protocol: https, cacert: /nonexistent/ca.pem") }, ""},
		{"rest-certificate-missing", func(m *testMember) { m.edit("restapi: {", "restapi: {certfile: /nonexistent/rest.pem, ") }, ""},
		{"wildcard-connect-address", func(m *testMember) { m.edit("connect_address: '"+m.server, "connect_address: '0.0.0.0:5432") }, ""},
		{"store-password", func(m *testMember) {
			m.edit("'"+g.store+"'], protocol: http", "'"+locked+"'], protocol: http, username: root, password: wrong")
		}, ""},
		{"store-password-missing", func(m *testMember) { m.edit(g.store, locked) }, ""},
		{"store-holds-v2-keys", func(m *testMember) { m.edit("etcd3: {hosts: ['"+g.store, "etcd: {hosts: ['"+old) }, ""},
		{"embedded-client-port-taken", func(m *testMember) { embedded(m, true) }, "port is in use"},
		{"embedded-peer-port-taken", func(m *testMember) { embedded(m, false) }, "port is in use"},
		{"store-wrong-ca", func(m *testMember) { secure(m, time.Hour, "127.0.0.1", true) }, "waiting for the store"},
		{"store-expired", func(m *testMember) { secure(m, -time.Hour, "127.0.0.1", false) }, "waiting for the store"},
		{"store-other-name", func(m *testMember) { secure(m, time.Hour, "10.9.9.9", false) }, "waiting for the store"},
		{"store-refuses", func(m *testMember) { m.edit(g.store, freeAddr(m.t)) }, "waiting for the store"},
		{"store-unknown-host", func(m *testMember) { m.edit(g.store, "no-such-host.invalid:2379") }, "waiting for the store"},
		{"store-is-plain", func(m *testMember) { m.edit("protocol: http", "protocol: https") }, "waiting for the store"},
		{"data-dir-not-usable", func(m *testMember) { must(m.t, os.WriteFile(m.data(), nil, 0o600)) }, "cannot be used"},
		{"ipv6-brackets", func(m *testMember) {
			m.edit("restapi: {listen: '"+m.rest+"'", "restapi: {listen: '::1:8008'", g.store, freeAddr(m.t))
		}, "waiting for the store"},
	} {
		t.Run(k.id, func(t *testing.T) {
			m := g.member(t, fmt.Sprintf("start-%s", k.id), "n1")
			k.edit(m)
			if k.wait == "" {
				messages.Check(t, k.id, m.refused())
			} else {
				m.start()
				m.says(k.wait)
				// What is told must not come again with the next attempts, one each 300 ms.
				time.Sleep(700 * time.Millisecond)
				m.stop()
				messages.Check(t, k.id, m.out.String())
			}
			if entries, err := os.ReadDir(m.data()); err == nil {
				t.Errorf("the data directory was made: %v", entries)
			}
		})
	}
}

// serveTLS answers at a port with a certificate for ip that ends after life, and
// returns the port and the file of the authority.
func serveTLS(m *testMember, life time.Duration, ip string) (addr, ca string) {
	m.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(m.t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "store"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(life), IPAddresses: []net.IP{net.ParseIP(ip)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	must(m.t, err)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{NextProtos: []string{"h2"}, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	must(m.t, err)
	m.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c); c.Close() }()
		}
	}()
	ca = m.path(fmt.Sprintf("ca-%d.pem", c.SerialNumber))
	must(m.t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	return l.Addr().String(), ca
}

// TestMessagesBootstrapFails: a database that cannot be made is told once,
// however often it is tried.
func TestMessagesBootstrapFails(t *testing.T) {
	g := newGround(t)
	m := g.member(t, "boot", "n1")
	m.edit("{encoding: UTF8}", "{locale: xx_YY.UTF-8}")
	m.start()
	m.says("bootstrap failed")
	m.says("will be tried again")
	resp, err := http.Get("http://" + m.rest + "/patroni")
	must(t, err)
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), `"state"`) {
		t.Errorf("GET /patroni: %s %v", body, err)
	}
	m.stop()
	messages.Check(t, "no-locale", m.out.String())
}

// TestMessagesMembers: two of one name, and the data of another cluster.
func TestMessagesMembers(t *testing.T) {
	g := newGround(t)
	m := g.member(t, "members", "n1")
	m.start()
	m.says("leads on timeline 1")
	twin := g.member(t, "members", "twin")
	twin.edit("name: twin", "name: n1")
	messages.Check(t, "two-of-one-name", twin.refused())

	other := g.member(t, "other", "n2")
	must(t, exec.Command("cp", "-a", m.data(), other.data()).Run())
	must(t, os.Remove(filepath.Join(other.data(), "postmaster.pid")))
	store, err := OpenStore(t.Context(), other.config(), slog.New(slog.DiscardHandler))
	must(t, err)
	defer store.Close()
	_, err = store.Put(t.Context(), "initialize", "7000000000000000000", dcs.Always())
	must(t, err)
	messages.Check(t, "other-cluster", other.refused())
	m.stop()
}

// config is the member's file as it is read.
func (m *testMember) config() *config.File {
	m.t.Helper()
	must(m.t, os.WriteFile(m.file(), []byte(m.text), 0o600))
	f, _, err := config.Load(m.file(), nil)
	must(m.t, err)
	return f
}

// However often a guard is started, the reason is told once.
func TestMessagesKernelFence(t *testing.T) {
	var log bytes.Buffer
	m := &member{log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 3 {
		m.sayKernelFence(guard.KernelState{Trouble: "CAP_NET_ADMIN is not granted"}, guard.Duty{Port: 5432})
	}
	messages.Check(t, "no-kernel-fence", log.String())
}
