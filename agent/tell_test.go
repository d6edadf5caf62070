package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/ha"
)

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "took" {
			return slog.Attr{}
		}
		return a
	}}))
}

// TestASteadyStateIsSilent: once a member leads, ten minutes add nothing.
func TestASteadyStateIsSilent(t *testing.T) {
	var out lines
	inBubble(t, func(o *Options) { o.Logger = out.logger() }, func(t *testing.T, r *rig) {
		alone(r)
		time.Sleep(time.Minute)
		before := out.String()
		if strings.Contains(before, "in progress") {
			t.Errorf("a line for a decision to wait:\n%s", before)
		}
		seen := map[string]bool{}
		for line := range strings.SplitSeq(strings.TrimSpace(before), "\n") {
			if seen[line] {
				t.Errorf("twice: %s", line)
			}
			seen[line] = true
		}
		time.Sleep(10 * time.Minute)
		if more := strings.TrimPrefix(out.String(), before); more != "" {
			t.Errorf("a steady state logs\n%s", more)
		}
	})
}

func telling(out *lines) *Agent {
	c := bubbleClock{time.Now()}
	return &Agent{log: out.logger(), opt: Options{Name: "a", Clock: c}, trouble: newRepeats(c)}
}

func TestADecisionIsToldOnce(t *testing.T) {
	var out lines
	a := telling(&out)
	at := func(s ha.Situation, rule ha.RuleID, why string) {
		a.tell(ha.Observation{}, ha.Memory{}, ha.Decision{Situation: s, Rule: rule, Why: why})
	}
	at(ha.SituationLeaderless, ha.Race, "nobody leads")
	at(ha.SituationNoCluster, ha.Race, "nobody leads")
	at(ha.SituationNoCluster, ha.TaskRunning, "in progress: initdb")
	at(ha.SituationLeaderless, ha.TaskRunning, "in progress: initdb")
	at(ha.SituationLeading, ha.Lead, "leads on timeline 1")
	at(ha.SituationLeading, ha.Lead, "leads on timeline 1")
	at(ha.SituationLeaderless, ha.Race, "nobody leads")
	want := `level=INFO msg="nobody leads" rule=race situation=leaderless
level=INFO msg="leads on timeline 1" rule=lead situation=leading
level=INFO msg="nobody leads" rule=race situation=leaderless
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}

func TestLongActionsTellTheirProgressByTheMinute(t *testing.T) {
	var out lines
	a := telling(&out)
	for s := range 150 {
		a.tell(ha.Observation{Now: boot.Instant(time.Duration(s+1) * time.Second)}, ha.Memory{},
			ha.Decision{Rule: ha.TaskRunning, Situation: ha.SituationJoining, Why: fmt.Sprintf("in progress: clone: %d%%", s)})
	}
	want := `level=INFO msg="in progress: clone: 60%" rule=task-running situation=joining
level=INFO msg="in progress: clone: 120%" rule=task-running situation=joining
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}

func TestAFailureIsToldOncePerDecision(t *testing.T) {
	var out lines
	a := telling(&out)
	decide := func(why string) { a.tell(ha.Observation{}, ha.Memory{}, ha.Decision{Rule: ha.RuleID(why), Why: why}) }
	take := ha.Action{Kind: ha.TakeLeader}
	lost := fmt.Errorf("%w: somebody has it", dcs.ErrConflict)
	decide("race")
	for range 3 {
		a.report(take, time.Second, lost)
		a.report(ha.Action{Kind: ha.WriteHistory}, time.Second, errors.New("refused"))
	}
	decide("follow")
	decide("race")
	a.report(take, time.Second, lost)
	for range 2 {
		a.broken("publish", "not published", errors.New("away"))
	}
	a.works("publish", "published")
	a.works("publish", "published")
	a.broken("publish", "not published", errors.New("away"))
	want := `level=INFO msg=race rule=race situation=""
level=WARN msg="action failed; trying again as long as it is called for" action=write-history error=refused
level=INFO msg="another was faster again" action=take-leader error="` + lost.Error() + `"
level=INFO msg=follow rule=follow situation=""
level=INFO msg=race rule=race situation=""
level=WARN msg="not published" error=away
level=INFO msg=published
level=WARN msg="not published" error=away
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestHeartbeat(t *testing.T) {
	var mu sync.Mutex
	var said []string
	say := func(text string) {
		mu.Lock()
		said = append(said, text)
		mu.Unlock()
	}
	inBubble(t, func(o *Options) { o.Heartbeat = say }, func(t *testing.T, r *rig) {
		alone(r)
		r.until("the heartbeat", func() bool { mu.Lock(); defer mu.Unlock(); return strings.HasPrefix(said[len(said)-1], "no action.") })
		mu.Lock()
		all := strings.Join(said, "\n")
		said = nil
		mu.Unlock()
		for _, want := range []string{"Lock owner: None; I am a\ntrying to bootstrap a new cluster\n", "no action. I am (a), the leader with the lock"} {
			if !strings.Contains(all, want) {
				t.Errorf("%q is missing in\n%s", want, all)
			}
		}
		wait := r.agent.Settings().LoopWait
		time.Sleep(10 * wait)
		mu.Lock()
		defer mu.Unlock()
		if n := len(said); n < 9 || n > 11 || strings.Count(strings.Join(said, "\n"), "no action. I am (a), the leader with the lock") != n {
			t.Errorf("in ten loops: %q", said)
		}
	})
}

func TestHeartbeatWords(t *testing.T) {
	o := ha.Observation{Self: ha.Self{Name: "n2"}}
	o.Store.View.Leader = cluster.Leader{Name: "n1"}
	paused := o
	paused.Settings.Paused = true
	for _, c := range []struct {
		o    ha.Observation
		d    ha.Decision
		want string
	}{
		{o, ha.Decision{Situation: ha.SituationFollowing, Rule: ha.Idle}, "no action. I am (n2), a secondary, and following a leader (n1)"},
		{paused, ha.Decision{Situation: ha.SituationFollowing, Rule: ha.Paused}, "PAUSE: no action. I am (n2), a secondary, and following a leader (n1)"},
		{o, ha.Decision{Rule: ha.CloneData, Actions: []ha.Action{{Kind: ha.Clone}}}, "trying to bootstrap from leader 'n1'"},
		{o, ha.Decision{Rule: ha.Diverged, Actions: []ha.Action{{Kind: ha.Rewind}}}, "running pg_rewind from n1"},
		{o, ha.Decision{Rule: ha.TakeOver}, "promoted self to leader by acquiring session lock"},
		{o, ha.Decision{Rule: ha.StoreUnknown}, "DCS is not accessible"},
		{o, ha.Decision{Rule: ha.ForeignData, Why: "ours"}, "ours"},
	} {
		if got, _ := stand(c.o, c.d); got != c.want {
			t.Errorf("%s: %q, want %q", c.d.Rule, got, c.want)
		}
	}
}
