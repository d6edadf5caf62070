package fence

import (
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

func TestPhase(t *testing.T) {
	d := Deadlines{Sent: 1, Soft: 10, Hard: 20}
	for now, want := range map[boot.Instant]Phase{1: Working, 9: Working, 10: Stopping, 19: Stopping, 20: Lost, 99: Lost} {
		if got := d.Phase(now); got != want {
			t.Errorf("at %d: %d, want %d", now, got, want)
		}
		if d.Live(now) != (want == Working) {
			t.Errorf("at %d: live and its phase disagree", now)
		}
	}
}

func TestFurthest(t *testing.T) {
	a, b := Deadlines{Sent: 5, Hard: 10}, Deadlines{Sent: 1, Hard: 20}
	if Furthest(a, b) != b || Furthest(b, a) != b || Furthest(a, Deadlines{}) != a {
		t.Error("not the one that ends later")
	}
}

func TestIntervalAndAttempt(t *testing.T) {
	s := time.Second
	for _, c := range [][3]time.Duration{{10 * s, 30 * s, 10 * s}, {10 * s, 9 * s, 3 * s}, {2 * s, 30 * s, 2 * s}, {0, 0, time.Millisecond}} {
		if got := Interval(c[0], c[1]); got != c[2] {
			t.Errorf("wanted %s of %s: %s", c[0], c[1], got)
		}
	}
	for _, c := range [][3]time.Duration{{9 * s, 30 * s, 3 * s}, {60 * s, 30 * s, 10 * s}, {-5 * s, 30 * s, s}} {
		if got := Attempt(c[0], c[1], s); got != c[2] {
			t.Errorf("%s left of %s: %s", c[0], c[1], got)
		}
	}
}

func TestJudge(t *testing.T) {
	at := func(rev int64) Reading { return Reading{Store: "s", Revision: rev} }
	with := func(r Reading, held, ours, same bool) Reading {
		r.Held, r.Ours, r.Same = held, ours, same
		return r
	}
	seen := Sight{"s", 7}
	for _, c := range []struct {
		name string
		s    Sight
		r    Reading
		want Verdict
		then Sight
	}{
		{"nothing held, nothing there", Sight{}, at(9), Agrees, Sight{}},
		{"mine", Sight{}, with(at(9), true, true, true), Agrees, Sight{"s", 9}},
		{"mine, in an older view", seen, with(at(5), true, true, true), Agrees, seen},
		{"an earlier holding of this session", Sight{}, with(at(9), true, true, false), Agrees, Sight{}},
		{"under my session, and nobody was told", Sight{}, with(at(9), false, true, false), Unclaimed, Sight{}},
		{"not mine, in a newer view than one in which it was", seen, with(at(8), true, false, false), Taken, seen},
		{"not mine, in an older view", seen, with(at(6), true, false, false), Suspect, seen},
		{"not mine, never seen", Sight{}, with(at(6), true, false, false), Suspect, Sight{}},
		{"not mine, in another store", seen, with(Reading{Store: "other", Revision: 99}, true, false, false), Suspect, seen},
	} {
		s := c.s
		if got := s.Judge(c.r); got != c.want || s != c.then {
			t.Errorf("%s: %d and %+v, want %d and %+v", c.name, got, s, c.want, c.then)
		}
	}
	taking := with(at(9), false, true, false)
	taking.Taking = true
	if s := (Sight{}); s.Judge(taking) != Agrees {
		t.Error("a key that is being taken is not unclaimed")
	}
}
