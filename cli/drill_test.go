package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/drill"
	"github.com/matriarch-ha/matriarch/internal/messages"
)

// TestMessagesDrill: a drill that may not begin says why, and touches nothing.
func TestMessagesDrill(t *testing.T) {
	for _, k := range []struct {
		id     string
		change func(*world)
		args   []string
	}{
		{"drill-unhealthy", func(w *world) {
			w.edit("n2", func(s *api.Status) { s.Server.ReplicationState = "in archive recovery" })
		}, []string{"switchover"}},
		{"drill-no-reach", func(*world) {}, []string{"power-off"}},
		{"drill-no-entrypoint", func(*world) {}, []string{"switchover"}},
		{"drill-entrypoint-away", func(*world) {}, []string{"switchover", "--entrypoint", "host=127.0.0.1 port=1 user=app dbname=app"}},
	} {
		w := newWorld(t, demo())
		k.change(w)
		r := w.run("", append([]string{"drill", "--yes"}, k.args...)...)
		if r.code != exitFailed || !strings.Contains(r.err, "nothing was touched") {
			t.Errorf("%s: exit %d", k.id, r.code)
		}
		messages.Check(t, k.id, r.err)
		if asked := w.requests(); len(asked) > 0 {
			t.Errorf("%s: asked for %v", k.id, asked)
		}
	}
}

// TestDrillUsage: what makes no sense is refused before anybody is asked.
func TestDrillUsage(t *testing.T) {
	w := newWorld(t, demo())
	for _, k := range []struct {
		args []string
		says string
	}{
		{nil, "name one scenario: switchover, stop-agent"},
		{[]string{"earthquake"}, `"earthquake" is no scenario: write one of switchover, stop-agent`},
		{[]string{"switchover", "--rto", "-1s"}, "--rto -1s: must not be negative"},
		{[]string{"switchover", "--rpo", "-1"}, "--rpo -1: must not be negative"},
		{[]string{"switchover", "--every", "1us"}, "--every 1µs: must be from 1ms to 1s"},
		{[]string{"power-off", "--candidate", "n2"}, "--candidate belongs to switchover"},
		{[]string{"switchover", "--format", "xml"}, `"xml" is not one of text, json`},
	} {
		w.run("", append([]string{"drill"}, k.args...)...).contains(t, exitUsage, k.says)
	}
}

// TestDrillExit: the exit code is the verdict's, unless something is left.
func TestDrillExit(t *testing.T) {
	met, missed := &drill.Verdict{Met: true}, &drill.Verdict{}
	for _, k := range []struct {
		r    drill.Report
		want int
	}{
		{drill.Report{Verdict: met}, 0},
		{drill.Report{Verdict: missed}, exitNotMet},
		{drill.Report{Failed: "it failed"}, exitFailed},
		{drill.Report{Verdict: met, Left: []string{"n1"}}, exitRunning},
		{drill.Report{Verdict: missed, Left: []string{"n1"}}, exitRunning},
	} {
		code := 0
		var coded *exitError
		if err := drillExit(k.r); errors.As(err, &coded) {
			code = coded.code
		}
		if code != k.want {
			t.Errorf("%+v: %d, want %d", k.r, code, k.want)
		}
	}
}

// TestInterrupts: the first signal ends the drill, what comes with it is the
// same wish, and a later one ends the waiting.
func TestInterrupts(t *testing.T) {
	signals, done := make(chan os.Signal), make(chan struct{})
	first, second := make(chan struct{}, 3), make(chan struct{}, 3)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		interrupts(signals, done, silent{}, func() { first <- struct{}{} }, func() { second <- struct{}{} })
	}()
	signals <- os.Interrupt
	<-first
	signals <- os.Interrupt // a moment later
	time.Sleep(oneSignal)   // what comes after this is another wish
	signals <- os.Interrupt
	<-second
	close(done)
	<-ended
	if len(first)+len(second) > 0 {
		t.Errorf("%d and %d more", len(first), len(second))
	}
}

type silent struct{}

func (silent) Say(string)  {}
func (silent) Show(string) {}

// far is a reach that cannot do what is asked.
type far struct{}

func (far) Where() string      { return "far away" }
func (far) Entrypoint() string { return "" }
func (far) Steps(context.Context, drill.Scenario, drill.Member, time.Duration) ([]drill.Step, error) {
	return nil, errors.New("it cannot be done here")
}

// TestDrillReach: a way that a person asked for and that does not exist is told,
// and so is what a way cannot do.
func TestDrillReach(t *testing.T) {
	w := newWorld(t, demo())
	w.opts.Drill.Finders = []drill.Finder{func(_ context.Context, p drill.Place) (drill.Reach, error) {
		if p.Asked == "far" {
			return far{}, nil
		}
		return nil, errors.New("there is no such way")
	}}
	w.run("", "drill", "--yes", "power-off").contains(t, exitFailed, "nothing was touched", "there is no such way")
	w.run("", "drill", "--yes", "switchover", "--reach", "near").contains(t, exitFailed, "nothing was touched", "there is no such way")
	w.run("", "drill", "--yes", "switchover").contains(t, exitFailed, "nothing was touched", "no entrypoint is known (there is no such way); or name it with --entrypoint")
	w.run("", "drill", "--yes", "power-off", "--reach", "far").contains(t, exitFailed, "nothing was touched", "it cannot be done here")
	w.c.Change(func(v *cluster.View) { v.Members = v.Members[:1] })
	w.run("", "drill", "--yes", "switchover").contains(t, exitFailed, "fewer than two members")
}
