package ha_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/ha/fence"
)

func recordedOf(names ...string) []cluster.FailsafeMember {
	var out []cluster.FailsafeMember
	for _, n := range names {
		out = append(out, cluster.FailsafeMember{Name: n, APIURL: published(n).APIURL})
	}
	return out
}

func editRecorded(w *world, a args) error {
	v := &w.o.Store.View
	v.Failsafe, v.FailsafeVersion = nil, ""
	if a.word(0) != "none" {
		v.Failsafe, v.FailsafeVersion = recordedOf(a...), w.version()
	}
	return nil
}

// editQuestion: a round that all accepted extends the lease from its beginning.
func editQuestion(w *world, a args) error {
	f := &w.o.Failsafe
	switch a.word(0) {
	case "open":
		f.Asked, f.Error = w.o.Now, ""
	case "accepted":
		f.Ended, f.Error = w.o.Now, ""
		w.o.Lease.Deadlines = fence.Compute(f.Asked, w.o.Settings.TTL, fence.DefaultBudget())
	case "refused":
		f.Ended, f.Error = w.o.Now, a.word(1)
	default:
		return fmt.Errorf("want open, accepted or refused")
	}
	return nil
}

// TestFailsafeList: those that must be asked are all that may be recorded, by a
// write whose outcome was not seen too.
func TestFailsafeList(t *testing.T) {
	w := worlds["leading"]()
	w.o.Settings.Failsafe = true
	write := func() ha.Action {
		t.Helper()
		for _, a := range w.decide().Actions {
			if a.Kind == ha.WriteFailsafe {
				return a
			}
		}
		t.Fatal("no list is written")
		return ha.Action{}
	}
	if a := write(); len(a.Failsafe) != 3 || a.Version != "" {
		t.Fatalf("written: %+v", a)
	}
	edit := func(lines ...string) {
		t.Helper()
		for _, l := range lines {
			if err := w.edit(l); err != nil {
				t.Fatal(err)
			}
		}
	}
	edit("recorded a b c", "member c none")
	first := write() // its answer is lost
	edit("member d tl=2")
	second := write()
	if len(first.Failsafe) != 2 || len(second.Failsafe) != 3 || second.Version != first.Version {
		t.Fatalf("written: %+v, %+v", first, second)
	}
	edit("store down", "tick 12s")
	asks := func() []string {
		d := w.decide()
		if d.Rule != ha.FailsafeLead || len(d.Actions) != 1 || d.Actions[0].Kind != ha.AskFailsafe {
			t.Fatalf("not asked: %s", printDecision(d))
		}
		var out []string
		for _, m := range d.Actions[0].Failsafe {
			out = append(out, m.Name)
		}
		return out
	}
	if got := list(asks()); got != "[a b c d]" {
		t.Errorf("asked %s: one of the lists may be the one in the store", got)
	}
	// A reading shows which one it is: the others can never succeed any more.
	edit("store up", "recorded a b d", "lease renewed")
	w.decide()
	edit("store down", "tick 12s")
	if got := list(asks()); got != "[a b d]" {
		t.Errorf("asked %s", got)
	}
}

// TestUnlistedMayNotLead: the list is what a leader without the store asks, so
// who is not on it stays out of the race, also for a while after the mode was
// switched off.
func TestUnlistedMayNotLead(t *testing.T) {
	for _, c := range []struct {
		name   string
		prior  time.Duration // how long the mode has been off, as this member saw; negative: it is on
		listed bool
		may    bool
	}{
		{"on, listed", -1, true, true},
		{"on, not listed", -1, false, false},
		{"off for a moment", time.Second, false, false},
		{"off for a ttl", 31 * time.Second, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := worlds["racing"]()
			w.o.Settings.Failsafe = true
			w.o.Store.View.Failsafe, w.o.Store.View.FailsafeVersion = recordedOf("b", "c"), "9"
			if c.listed {
				w.o.Store.View.Failsafe = recordedOf("a", "b", "c")
			}
			w.decide()
			if c.prior >= 0 {
				w.o.Settings.Failsafe = false
				w.decide()
				w.o.Now = w.o.Now.Add(c.prior)
			}
			if d := w.decide(); d.Memory.Eligible != c.may {
				t.Errorf("eligible %v: %s", d.Memory.Eligible, d.Memory.WhyNot)
			}
		})
	}
}

// TestPromisesOutliveTheLease: whatever the clocks' rates within their bound, and
// however late the members are asked, each keeps its promise until the leader's
// server is proven to be fenced.
func TestPromisesOutliveTheLease(t *testing.T) {
	b := fence.DefaultBudget()
	for _, ttl := range []time.Duration{20 * time.Second, 30 * time.Second, 10 * time.Minute} {
		for _, rate := range []float64{0.995, 1, 1.005} { // the member's clock against the leader's
			for _, late := range []time.Duration{0, time.Second, 4 * time.Second} {
				sent := boot.Instant(time.Hour)
				fenced := fence.Compute(sent, ttl, b).Hard.Add(b.Fence)
				// On the member's clock, which showed the same when the first was asked.
				asked := sent.Add(time.Duration(float64(late) * rate))
				atFence := sent.Add(time.Duration(float64(fenced.Sub(sent)) * rate))
				if until := fence.Promised(asked, ttl); until < atFence-boot.Instant(time.Microsecond) {
					t.Errorf("ttl %s, rate %v, asked %s late: the promise ends %s before the fence", ttl, rate, late, atFence.Sub(until))
				}
			}
		}
	}
}
