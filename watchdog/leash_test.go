package watchdog

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/matriarch-ha/matriarch/boot"
)

// hand is a clock that is moved by hand.
type hand struct{ now boot.Instant }

func (h *hand) Now() boot.Instant { return h.now }
func (h *hand) Wall() time.Time   { return time.Time{} }

// paper is a device without a kernel, on the clock of the test.
type paper struct {
	clk                    *hand
	fixed, shortest, most  time.Duration
	nowayout, mute, broken bool

	running, letter, open bool
	timeout               time.Duration
	due                   boot.Instant
	slow                  time.Duration // the next ping takes that long
	pings                 int
}

func (p *paper) SetTimeout(t time.Duration) (time.Duration, error) {
	if p.fixed > 0 {
		p.timeout = p.fixed
		return p.timeout, ErrFixed
	}
	p.timeout = max(t, p.shortest)
	if p.most > 0 {
		p.timeout = min(p.timeout, p.most)
	}
	p.due = p.clk.now.Add(p.timeout)
	return p.timeout, nil
}

func (p *paper) Ping() error {
	if p.broken {
		return errors.New("broken")
	}
	p.pings++
	p.clk.now, p.slow = p.clk.now.Add(p.slow), 0
	p.due = p.clk.now.Add(p.timeout)
	return nil
}

func (p *paper) Stoppable() bool { return !p.mute }

func (p *paper) Stop() error {
	if p.nowayout {
		return ErrNoWayOut
	}
	p.running = false
	return nil
}

func (p *paper) Close(stopped bool) error {
	p.open, p.letter = false, stopped
	p.due = p.clk.now.Add(p.timeout)
	return nil
}

func (p *paper) connect(string) (Device, error) {
	if p.open {
		return nil, errors.New("busy")
	}
	p.open, p.running, p.timeout = true, true, time.Minute
	return p, nil
}

// leashed returns a leash on a device of paper, with a mark.
func leashed(t *testing.T, p *paper) (*leash, *hand) {
	t.Helper()
	p.clk = &hand{now: boot.Instant(time.Hour)}
	l := &leash{o: Options{Device: "/dev/paper", Mark: filepath.Join(t.TempDir(), "mark"), Open: p.connect, Clock: p.clk}}
	l.recover()
	return l, p.clk
}

func (l *leash) mustFeed(t *testing.T, in time.Duration) {
	t.Helper()
	l.feed(Feed{Reset: l.o.Clock.Now().Add(in), Every: 10 * time.Second, Required: true})
	if !l.state.Active || l.state.Failed {
		t.Fatalf("fed for %v: %+v", in, l.state)
	}
}

// The host is reset when the newest renewal says, less than a grain before, and
// never later, however late the renewals were confirmed. The timer does not move
// that, and were the guard killed at any time, it would be a tick later at most.
func TestResetComesWhenTheLeaseDemands(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		p := &paper{clk: &hand{now: boot.Instant(time.Hour)}}
		l := &leash{o: Options{Open: p.connect, Clock: p.clk}}
		var reset boot.Instant
		for range rapid.IntRange(1, 20).Draw(r, "feeds") {
			ms := func(label string, most int) time.Duration {
				return time.Duration(rapid.IntRange(0, most).Draw(r, label)) * time.Millisecond
			}
			p.clk.now = p.clk.now.Add(ms("passed", 15000))
			if f := p.clk.now.Add(ms("left", 30000)); f.Sub(p.clk.now) >= time.Second {
				reset = f
			}
			l.feed(Feed{Reset: max(reset, 1), Every: time.Second})
			if reset.Sub(p.clk.now) < time.Second {
				continue
			}
			for range rapid.IntRange(0, 30).Draw(r, "ticks") {
				if early := reset.Sub(p.due); early < 0 || early >= 2*time.Second {
					r.Fatalf("the host is reset %v before it should be", early)
				}
				if late := p.clk.now.Add(p.timeout).Sub(reset); late >= time.Second {
					r.Fatalf("a guard that is killed now has the host reset %v late", late)
				}
				if p.clk.now.Add(l.again()) >= p.due {
					break
				}
				p.clk.now = p.clk.now.Add(l.again())
				l.tick()
			}
		}
	})
}

// A guard that stood still between the look at the clock and the ping would have
// the host reset too late.
func TestSlowPing(t *testing.T) {
	p := &paper{}
	l, _ := leashed(t, p)
	p.slow = 3500 * time.Millisecond
	reset := p.clk.now.Add(24500 * time.Millisecond)
	l.feed(Feed{Reset: reset, Every: time.Second})
	if p.due > reset || p.pings != 2 {
		t.Errorf("reset %v late, after %d pings", p.due.Sub(reset), p.pings)
	}
}

// Disarmed by proof, the device is closed with the letter, and nothing is left.
func TestRest(t *testing.T) {
	p := &paper{}
	l, _ := leashed(t, p)
	l.rest()
	if p.open || l.state != (State{}) {
		t.Fatalf("a device that was never used was touched: %+v", l.state)
	}
	l.mustFeed(t, 24*time.Second)
	if l.readMark() != "/dev/paper" {
		t.Error("no mark while the device runs")
	}
	l.rest()
	if p.running || p.open || !p.letter || l.readMark() != "" || l.state.Active || l.state.Trouble != "" {
		t.Errorf("at rest: %+v, %+v", p, l.state)
	}
	l.mustFeed(t, 24*time.Second)
}

