package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// patient is a client that waits for its answer for as long as it takes.
type patient struct {
	conn *pgx.Conn
	mu   sync.Mutex
	at   boot.Instant
	err  error
	done chan struct{}
}

func newPatient(t *testing.T, m *lab.Member) *patient {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, m.DSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return &patient{conn: conn, done: make(chan struct{})}
}

// commits sends a row and waits for its acknowledgement.
func (p *patient) commits(id int) {
	go func() {
		defer close(p.done)
		_, err := p.conn.Exec(context.Background(), fmt.Sprintf("INSERT INTO written (id) VALUES (%d)", id))
		p.mu.Lock()
		defer p.mu.Unlock()
		p.at, p.err = clock.Real{}.Now(), err
	}()
}

// heard: when the row was acknowledged; zero when it was not, or not yet.
func (p *patient) heard() boot.Instant {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0
	}
	return p.at
}

// fenceTables are the tables of the kernel-timed fence on the member's host.
func fenceTables(m *lab.Member) string {
	out, err := m.Run("nft", "list", "tables")
	if err != nil {
		return err.Error() + out
	}
	var found []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "matriarch") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return strings.Join(found, ", ")
}

func kernelFence(t *testing.T, m *lab.Member) bool {
	t.Helper()
	_, body, err := m.Get("/patroni")
	var doc struct {
		Matriarch struct {
			KernelFence bool `json:"kernel_fence"`
		}
	}
	if err != nil || json.Unmarshal([]byte(body), &doc) != nil {
		t.Fatalf("%s: %v %s", m.Name, err, body)
	}
	return doc.Matriarch.KernelFence
}

// TestFrozenHost freezes the whole host of the primary, in asynchronous mode,
// with commits under way, past the end of its lease. When another leads, the
// worst thaw: PostgreSQL goes on first, at length, then the agent, the guard
// last. With the kernel-timed fence no client of the old server is told that its
// row is committed, then or later, each hears that its connection is over, and
// the member comes back on the same port. Without it they are told: so the test
// can fail, and that is what is not promised then.
func TestFrozenHost(t *testing.T) {
	for _, mode := range []string{"automatic", "off"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := lab.NewCluster(t, lab.Options{Store: lab.Embedded, Member: func(int) string {
				return "matriarch: {kernel_fence: " + mode + "}\n"
			}})
			c.StartAll()
			old := c.WaitHealthy(60 * time.Second)
			if got := kernelFence(t, old); got != (mode == "automatic") || got != (fenceTables(old) != "") {
				t.Fatalf("kernel_fence %s: active %v, tables %q", mode, got, fenceTables(old))
			}
			first := lab.StartWriter(t, old.DSN())
			first.WaitProgress(t, 10*time.Second)
			first.Stop()
			var clients []*patient
			for range 6 {
				clients = append(clients, newPatient(t, old))
			}

			guard := guardOf(t, old)
			for _, u := range old.Usage() {
				if u.Role == "guard" {
					t.Logf("the guard has %d kB beside the program file and has run for %s", u.Anon, u.CPU)
				}
			}
			frozen := clock.Real{}.Now()
			old.Freeze()
			// What is sent now is taken by the kernel, and carried out at the thaw.
			const row = 5e8
			for i, p := range clients[:3] {
				p.commits(row + i)
			}
			next := c.WaitLeader(60*time.Second, old)
			w := lab.WriteTo(t, next.DSN(), 1e9)
			w.WaitProgress(t, 20*time.Second)
			leads := w.Acks()[0].At
			t.Logf("frozen for %s when the next primary acknowledged its first row", leads.Sub(frozen).Round(time.Millisecond))
			for i, p := range clients[3:] {
				p.commits(row + 3 + i)
			}

			old.Continue(old.Postgres()...)
			thawed := clock.Real{}.Now()
			lab.Until(t, 20*time.Second, "the rows, as seen on the old host itself", func() string {
				rows, err := lab.SQL(old.SocketDSN(), fmt.Sprintf("SELECT count(*)::text FROM written WHERE id BETWEEN %d AND %d", int(row), int(row)+99))
				if err != nil || rows[0] == "0" {
					return fmt.Sprint(rows, err)
				}
				return ""
			})
			pause(t, time.Second) // for answers on their way
			old.Continue(old.Rest(guard)...)
			pause(t, time.Second)
			old.Continue(guard)

			if lead := c.WaitHealthy(90 * time.Second); lead != next {
				t.Fatalf("%s leads, %s did before the thaw", lead.Name, next.Name)
			}
			lab.Until(t, 20*time.Second, "the end of every fence but the leader's", func() string {
				for _, m := range c.Others(next) {
					if found := fenceTables(m); found != "" {
						return m.Name + ": " + found
					}
				}
				return ""
			})
			late := 0
			for i, p := range clients {
				if at := p.heard(); !at.IsZero() {
					late++
					if mode != "off" {
						t.Errorf("client %d was told of its commit %s after the new primary's first, %s after the thaw", i, at.Sub(leads), at.Sub(thawed))
					}
				}
				select {
				case <-p.done:
				case <-time.After(20 * time.Second):
					t.Errorf("client %d still waits", i)
				}
				p.mu.Lock()
				t.Logf("client %d: %v, %s after the thaw, %s after the new primary's first", i, p.err,
					p.at.Sub(thawed).Round(time.Millisecond), p.at.Sub(leads).Round(time.Millisecond))
				p.mu.Unlock()
			}
			if mode == "off" && late == 0 {
				t.Error("nobody was told of a commit without the kernel-timed fence: this test shows nothing")
			}
			t.Logf("kernel_fence %s: %d of %d clients of the old primary were told of a commit", mode, late, len(clients))

			// Its port serves: readers, and the others when it leads again.
			if rows := lab.MustSQL(t, old.DSN(), "SELECT pg_is_in_recovery()::text"); rows[0] != "true" {
				t.Errorf("in recovery: %s", rows)
			}
			w.Stop()
			if mode == "automatic" {
				switchover(t, c, next, old)
				if lead := c.WaitHealthy(60 * time.Second); lead != old {
					t.Errorf("%s leads", lead.Name)
				}
				if !kernelFence(t, old) || fenceTables(old) == "" || fenceTables(next) != "" {
					t.Errorf("after the switchover: new primary %q, former one %q", fenceTables(old), fenceTables(next))
				}
			}
		})
	}
}

