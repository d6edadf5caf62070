package api_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/api/apitest"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs/memory"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/lease"
)

// busyMember is a member whose server takes a moment for each question, one at
// a time, as a real one does, and whose lease is a real keeper's.
type busyMember struct {
	*apitest.Member
	keeper *lease.Keeper
	server sync.Mutex
	probes atomic.Int64
}

func (m *busyMember) ask() {
	m.server.Lock()
	defer m.server.Unlock()
	time.Sleep(3 * time.Millisecond) // the server's own work
	m.probes.Add(1)
}

func (m *busyMember) Fresh(context.Context) api.Status { m.ask(); return m.Status() }

func (m *busyMember) Status() api.Status {
	s := m.Member.Status()
	l := m.keeper.State()
	s.Lease = api.Lease{Held: l.Held, Session: l.Session, Deadlines: l.Until()}
	return s
}

// attack is one way to be a nuisance on a connection, until the server or the
// test ends it.
type attack struct {
	what string
	send func(net.Conn)
}

var attacks = []attack{
	{"says nothing", func(c net.Conn) { io.Copy(io.Discard, c) }},
	{"sends a header byte by byte", func(c net.Conn) {
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(c, "GET /patroni HTTP/1.1\r\nHost: x\r\nX-%d: "[:1+i%30], i); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}},
	{"sends a header without end", func(c net.Conn) {
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n")
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(c, "X-%d: %s\r\n", i, strings.Repeat("x", 1000)); err != nil {
				return
			}
		}
	}},
	{"sends a body without end", func(c net.Conn) {
		io.WriteString(c, "POST /restart HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n{\"role\":\"")
		for {
			if _, err := io.WriteString(c, strings.Repeat("x", 10000)); err != nil {
				return
			}
		}
	}},
	{"promises a body and sends none", func(c net.Conn) {
		io.WriteString(c, "PATCH /config HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
		io.Copy(io.Discard, c)
	}},
	{"asks much and reads nothing", func(c net.Conn) {
		for {
			if _, err := io.WriteString(c, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 10)); err != nil {
				return
			}
		}
	}},
	{"asks for what costs most", func(c net.Conn) {
		go io.Copy(io.Discard, c)
		for _, path := range []string{"patroni", "cluster", "vote", "metrics", "journal?limit=1000", "config"} {
			if _, err := fmt.Fprintf(c, "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
				return
			}
		}
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		time.Sleep(10 * time.Millisecond)
	}},
}

// floodVar names the address that this program attacks instead of running
// tests: clients in the server's own process would take its turns away by
// themselves.
const floodVar = "MATRIARCH_TEST_FLOOD"

// floodLimit ends an attack that nobody ended.
const floodLimit = 2 * time.Minute

func TestMain(m *testing.M) {
	if addr := os.Getenv(floodVar); addr != "" {
		flood(addr, 2*api.MaxConns)
		return
	}
	os.Exit(m.Run())
}

// flood keeps n clients of all kinds busy.
func flood(addr string, n int) {
	ctx, stop := context.WithTimeout(context.Background(), floodLimit)
	defer stop()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				time.Sleep(50 * time.Millisecond)
				c, err := net.DialTimeout("tcp", addr, time.Second)
				if err != nil {
					continue
				}
				stop := context.AfterFunc(ctx, func() { c.Close() })
				attacks[i%len(attacks)].send(c)
				stop()
				c.Close()
			}
		})
	}
	wg.Wait()
}

// startFlood attacks from a process of its own until the test ends.
func startFlood(t *testing.T, addr string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), floodVar+"="+addr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

// TestFloodHarmsNeitherLeaseNorLoop: while hundreds of clients misbehave in
// every way, the lease is renewed on and on and never lost, the loop asks the
// server, and a load balancer's checks are answered.
func TestFloodHarmsNeitherLeaseNorLoop(t *testing.T) {
	var renewals, turns, checks atomic.Int64
	store := memory.NewServer(clock.Real{}).Connect()
	store.SetHook(func(c memory.Call) memory.Fault {
		if c.Op == memory.OpRenew {
			renewals.Add(1)
		}
		return memory.FaultNone
	})
	keeper := lease.New(lease.Options{Store: store, Clock: clock.Real{}, Budget: fence.DefaultBudget(), Member: "n2",
		Interval: func() time.Duration { return 10 * time.Millisecond }, TTL: func() time.Duration { return 30 * time.Second }})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { _ = keeper.Run(ctx) })
	for keeper.Session() == nil {
		<-keeper.Changed()
	}
	if _, err := keeper.Take(ctx); err != nil {
		t.Fatal(err)
	}
	m := &busyMember{Member: one("n2", nil), keeper: keeper}
	srv, err := api.New(api.Options{Source: m})
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, srv)

	startFlood(t, addr)
	wg.Go(func() { // the loop
		for ctx.Err() == nil {
			m.ask()
			turns.Add(1)
			time.Sleep(time.Millisecond)
		}
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	wg.Go(func() { // the load balancer
		for ctx.Err() == nil {
			resp, err := client.Get("http://" + addr + "/primary")
			if err != nil {
				continue
			}
			resp.Body.Close()
			if resp.StatusCode == 200 {
				checks.Add(1)
			}
		}
	})

	most := 0
	for most < api.MaxConns { // the attack has begun
		most = max(most, srv.Conns())
		time.Sleep(time.Millisecond)
	}
	renewals.Store(0)
	turns.Store(0)
	checks.Store(0)
	for renewals.Load() < 100 || turns.Load() < 50 || checks.Load() < 20 {
		if keeper.Context().Err() != nil {
			t.Fatalf("the lease was lost: %v", context.Cause(keeper.Context()))
		}
		most = max(most, srv.Conns())
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	t.Logf("%d renewals, %d turns, %d checks answered, %d questions to the server, %d connections at most",
		renewals.Load(), turns.Load(), checks.Load(), m.probes.Load(), most)
	if most > api.MaxConns {
		t.Errorf("%d connections were open", most)
	}
}

// TestTooManyChanges: changes beyond the limit are turned away at once, and
// start nothing.
func TestTooManyChanges(t *testing.T) {
	m := one("n1", nil)
	begun, release := make(chan struct{}), make(chan struct{})
	m.OnRestart = func(context.Context, cluster.RestartConditions) error { begun <- struct{}{}; <-release; return nil }
	s := mustServer(t, m, nil)
	var wg sync.WaitGroup
	for range api.MaxChanges {
		wg.Go(func() { ask(s, "POST", "/restart", "") })
		<-begun
	}
	if got := ask(s, "POST", "/reload", ""); got.Code != 503 || got.Header().Get("Retry-After") == "" || m.Reloads() != 0 {
		t.Errorf("one too many: %d", got.Code)
	}
	if got := ask(s, "GET", "/patroni", ""); got.Code != 200 {
		t.Errorf("reading: %d", got.Code)
	}
	close(release)
	wg.Wait()
	if got := ask(s, "POST", "/reload", ""); got.Code != 202 {
		t.Errorf("afterwards: %d", got.Code)
	}
}
