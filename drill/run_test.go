package drill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// plans are the shapes of all scenarios: nothing to undo, one way back, two.
func plans(w *world) map[Scenario][]Step {
	return map[Scenario][]Step{
		Switchover:   {{Say: "switchover", Do: func(ctx context.Context) error { return w.Switchover(ctx, "n1", "") }}},
		StopAgent:    w.breaks("hold", "agent"),
		KillPostgres: {{Say: "kill", Do: func(context.Context) error { return w.killOnce() }}},
		KillAgent:    {{Say: "kill", Do: func(context.Context) error { return w.killOnce() }}},
		PauseAgent:   w.breaks("agent"),
		PauseHost:    w.breaks("container"),
		Isolate:      w.breaks("link"),
		PowerOff:     w.breaks("hold", "power"),
	}
}

// killOnce is a fault that mends itself.
func (w *world) killOnce() error {
	err := w.enter("kill")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late, w.acks = 1, false
	return err
}

// practise runs a drill in the world; interrupt and hurry end its contexts. It
// returns nil when the drill was killed.
func practise(w *world, s Scenario, ctx, hurry context.Context) (report *Report) {
	watch, ended := second(w.undoers(func(string) error { return nil }))
	run := &Run{Scenario: s, Objective: Objective{RTO: time.Minute}, Clients: 2, Before: w.picture(), Steps: plans(w)[s],
		Cluster: w, Table: w, Writing: w, Undoers: w.undoers(w.enter), Watch: countedWatch{watch, w}, Progress: quietly{}, Timing: UsualTiming(30 * time.Second)}
	defer func() {
		dead := killed{}
		if r := recover(); r != nil {
			if err, ok := r.(error); !ok || !errors.As(err, &dead) {
				panic(r)
			}
			// What a dead process holds goes away with it.
			w.Stop(ctx)
			w.Close()
		}
		watch.Release() // as the end of the process does
		<-ended
	}()
	r := run.Do(ctx, hurry)
	w.itself = w.asBefore()
	return &r
}

// TestUndisturbed: every scenario runs to its verdict, and leaves nothing.
func TestUndisturbed(t *testing.T) {
	for _, s := range Scenarios() {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			r := practise(w, s, t.Context(), t.Context())
			if err := errors.Join(w.itself, w.asBefore()); err != nil || len(r.Left) > 0 || r.Verdict == nil || !r.Verdict.Met {
				t.Errorf("%s: %v, %v, %+v, %s", s, err, r.Left, r.Verdict, r.Failed)
			}
			if r.LeaderAfter != "n2" || r.Measured.Outage <= 0 || r.Measured.Check.Lost != 0 {
				t.Errorf("%s: %+v %+v", s, r, r.Measured)
			}
		})
	}
}

// end is a way in which a drill is ended at a call.
type end struct {
	name string
	// at is what happens at the call: it may cancel contexts, fail, or kill.
	at func(interrupt, hurry func()) error
}

func ends() []end {
	return []end{
		{"interrupted", func(interrupt, _ func()) error { interrupt(); return nil }},
		{"interrupted twice", func(interrupt, hurry func()) error { interrupt(); hurry(); return nil }},
		{"failed", func(_, _ func()) error { return errors.New("it fails") }},
		{"killed before", func(_, _ func()) error { panic(killed{}) }},
	}
}

// TestEndedAnywhere ends every scenario at every single call that it makes, in
// every way, and looks whether all is as it was.
func TestEndedAnywhere(t *testing.T) {
	for _, s := range Scenarios() {
		for _, e := range ends() {
			calls := 0
			synctest.Test(t, func(t *testing.T) { calls = endedAt(t, s, e, -1) }) // undisturbed
			if calls < 10 {
				t.Errorf("%s: only %d calls", s, calls)
			}
			for n := 1; n <= calls; n++ {
				synctest.Test(t, func(t *testing.T) { endedAt(t, s, e, n) })
			}
		}
	}
}

func (r *Report) took() time.Duration {
	if r == nil {
		return 0
	}
	return r.Ended.Sub(r.Began)
}

