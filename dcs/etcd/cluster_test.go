package etcd

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/dcstest"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// TestHungServer: with any one of three servers hung, the store's leader too,
// every call succeeds, a watch goes on, and a session is kept.
func TestHungServer(t *testing.T) {
	c := dcstest.StartEtcdCluster(t, 3)
	for i := range c.Endpoints {
		st := open(t, "/hung", append(append([]string(nil), c.Endpoints[i:]...), c.Endpoints[:i]...)...)
		n, err := st.Open(t.Context(), 60*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		watching, stopWatch := context.WithCancel(t.Context())
		updates := st.Watch(watching)
		<-updates
		if err := c.Servers[i].Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		// A write is sent where somebody answered a moment ago; its outcome would
		// be unknown, and rightly so. Let that moment pass.
		for st.pool.endpoints[0].alive(clock.Real{}.Now()) {
			time.Sleep(10 * time.Millisecond)
		}
		for _, k := range []struct {
			name string
			call func(context.Context) error
		}{
			{"put", func(ctx context.Context) error { _, err := st.Put(ctx, "status", "{}", dcs.Always()); return err }},
			{"load", func(ctx context.Context) error { _, err := st.Load(ctx); return err }},
			{"renew", func(ctx context.Context) error { _, err := n.Renew(ctx); return err }},
			{"session put", func(ctx context.Context) error { _, err := n.Put(ctx, "leader", "x", dcs.Always()); return err }},
		} {
			begun := time.Now()
			if err := retry(t, k.call); err != nil {
				t.Errorf("server %d hung: %s: %v", i, k.name, err)
			}
			t.Logf("server %d hung: %s took %v", i, k.name, time.Since(begun))
		}
		awaitKey(t, updates, n.ID())
		if err := c.Servers[i].Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		stopWatch()
		for range updates {
		}
		if err := n.End(t.Context()); err != nil {
			t.Error(err)
		}
		st.Close()
	}
}

// retry tolerates the store's own election, nothing longer.
func retry(t *testing.T, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		err := call(ctx)
		if err == nil || !errors.Is(err, dcs.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
	}
}

func awaitKey(t *testing.T, updates <-chan dcs.Update, session string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case u := <-updates:
			for _, kv := range u.Snapshot.Keys {
				if kv.Key == "leader" && kv.Session == session {
					return
				}
			}
		case <-limit:
			t.Error("the watch did not go on")
			return
		}
	}
}

func TestLogin(t *testing.T) {
	endpoints := dcstest.StartEtcd(t, "--auth-token-ttl", "1")
	admin := open(t, "/x", endpoints...)
	defer admin.Close()
	auth := pb.NewAuthClient(admin.pool.endpoints[0].conn)
	ctx := t.Context()
	for _, step := range []func() error{
		func() error {
			_, err := auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "root", Password: "top secret"})
			return err
		},
		func() error { _, err := auth.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "root"}); return err },
		func() error {
			_, err := auth.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"})
			return err
		},
		func() error { _, err := auth.AuthEnable(ctx, &pb.AuthEnableRequest{}); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := admin.Load(ctx); !errors.Is(err, dcs.ErrRefused) {
		t.Errorf("without a login: %v", err)
	}
	if _, err := admin.Put(ctx, "k", "v", dcs.Always()); !errors.Is(err, dcs.ErrRefused) {
		t.Errorf("put without a login: %v", err)
	}
	cfg := Config{Endpoints: endpoints, Prefix: "/x", Username: "root", Password: "wrong one"}
	_, err := Open(ctx, cfg, clock.Real{})
	if !errors.Is(err, dcs.ErrRefused) || strings.Contains(err.Error(), cfg.Password) {
		t.Errorf("wrong password: %v", err)
	}
	cfg.Password = "top secret"
	st, err := Open(ctx, cfg, clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	n, err := st.Open(ctx, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	updates := st.Watch(ctx)
	<-updates
	// A login that the server does not know any more is renewed on the way.
	for _, token := range []string{st.pool.endpoints[0].currentToken(), "nonsense.1"} {
		st.pool.endpoints[0].setToken(token)
		if _, err := n.Put(ctx, "leader", "n1", dcs.Always()); err != nil {
			t.Errorf("put: %v", err)
		}
		if _, err := n.Renew(ctx); err != nil {
			t.Errorf("renew: %v", err)
		}
	}
	awaitKey(t, updates, n.ID())
}

func TestLegacyV2InUse(t *testing.T) {
	endpoints := dcstest.StartEtcd(t, "--enable-v2=true")
	cfg := Config{Endpoints: endpoints, Prefix: "/service/lab"}
	if used, err := LegacyV2InUse(t.Context(), cfg); used || err != nil {
		t.Errorf("empty: %v %v", used, err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+endpoints[0]+"/v2/keys/service/lab/config", bytes.NewBufferString("value=x"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if used, err := LegacyV2InUse(t.Context(), cfg); !used || err != nil {
		t.Errorf("with a key: %v %v", used, err)
	}
	cfg.Prefix = "/service/other"
	if used, err := LegacyV2InUse(t.Context(), cfg); used || err != nil {
		t.Errorf("another cluster: %v %v", used, err)
	}
	cfg.Endpoints = []string{"127.0.0.1:1"}
	if _, err := LegacyV2InUse(t.Context(), cfg); !errors.Is(err, dcs.ErrUnavailable) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestLegacyV2NotOffered(t *testing.T) {
	cfg := Config{Endpoints: dcstest.StartEtcd(t), Prefix: "/service/lab"}
	if used, err := LegacyV2InUse(t.Context(), cfg); used || err != nil {
		t.Errorf("got %v %v", used, err)
	}
}

func TestConfig(t *testing.T) {
	for ep, want := range map[string]string{"h:1": "h:1", "http://h:1": "h:1", "https://[::1]:2": "[::1]:2", "h": "", "ftp://h:1": "", "": ""} {
		addr, _, err := splitEndpoint(ep, false)
		if addr != want || (err == nil) != (want != "") {
			t.Errorf("endpoint %q: %q %v", ep, addr, err)
		}
	}
	for _, cfg := range []Config{{Prefix: "/x"}, {Endpoints: []string{"h:1"}}, {Endpoints: []string{"h:1"}, Prefix: "/x/"}} {
		if _, err := Open(t.Context(), cfg, clock.Real{}); err == nil {
			t.Errorf("%v was accepted", cfg)
		}
	}
}

// FuzzEndpoint: an accepted endpoint has a host and a port, and is accepted in
// its plain form too.
func FuzzEndpoint(f *testing.F) {
	for _, s := range []string{"h:1", "http://h:1", "https://[::1]:2/x", "h", ":1", "http://", "http://h:1@x:2"} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, ep string, tls bool) {
		addr, _, err := splitEndpoint(ep, tls)
		if err != nil {
			return
		}
		if again, _, err := splitEndpoint(addr, tls); !strings.Contains(addr, "://") && (err != nil || again != addr) {
			t.Errorf("%q gave %q, which gives %q, %v", ep, addr, again, err)
		}
	})
}
