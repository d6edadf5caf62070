package explain

import (
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
)

// TestRestartAfterAFailedStart: a killed postmaster's memory may still be in use when
// it is started again, so that the first attempt fails and ends too. What brought the
// primary down is the exit before all attempts, and the outage began there.
func TestRestartAfterAFailedStart(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var last *entry
	src := &source{Source: &Source{Name: "n1"}}
	add := func(after time.Duration, r journal.Record) *entry {
		e := &entry{src: src, rec: r, at: began.Add(after), prev: last}
		last = e
		return e
	}
	exit := func(x journal.Exit) journal.Record {
		return journal.Record{Event: &journal.Event{Name: journal.ServerExited, Exit: &x}}
	}
	ended := func(why string) journal.Record {
		return journal.Record{Event: &journal.Event{Name: string(ha.StartPrimary), Error: why}}
	}
	start := journal.Record{Turn: &journal.Turn{Before: ha.Memory{Led: "s"}, Actions: []ha.Action{{Kind: ha.StartPrimary}}}}

	add(-30*time.Second, exit(journal.Exit{PID: 9, Known: true, Code: 3})) // of a run before
	add(-29*time.Second, start)
	add(-28*time.Second, ended(""))
	add(0, exit(journal.Exit{PID: 10, Known: true, Signal: "SIGKILL"}))
	add(10*time.Millisecond, start)
	add(60*time.Millisecond, exit(journal.Exit{PID: 11, Known: true, Code: 1}))
	add(70*time.Millisecond, ended("pre-existing shared memory block is still in use"))
	add(80*time.Millisecond, start)
	up := add(460*time.Millisecond, ended(""))

	r, ok := restartAt([]*entry{up})
	if !ok || r.Exit == nil || r.Exit.Signal != "SIGKILL" || r.Took != 460*time.Millisecond {
		t.Fatalf("restart %t, took %s, exit %+v; want the one by SIGKILL, and 460 ms", ok, r.Took, r.Exit)
	}
	const want = "PostgreSQL on n1 was ended by SIGKILL, unexpectedly, and was started again in place at attempt 2: the same primary and timeline, no writes for 460 ms."
	if r.Text != want {
		t.Errorf("text %q, want %q", r.Text, want)
	}
}