// A device that cannot be stopped is fed while the server is not a writer, and
// only then.
func TestNoWayOut(t *testing.T) {
	p := &paper{nowayout: true}
	l, clk := leashed(t, p)
	l.mustFeed(t, 24*time.Second)
	l.rest()
	if !l.state.Kept || l.state.Active || !p.open || !strings.Contains(l.state.Trouble, "nowayout") {
		t.Fatalf("%+v", l.state)
	}
	for range 20 {
		clk.now = clk.now.Add(l.again())
		if clk.now >= p.due {
			t.Fatal("the host was reset although its server is not a writer")
		}
		l.tick()
	}
	l.mustFeed(t, 24*time.Second)
	if l.state.Kept || l.again() != time.Second {
		t.Errorf("fed by a timer while it may be a writer: %+v", l.state)
	}
	l.end()
	if p.open || p.letter || l.readMark() == "" {
		t.Errorf("the end of the guard: %+v", p)
	}
}

// A former guard was killed: its device is taken over and neither fed nor
// stopped before somebody says what the server is.
func TestLeftRunning(t *testing.T) {
	for _, writer := range []bool{false, true} {
		p := &paper{}
		former, clk := leashed(t, p)
		former.mustFeed(t, 24*time.Second)
		_ = p.Close(false)
		before, due := p.pings, p.due
		clk.now = clk.now.Add(5 * time.Second)
		l := &leash{o: former.o}
		l.recover()
		l.tick()
		if !l.state.Left || !p.open || p.pings != before || p.due != due || l.again() != time.Hour {
			t.Fatalf("taken over: %+v %+v", l.state, p)
		}
		if writer {
			l.mustFeed(t, 20*time.Second)
		} else {
			l.rest()
		}
		if p.running != writer || l.state.Left || (l.readMark() != "") != writer {
			t.Errorf("a writer %v: %+v %+v", writer, l.state, p)
		}
	}
	// The mark of another run of the host means nothing.
	p := &paper{}
	l, _ := leashed(t, p)
	if err := os.WriteFile(l.o.Mark, []byte("another boot\n/dev/paper\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.recover()
	if p.open || l.state.Left {
		t.Errorf("%+v", l.state)
	}
}

// The device that another guard holds, and its mark, are left alone.
func TestHeldByAnother(t *testing.T) {
	p := &paper{}
	other, _ := leashed(t, p)
	other.mustFeed(t, 24*time.Second)
	l := &leash{o: other.o}
	l.feed(Feed{Reset: p.clk.now.Add(20 * time.Second), Required: true})
	l.rest()
	if !l.state.Failed || other.readMark() == "" || !p.running {
		t.Errorf("%+v, mark %q", l.state, other.readMark())
	}
}

func TestUnsuitable(t *testing.T) {
	for name, c := range map[string]struct {
		p             paper
		required      bool
		failed, warns bool
	}{
		"as it should be":           {paper{}, true, false, false},
		"longer than the lease":     {paper{fixed: time.Minute}, true, true, true},
		"longer, and not required":  {paper{fixed: time.Minute}, false, false, true},
		"shorter than the renewals": {paper{most: 5 * time.Second}, false, true, true},
		"shorter, but enough":       {paper{most: 15 * time.Second}, true, false, true},
		"fixed, and enough":         {paper{fixed: 15 * time.Second}, true, false, true},
		"stops when it is closed":   {paper{mute: true}, true, false, true},
		"broken":                    {paper{broken: true}, false, true, true},
	} {
		p := c.p
		l, _ := leashed(t, &p)
		l.feed(Feed{Reset: p.clk.now.Add(24 * time.Second), Every: 10 * time.Second, Required: c.required, Nonce: 7})
		if l.state.Failed != c.failed || (l.state.Trouble != "") != c.warns || l.state.Active == c.failed || l.state.Answered != 7 {
			t.Errorf("%s: %+v", name, l.state)
		}
		if c.failed && p.running && !p.broken {
			t.Errorf("%s: the useless device runs", name)
		}
	}
}

// A failure stands for a while, through a rest, so that this member does not try
// to lead again and again; then the device may be tried again. One that comes
// back is used again.
func TestFailureStandsForAWhile(t *testing.T) {
	p := &paper{}
	l, clk := leashed(t, p)
	l.mustFeed(t, 24*time.Second)
	p.broken = true
	l.feed(Feed{Reset: clk.now.Add(24 * time.Second), Required: true})
	if !l.state.Failed || !p.running || p.letter {
		t.Fatalf("a ping failed while the server may be a writer: %+v %+v", l.state, p)
	}
	p.broken = false
	l.rest()
	if p.running || !l.state.Failed || l.state.Trouble == "" {
		t.Errorf("at rest: %+v %+v", l.state, p)
	}
	clk.now = clk.now.Add(l.again())
	l.tick()
	if l.state.Failed || l.state.Trouble != "" {
		t.Errorf("later: %+v", l.state)
	}
	l.mustFeed(t, 24*time.Second)
}

func TestMargin(t *testing.T) {
	for _, c := range [][3]time.Duration{{30, 5, 5}, {30, 0, 0}, {30, -1, 15}, {31, -1, 16}, {20, -1, 10}} {
		if got := Margin(c[0]*time.Second, c[1]*time.Second); got != c[2]*time.Second {
			t.Errorf("a lease of %d s and a safety margin of %d: %v", c[0], c[1], got)
		}
	}
}
