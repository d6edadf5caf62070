package agent

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/guard"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/postgres"
	"github.com/matriarch-ha/matriarch/postgres/control"
	"github.com/matriarch-ha/matriarch/postgres/postmaster"
	"github.com/matriarch-ha/matriarch/wal"
)

// journalled runs a story with a journal in memory.
func journalled(t *testing.T, f func(t *testing.T, r *rig, j *journal.Journal)) {
	t.Helper()
	j, err := journal.Open(journal.Options{RingSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	inBubble(t, func(o *Options) { o.Journal = j }, func(t *testing.T, r *rig) { f(t, r, j) })
}

// eventsOf returns the events of a name.
func eventsOf(t *testing.T, j *journal.Journal, name string) []journal.Record {
	t.Helper()
	all, err := j.Since(journal.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(r journal.Record) bool { return r.Event == nil || r.Event.Name != name })
}

func oneEvent(t *testing.T, j *journal.Journal, name string) journal.Record {
	t.Helper()
	synctest.Wait()
	got := eventsOf(t, j, name)
	if len(got) != 1 {
		t.Fatalf("%d events %s: %+v", len(got), name, got)
	}
	if got[0].Event.Now.IsZero() || got[0].Member != "a" || got[0].Why == "" {
		t.Errorf("%+v", got[0])
	}
	return got[0]
}

func TestTellsItsOwnLife(t *testing.T) {
	journalled(t, func(t *testing.T, r *rig, j *journal.Journal) {
		r.pg.set(standby())
		r.start()
		if e := oneEvent(t, j, journal.AgentStarted); !strings.Contains(e.Why, "no journal of an earlier one") || !strings.Contains(e.Why, "running (process 7)") {
			t.Error(e.Why)
		}
		r.agent.Stop("told to stop: terminated")
		r.agent.Stop("and again")
		<-r.ended
		if e := oneEvent(t, j, journal.AgentStopping); e.Why != "told to stop: terminated" {
			t.Error(e.Why)
		}
		last, err := j.Since(journal.Query{Limit: 1})
		if err != nil || last[0].Event == nil || last[0].Event.Name != journal.AgentEnded {
			t.Fatalf("the last record is %+v (%v)", last, err)
		}
		if got := r.agent.formerEnd(); got != "the one before it had ended in order" {
			t.Error(got)
		}
		j.Append(journal.OfEvent(time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC), "a", "x", "killed after this"))
		if got := r.agent.formerEnd(); got != "the one before it did not end in order: its last record is of 2026-01-02T03:04:05.678Z" {
			t.Error(got)
		}
	})
}

// TestTellsHowThePostmasterEnded: and decides on a crash with its kind at hand.
func TestTellsHowThePostmasterEnded(t *testing.T) {
	journalled(t, func(t *testing.T, r *rig, j *journal.Journal) {
		r.start()
		r.until("the lead", r.leads)
		if e := eventsOf(t, j, journal.ServerExited); len(e) != 0 {
			t.Fatalf("before anything ended: %+v", e)
		}
		r.pg.die(postgres.Event{Exit: postmaster.Exit{Known: true, Signal: "SIGKILL"}})
		r.agent.Wake()
		r.until("the lead again", func() bool { return r.pg.called("start-primary") > 1 && r.leads() })
		e := oneEvent(t, j, journal.ServerExited)
		if want := (journal.Exit{PID: 7, Known: true, Signal: "SIGKILL"}); *e.Event.Exit != want || e.Why != "PostgreSQL was ended by SIGKILL" {
			t.Errorf("%+v %s", e.Event.Exit, e.Why)
		}
		all, err := j.Since(journal.Query{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(all, func(r journal.Record) bool {
			return r.Rule == ha.CrashedPrimary && r.Why == "PostgreSQL was ended by SIGKILL: starting it in place, attempt 1"
		}) {
			t.Error("the decision does not say how the server ended")
		}
	})
}

func TestAnEndThatWasAskedForIsNoCrash(t *testing.T) {
	journalled(t, func(t *testing.T, r *rig, j *journal.Journal) {
		r.pg.set(standby())
		r.start()
		r.pg.hook("stop", func(context.Context) error {
			r.pg.events <- postgres.Event{PID: 7, Asked: true, Exit: postmaster.Exit{Known: true}}
			return nil
		})
		r.agent.Stop("x")
		<-r.ended
		e := oneEvent(t, j, journal.ServerExited)
		if !e.Event.Exit.Asked || r.agent.ends.of() != "" {
			t.Errorf("%+v", e.Event.Exit)
		}
		last, _ := j.Since(journal.Query{Limit: 1})
		if last[0].Seq < e.Seq || last[0].Event == nil || last[0].Event.Name != journal.AgentEnded {
			t.Errorf("after the agent's end: %+v", e)
		}
	})
}

// TestAnEndIsTakenDownThoughTheLoopIsOver: nobody relays it any more.
func TestAnEndIsTakenDownThoughTheLoopIsOver(t *testing.T) {
	journalled(t, func(t *testing.T, r *rig, j *journal.Journal) {
		r.pg.set(standby())
		r.startKeeper()
		r.agent.observe(t.Context())
		r.pg.die(postgres.Event{Asked: true})
		r.agent.facts.last.Process = postgres.ProcStopped
		r.agent.lastEnds()
		oneEvent(t, j, journal.ServerExited)
	})
}

func TestTellsOfAFenceByTheGuard(t *testing.T) {
	journalled(t, func(t *testing.T, r *rig, j *journal.Journal) {
		r.start()
		r.until("the lead", r.leads)
		began := r.clock.Now().Add(-5 * time.Second) // the agent could not run meanwhile
		r.guard().fence(guard.Proof{Processes: 9, Dying: 1, Began: began, Took: 3 * time.Millisecond})
		e := oneEvent(t, j, journal.ServerFenced)
		if e.Event.Now != began || e.Event.Took != 3*time.Millisecond || *e.Event.Fence != (journal.Fence{Processes: 9, Dying: 1}) {
			t.Errorf("%+v %+v", e.Event, e.Event.Fence)
		}
		if got := r.clock.Wall().Sub(e.Time); got < 5*time.Second || got > 6*time.Second {
			t.Errorf("told as of %s ago", got)
		}
	})
}

// TestTellsWhatTheGuardDidWithoutAnAgent: by the note that it left, once, and not
// when it had told it in time.
func TestTellsWhatTheGuardDidWithoutAnAgent(t *testing.T) {
	leave := func(t *testing.T, r *rig, shutdown bool) (path string) {
		path = filepath.Join(r.agent.opt.StateDir, guard.NoteName)
		boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			t.Fatal(err)
		}
		n := guard.Note{Shutdown: shutdown, Proof: guard.Proof{Processes: 4, Began: 77, Took: time.Millisecond}, Wall: r.clock.Wall(), BootID: strings.TrimSpace(string(boot)),
			Released: shutdown, Trouble: map[bool]string{false: "no answer"}[shutdown]}
		text, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, shutdown := range []bool{false, true} {
		journalled(t, func(t *testing.T, r *rig, j *journal.Journal) {
			path := leave(t, r, shutdown)
			r.start()
			e := oneEvent(t, j, journal.ServerFenced)
			if strings.Contains(e.Why, "whose agent was gone") != shutdown || e.Event.Now != 77 || e.Event.Fence.Processes != 4 {
				t.Errorf("%+v %s", e.Event, e.Why)
			}
			if e := oneEvent(t, j, journal.LeaseReleased); (e.Event.Error == "") != shutdown || strings.Contains(e.Why, "could not") == shutdown {
				t.Errorf("%+v %s", e.Event, e.Why)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("the note would be told again")
			}
			leave(t, r, shutdown)
			r.agent.guardNote()
			oneEvent(t, j, journal.ServerFenced)
		})
	}
}

// TestTellsThatANewAgentEndedWhatWasLeft: the lease was not over, and where nothing
// was left to kill nothing was killed.
func TestTellsThatANewAgentEndedWhatWasLeft(t *testing.T) {
	for processes, want := range map[int]string{0: "found no process", 3: "killed it, 3 processes"} {
		n := guard.Note{Ended: true, Proof: guard.Proof{Processes: processes}}
		why := notedWhy(n)
		if !strings.Contains(why, "started again could not go on") || !strings.Contains(why, want) || strings.Contains(why, "lease") {
			t.Errorf("%d processes: %s", processes, why)
		}
	}
	journalled(t, func(t *testing.T, r *rig, j *journal.Journal) {
		r.agent.fencedBefore(guard.Note{Ended: true, Released: true, Wall: r.clock.Wall()})
		told := eventsOf(t, j, journal.LeaseReleased)
		if len(told) != 1 || !strings.HasPrefix(told[0].Why, "the agent that was started again gave the lease up") {
			t.Errorf("%+v", told)
		}
	})
}

// TestTellsWhatItTookOver: that it did, and until the first turn that it leads, by
// whatever the former agent's lease is worth.
func TestTellsWhatItTookOver(t *testing.T) {
	journalled(t, func(t *testing.T, r *rig, j *journal.Journal) {
		f := primary()
		f.PID = 4711
		r.agent.TookOver("took over process 4711", f)
		if s := r.agent.Snapshot(); s.Role != cluster.RolePrimary || s.State != cluster.StateRunning || s.Facts.PID != 4711 {
			t.Errorf("%+v", s)
		}
		r.start()
		if e := oneEvent(t, j, journal.TakenOver); e.Why != "took over process 4711" {
			t.Error(e.Why)
		}
	})
}

// TestAServerKilledByTheFenceIsNoCrash: whoever carries it out.
func TestAServerKilledByTheFenceIsNoCrash(t *testing.T) {
	killed := postgres.Event{PID: 7, Exit: postmaster.Exit{Known: true, Signal: "SIGKILL"}}
	journalled(t, func(t *testing.T, r *rig, j *journal.Journal) {
		r.pg.set(primary())
		r.startKeeper()
		r.act(ha.Action{Kind: ha.Fence})
		r.agent.serverExited(killed)
		if e := oneEvent(t, j, journal.ServerExited); !e.Event.Exit.Asked {
			t.Errorf("%+v", e.Event.Exit)
		}
	})
	for _, c := range []struct {
		e          postgres.Event
		armed, now boot.Instant
		want       bool
	}{
		{killed, 100, 100, true},
		{killed, 100, 99, false}, // its deadline had not come
		{killed, 0, 100, false},  // it guards nothing
		{postgres.Event{Exit: postmaster.Exit{Known: true, Code: 1}}, 100, 101, false},
		{postgres.Event{}, 100, 101, true}, // no child of ours: how it ended is not known
	} {
		if got := killedByGuard(c.e, c.armed, c.now); got != c.want {
			t.Errorf("%+v armed until %d, now %d: %t", c.e, c.armed, c.now, got)
		}
	}
}

func TestTellsOfTheLease(t *testing.T) {
	journalled(t, func(t *testing.T, r *rig, j *journal.Journal) {
		r.start()
		r.until("the lead", r.leads)
		r.agent.Stop("x")
		<-r.ended
		if e := oneEvent(t, j, journal.LeaseEnded); e.Why != "the leader lease was released" {
			t.Error(e.Why)
		}
	})
}

func TestTellsWhatWasLost(t *testing.T) {
	loss := postgres.Loss{From: wal.Position{Timeline: 1, LSN: 100}, To: wal.Position{Timeline: 1, LSN: 400}, Bytes: 300, Readable: true,
		Commits: 2, Kept: "/x.lost-wal/y", Final: true}
	want := journal.Loss{From: loss.From, To: loss.To, Bytes: 300, TransactionsKnown: true, Transactions: 2, Kept: "/x.lost-wal/y"}
	for name, begin := range map[string]func(r *rig){
		"after a rewind": func(r *rig) {
			r.startKeeper()
			r.pg.hook("rewind", func(context.Context) error { r.pg.loss = &loss; return nil })
			r.pg.set(stopped(control.ShutDown))
			r.act(ha.Action{Kind: ha.Rewind, Upstream: ha.Upstream{Name: "b", Host: "b", Port: "5432"}})
		},
		"at the start, when the agent before did not come to it": func(r *rig) {
			r.pg.loss = &loss
			r.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			journalled(t, func(t *testing.T, r *rig, j *journal.Journal) {
				begin(r)
				e := oneEvent(t, j, journal.RecordsLost)
				if *e.Event.Loss != want || !strings.Contains(e.Why, "2 transactions") {
					t.Errorf("%+v %s", e.Event.Loss, e.Why)
				}
				if _, again := r.pg.Loss(); again {
					t.Error("it would be told again")
				}
			})
		})
	}
	t.Run("not when the rewind failed", func(t *testing.T) {
		journalled(t, func(t *testing.T, r *rig, j *journal.Journal) {
			r.startKeeper()
			r.pg.hook("rewind", func(context.Context) error { return errors.New("cut off") })
			r.pg.set(stopped(control.ShutDown))
			r.act(ha.Action{Kind: ha.Rewind})
			synctest.Wait()
			if got := eventsOf(t, j, journal.RecordsLost); len(got) != 0 {
				t.Errorf("%+v", got)
			}
		})
	})
}

func TestEveryEventHasTheBootClock(t *testing.T) {
	journalled(t, func(t *testing.T, r *rig, j *journal.Journal) {
		r.start()
		r.until("the lead", r.leads)
		r.agent.Requested(journal.Request{Kind: "pause", From: "10.0.0.5"}, "a pause was asked for")
		r.agent.Stop("x")
		<-r.ended
		all, err := j.Since(journal.Query{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range all {
			if rec.Event != nil && (rec.Event.Now < boot.Instant(time.Hour) || rec.Event.Name == string(ha.KeepSlots)) {
				t.Errorf("%d %+v %s", rec.Seq, rec.Event, rec.Why)
			}
		}
		if e := oneEvent(t, j, journal.Requested); e.Event.Request.From != "10.0.0.5" {
			t.Errorf("%+v", e.Event.Request)
		}
	})
}