// endedAt ends a drill at its nth call and returns how many calls
// it made.
func endedAt(t *testing.T, s Scenario, e end, n int) int {
	w := newWorld()
	ctx, interrupt := context.WithCancel(t.Context())
	hurry, hurrying := context.WithCancel(t.Context())
	defer interrupt()
	defer hurrying()
	at := ""
	w.before = func(call int, what string) error {
		if call != n {
			return nil
		}
		at = what
		return e.at(interrupt, hurrying)
	}
	r := practise(w, s, ctx, hurry)
	where := fmt.Sprintf("%s, %s at call %d (%s)", s, e.name, n, at)
	if err := w.asBefore(); err != nil {
		t.Errorf("%s: %v\n%s", where, err, strings.Join(w.log, "\n"))
	}
	// Unless it was killed or hurried, it has put everything back by itself.
	if w.itself != nil && (e.name == "interrupted" || e.name == "failed") {
		t.Errorf("%s: the drill left to the second process what it should have done: %v\n%s", where, w.itself, strings.Join(w.log, "\n"))
	}
	// At once, that is, and not when the fault has lasted too long.
	if took := r.took(); took > time.Minute {
		t.Errorf("%s: it took %s", where, took)
	}
	if r != nil && r.Verdict == nil && r.Failed == "" {
		t.Errorf("%s: neither a verdict nor a reason", where)
	}
	return w.calls
}

// TestLostAnswers: what was done although its answer said otherwise is undone.
func TestLostAnswers(t *testing.T) {
	for _, s := range []Scenario{StopAgent, PauseAgent, PowerOff} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.before = func(_ int, what string) error {
				if strings.HasPrefix(what, "break") || what == "make the table" {
					return errors.New("no answer")
				}
				return nil
			}
			r := practise(w, s, t.Context(), t.Context())
			if err := w.asBefore(); err != nil || r.Verdict != nil || !strings.Contains(r.Failed, "no answer") {
				t.Errorf("%s: %v, %+v", s, err, r)
			}
		})
	}
}

// TestUndoThatFails: what cannot be undone is said, and left to the second
// process, which goes on trying.
func TestUndoThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.before = func(_ int, what string) error {
			if what == "mend agent" {
				return errors.New("no way")
			}
			return nil
		}
		r := practise(w, PauseAgent, t.Context(), t.Context())
		if !slices.ContainsFunc(r.Left, func(l string) bool { return strings.Contains(l, "could not mend agent: no way") }) {
			t.Errorf("not said: %v", r.Left)
		}
		if err := w.asBefore(); err != nil {
			t.Errorf("the second process did not do it: %v", err)
		}
	})
}

// TestNothingBeforeHealth: a cluster that is not as it was at the confirmation is
// not touched.
func TestNothingBeforeHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.before = func(_ int, what string) error {
			if what == "look" {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.leader = "n3"
			}
			return nil
		}
		r := practise(w, PowerOff, t.Context(), t.Context())
		if !strings.Contains(r.Failed, "leader changed before anything was done: n3") || !r.Fault.IsZero() {
			t.Errorf("%+v", r)
		}
		if slices.ContainsFunc(w.log, func(l string) bool { return strings.Contains(l, "break") }) {
			t.Errorf("it was touched: %v", w.log)
		}
	})
}

