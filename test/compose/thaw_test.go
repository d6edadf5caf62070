package compose

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestThaw freezes the leader's whole container for longer than ttl in a cluster
// without synchronous replication, where nothing but a fence keeps a backend from
// telling its client of a commit in the instant between its waking and its end.
// Many clients write to the old leader's own port all the time.
//
// With the capability that compose.yaml grants, none of them hears of a commit
// after the new leader's first. Without it that is promised for the entrypoint
// alone, and what the others heard is told.
func TestThaw(t *testing.T) {
	for _, k := range []struct {
		name, project string
		fenced        bool
	}{{"with NET_ADMIN", "thaw", true}, {"without NET_ADMIN", "thaw-bare", false}} {
		t.Run(k.name, func(t *testing.T) {
			if !k.fenced {
				slow(t) // it measures, and can fail for the entrypoint alone, which the first does too
			}
			t.Parallel()
			p := newProject(t, k.project)
			if !k.fenced {
				p.edit("compose.yaml", "cap_add: [NET_ADMIN, IPC_LOCK, SYS_NICE]", "cap_add: []")
			}
			for _, file := range memberFiles {
				p.edit(file, "synchronous_mode: true", "synchronous_mode: false")
			}
			p.do("up", "-d")
			lead := p.waitHealthy(2*time.Minute, nodes...)
			next := other(lead)
			p.sql(lead, "CREATE TABLE written (id bigint PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())")
			entry := lab.WriteTo(t, p.dsn("entrypoint"), 1)
			entry.WaitProgress(t, time.Minute)
			var before []*patient
			for i := range int64(12) {
				before = append(before, p.patient(lead, i))
			}

			p.docker("pause", lead)
			frozen := time.Now()
			p.waitLeader(ttl+time.Minute, lead, next)
			after := lab.WriteTo(t, p.dsn(next), 1<<50)
			for _, w := range []*lab.Writer{after, entry} {
				w.WaitProgress(t, time.Minute)
			}
			p.docker("unpause", lead)
			p.see("%s: %s thawed after %.0f s", k.name, lead, time.Since(frozen).Seconds())
			if now := p.waitHealthy(2*time.Minute, nodes...); now != next {
				t.Fatalf("%s leads, want %s", now, next)
			}
			first, late := after.Acks()[0].At, 0
			for _, c := range before {
				<-c.done // its server is gone, one way or the other
				if c.heard.Load() > int64(first) {
					late++
				}
			}
			entry.Stop()
			after.Stop()
			if lost := entry.Lost(t, p.dsn(next)); len(lost) > 0 {
				t.Errorf("%d rows acknowledged through the entrypoint are not on the new leader, such as %d", len(lost), lost[0])
			}
			if k.fenced && late > 0 {
				t.Errorf("%d clients of the old leader were told of a commit after the new leader's first", late)
			}
			p.see("%s: of %d clients on the old leader's own port, %d were told of a commit after the new leader's first; through the entrypoint none was", k.name, len(before), late)
		})
	}
}

// patient is a client that writes on one connection and waits for each answer as
// long as it takes: when its server is frozen, a commit of its is under way.
type patient struct {
	heard atomic.Int64 // boot.Instant of the last acknowledgement
	done  chan struct{}
}

// patient connects to a node's own port and returns once it writes.
func (p *project) patient(node string, number int64) *patient {
	p.t.Helper()
	conn, err := pgx.Connect(p.t.Context(), p.dsn(node))
	if err != nil {
		p.t.Fatal(err)
	}
	c := &patient{done: make(chan struct{})}
	writes := make(chan struct{})
	go func() {
		defer close(c.done)
		defer conn.Close(context.Background())
		for id := (number + 2) << 40; ; id++ {
			if _, err := conn.Exec(p.t.Context(), "INSERT INTO written (id) VALUES ($1)", id); err != nil {
				return
			}
			if c.heard.Swap(int64(clock.Real{}.Now())) == 0 {
				close(writes)
			}
			time.Sleep(time.Millisecond) // its pace
		}
	}()
	select {
	case <-writes:
	case <-c.done:
		p.t.Fatal("a client of the leader's own port cannot write")
	}
	return c
}