// pause lets time pass in which nothing must happen.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	time.Sleep(d)
}

// TestFenceOfADeadGuard kills agent and guard of the primary together: nothing is
// left that could stop the server but the kernel, which closes its port at the
// end of the lease. The agent that is started later ends the server, takes the
// fence away, and follows.
func TestFenceOfADeadGuard(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded})
	c.StartAll()
	old := c.WaitHealthy(60 * time.Second)
	direct := lab.StartWriter(t, old.DSN())
	direct.WaitProgress(t, 10*time.Second)
	guard := guardOf(t, old)
	server := old.Postmaster()

	old.Agent.Signal(syscall.SIGSTOP) // so that it starts no other guard
	_ = syscall.Kill(guard, syscall.SIGKILL)
	old.Agent.Signal(syscall.SIGKILL)
	if _, err := old.Agent.Wait(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	next := c.WaitLeader(60*time.Second, old)
	w := lab.WriteTo(t, next.DSN(), 1e9)
	w.WaitProgress(t, 20*time.Second)
	if old.Postmaster() != server {
		t.Fatal("somebody ended the old server: this test shows nothing")
	}
	direct.WaitRefused(t, 30*time.Second)
	lab.NoneAfter(t, direct, w)

	old.StartAgent()
	if lead := c.WaitHealthy(60 * time.Second); lead != next {
		t.Fatalf("%s leads, want %s", lead.Name, next.Name)
	}
	direct.Stop()
	lab.NoneAfter(t, direct, w)
	lab.MustSQL(t, old.DSN(), "SELECT 1::text")
	lab.Until(t, 10*time.Second, "the end of the old fence", func() string { return fenceTables(old) })
}