// TestReplicaThatLags: one that is behind for a moment is waited for, and nothing is
// done before it has caught up, or if it does not.
func TestReplicaThatLags(t *testing.T) {
	looks := int(UsualTiming(30*time.Second).Fit / UsualTiming(30*time.Second).Look)
	for name, lags := range map[string]int{"for a moment": looks / 2, "for good": 10 * looks} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.before = func(_ int, what string) error {
					w.mu.Lock()
					defer w.mu.Unlock()
					if what == "make the table" {
						w.lags = lags // it kept up when the drill was confirmed
					}
					if strings.HasPrefix(what, "break") && w.lags > 0 {
						t.Errorf("%s while n2 is behind", what)
					}
					return nil
				}
				r := practise(w, PowerOff, t.Context(), t.Context())
				given := strings.Contains(r.Failed, "not healthy any more, nothing was done to it: n2 is 2097152 bytes behind")
				if lags > looks != given || given != r.Fault.IsZero() {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

// TestHonest: lost rows and writes that do not come back are told.
func TestHonest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.lose = 3
		r := practise(w, PauseAgent, t.Context(), t.Context())
		if r.Verdict == nil || r.Verdict.Met || r.Measured.Check.Lost != 3 || !strings.Contains(r.Text(), "NOT MET") || !slices.Contains(r.Verdict.Why, "3 acknowledged rows were lost, 0 allowed") {
			t.Errorf("%+v\n%s", r.Measured, r.Text())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.silent = true
		r := practise(w, PauseAgent, t.Context(), t.Context())
		if r.Verdict == nil || r.Verdict.Met || !r.Measured.Open || !strings.Contains(r.Text(), "NOT MET") {
			t.Errorf("%+v\n%s", r.Measured, r.Text())
		}
	})
}

// TestNoEffect: a failover that does not take place costs no writes, and a client
// that is never served again does not show beside others. No objective is met.
func TestNoEffect(t *testing.T) {
	for want, set := range map[string]func(*world){
		"no other member took the leadership within 2m30s":                    func(w *world) { w.idle = true },
		"only 1 of 2 connections had a write acknowledged again within 2m30s": func(w *world) { w.stuck = true },
	} {
		for _, s := range []Scenario{Switchover, PauseAgent} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				set(w)
				r := practise(w, s, t.Context(), t.Context())
				if r.Verdict == nil || r.Verdict.Met || !slices.Contains(r.Verdict.Why, want) || !strings.Contains(r.Text(), "NOT MET") {
					t.Errorf("%s: want %q: %+v\n%s", s, want, r.Verdict, r.Text())
				}
			})
		}
	}
}

// TestReturn moves the leadership back where that was asked for.
func TestReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		watch, ended := second(w.undoers(func(string) error { return nil }))
		run := &Run{Scenario: StopAgent, Objective: Objective{RTO: time.Minute}, Clients: 2, Before: w.picture(), Steps: plans(w)[StopAgent], Return: true,
			Cluster: w, Table: w, Writing: w, Undoers: w.undoers(w.enter), Watch: watch, Progress: quietly{}, Timing: UsualTiming(30 * time.Second)}
		r := run.Do(t.Context(), t.Context())
		watch.Release()
		<-ended
		if r.LeaderAfter != "n1" || w.leader != "n1" || r.Verdict == nil {
			t.Errorf("%+v", r)
		}
	})
}

// TestKilledAgentComesBack: an agent that is started again in time takes its server
// over. That is the effect; nothing else will happen, and nothing is waited for.
func TestKilledAgentComesBack(t *testing.T) {
	for _, name := range []string{"started again", "says nothing of its start"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.idle = true
			w.before = func(_ int, what string) error {
				if what == "kill" && name == "started again" {
					w.mu.Lock()
					defer w.mu.Unlock()
					w.agent = "a1"
				}
				return nil
			}
			r := practise(w, KillAgent, t.Context(), t.Context())
			if r.Verdict == nil || !r.Verdict.Met || r.LeaderAfter != "n1" || !strings.Contains(r.Text(), "n1 on timeline 1, as before") {
				t.Errorf("%s: %+v\n%s", name, r.Verdict, r.Text())
			}
			again := name == "started again"
			told := slices.ContainsFunc(r.Events, func(e Event) bool {
				return e.Text == "n1 leads on timeline 1 as before; its agent was started again and took the running server over"
			})
			if waited := r.took() > time.Minute; waited == again || told != again {
				t.Errorf("%s: it took %s, told %t: %+v", name, r.took(), told, r.Events)
			}
		})
	}
}

// TestLeaderLine: who leads, and who led.
func TestLeaderLine(t *testing.T) {
	r := Report{LeaderBefore: "n1", LeaderAfter: "n2", TimelineAfter: 7}
	if text := r.Text(); !strings.Contains(text, "Leader        n2 on timeline 7; before the drill it was n1\n") {
		t.Error(text)
	}
}
