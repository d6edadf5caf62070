package chaos

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

const (
	// primaryWithin is the promise: ttl + 1 s, and with the store's leader lost its
	// election and the restart of its timers, another ttl. The rest is for what was
	// started only at the healing (store, agent, crash recovery) on a busy machine.
	primaryWithin = ttl + time.Second + ttl + 15*time.Second
	// wholeWithin is for copies and rewinds.
	wholeWithin = 120 * time.Second
)

// heal undoes the round's faults and sees all recover.
func (w *world) heal() {
	w.undoAll()
	healed := now()
	if w.paused {
		w.resume()
		healed = now()
	}
	w.note("healed")
	took, ok := w.awaitWrite(healed)
	if !ok {
		w.found("I6", "no write was acknowledged through the entrypoint within %s after all faults ended\n%s", primaryWithin, w.c.Tails(12))
		return
	}
	w.judged.healed(w.round, took)
	w.note("a write through the entrypoint %.1f s after that", took.Seconds())
	problem := "?"
	for began := now(); problem != ""; time.Sleep(200 * time.Millisecond) {
		if problem = w.unwell(); problem != "" && now().Sub(began) > wholeWithin {
			w.found("I6", "not all members stream from a leader %s after all faults ended: %s\n%s", wholeWithin, problem, w.c.Tails(12))
			return
		}
		for _, m := range w.c.Members {
			w.ensureAgent(m)
		}
	}
	w.note("all members stream from %s, %.1f s after all faults ended", w.c.Leader().Name, now().Sub(healed).Seconds())
}

// pausedSince is the round as a time in which one primary is not promised, if the
// cluster was paused in it.
func (w *world) pausedSince(from boot.Instant) []span {
	if !w.paused {
		return nil
	}
	w.paused = false
	return []span{{from, now()}}
}

// resume waits until no member says that the cluster is paused.
func (w *world) resume() {
	began := now()
	for {
		paused := ""
		for _, m := range w.c.Members {
			_, body, err := m.Get("/cluster")
			if err != nil || strings.Contains(body, `"pause"`) {
				paused += fmt.Sprintf(" %s: %s %v", m.Name, body, err)
			}
		}
		if paused == "" {
			return
		}
		if now().Sub(began) > wholeWithin {
			w.found("I7", "the cluster stays paused:%s", paused)
			return
		}
		w.note("resume: %s", oneLine(<-w.command("resume", "lab")))
		time.Sleep(500 * time.Millisecond)
	}
}

// awaitWrite waits for a row that was sent through the entrypoint after that time,
// and says how long it took to be acknowledged.
func (w *world) awaitWrite(since boot.Instant) (time.Duration, bool) {
	for now().Sub(since) < primaryWithin {
		for _, c := range w.clients[:w.entries] {
			if a, ok := c.last(); ok && a.Sent > since {
				return a.At.Sub(since), true
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return 0, false
}

// unwell says why the cluster is not whole: somebody leads and all others stream
// from it on its timeline.
func (w *world) unwell() string {
	lead := w.c.Leader()
	if lead == nil {
		return "nobody leads"
	}
	ls, err := lead.Status()
	if err != nil {
		return err.Error()
	}
	for _, m := range w.c.Others(lead) {
		s, err := m.Status()
		if err != nil || s.Role != "replica" || s.Repl != "streaming" || s.Timeline != ls.Timeline {
			return fmt.Sprintf("%s is %+v (%v), the leader %s on timeline %d", m.Name, s, err, lead.Name, ls.Timeline)
		}
	}
	return ""
}

// rowsOf are the numbers of all rows of a member's server, with its timeline's
// history file.
func rowsOf(m *lab.Member) (rows map[int64]bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, m.DSN())
	if err != nil {
		return nil, err
	}
	defer hangUp(conn)
	got, err := conn.Query(ctx, "SELECT id FROM written")
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(got, pgx.RowTo[int64])
	rows = make(map[int64]bool, len(ids))
	for _, id := range ids {
		rows[id] = true
	}
	return rows, err
}

func removeGroup(ns string) {
	for range 50 {
		if err := os.Remove("/sys/fs/cgroup/blkio/" + ns); err == nil || os.IsNotExist(err) {
			return
		}
		time.Sleep(20 * time.Millisecond) // until the kernel has reaped its processes
	}
}
