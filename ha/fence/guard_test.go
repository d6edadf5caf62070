package fence

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/matriarch-ha/matriarch/boot"
)

func TestWatchTable(t *testing.T) {
	at := func(s int) boot.Instant { return boot.Instant(time.Duration(s) * time.Second) }
	armed := Watch{Armed: true, Soft: at(100), Hard: at(110)}
	alone := armed
	alone.Alone, alone.Since = true, at(50)
	claimed := armed
	claimed.Claimed = true
	asked := alone
	asked.Asked, asked.KillAt = true, at(60)
	fencing := claimed
	fencing.Fencing = true
	three := Alone{Grace: 3 * time.Second, Releasable: true}
	for _, c := range []struct {
		name string
		w    Watch
		a    Alone
		now  int
		act  Act
		wake int
	}{
		{"not armed", Watch{Soft: at(1), Hard: at(2)}, three, 500, Wait, 0},
		{"its agent lives", armed, three, 105, Wait, 110},
		{"hard", armed, three, 110, Kill, 0},
		{"alone, in the grace", alone, three, 52, Wait, 53},
		{"alone, after the grace", alone, three, 53, Stop, 0},
		{"no grace", alone, Alone{Releasable: true}, 50, Stop, 0},
		{"the grace ends at soft", alone, Alone{Grace: time.Hour, Releasable: true}, 99, Wait, 100},
		{"nobody could release the session", alone, Alone{Grace: 3 * time.Second}, 60, Wait, 100},
		{"left alone until soft", alone, Alone{Grace: -1, Releasable: true}, 60, Wait, 100},
		{"claimed", claimed, three, 60, Wait, 100},
		{"claimed, at soft", claimed, three, 100, Stop, 0},
		{"asked", asked, three, 59, Look, 60},
		{"asked for too long", asked, three, 60, Kill, 0},
		{"cannot go on", fencing, three, 1, Kill, 0},
	} {
		if act, wake := c.w.Next(at(c.now), c.a); act != c.act || wake != at(c.wake) {
			t.Errorf("%s: %d until %d, want %d until %d", c.name, act, wake, c.act, at(c.wake))
		}
	}
}

// Whatever happened before, a server that is armed is killed at the hard
// deadline, and a guard never waits past it.
func TestWatchNeverWaitsPastHard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := func(label string) boot.Instant { return boot.Instant(rapid.Int64Range(1, 1000).Draw(t, label)) }
		d := func(label string) time.Duration { return time.Duration(rapid.Int64Range(-5, 1000).Draw(t, label)) }
		b := func(label string) bool { return rapid.Bool().Draw(t, label) }
		soft := i("soft")
		w := Watch{Armed: true, Soft: soft, Hard: soft + i("clean"), Alone: b("alone"), Claimed: b("claimed"), Since: i("since"), Fencing: b("fencing")}
		a := Alone{Grace: d("grace"), CleanStop: max(0, d("stop")), Releasable: b("releasable")}
		if b("asked") {
			w.Asking(i("at"), a)
		}
		now := i("now") * 2
		act, wake := w.Next(now, a)
		switch {
		case now >= w.Hard && act != Kill:
			t.Fatalf("past the hard deadline: %d", act)
		case act == Wait && (wake > w.Hard || wake <= now), act == Look && (wake > w.Hard || wake <= now):
			t.Fatalf("waits until %d, hard is %d, now %d", wake, w.Hard, now)
		case act == Stop && now < w.Soft && (w.Claimed || !a.Releasable || a.Grace < 0):
			t.Fatalf("stops a server whose lease lives and whose session it cannot end")
		}
		if w.MayClaim(now) && act != Wait && act != Stop {
			t.Fatalf("may be claimed while it is due to be ended: %d", act)
		}
	})
}

func TestMayArm(t *testing.T) {
	for _, c := range []struct {
		w    Watch
		want bool
	}{
		{Watch{}, true}, {Watch{Armed: true, Hard: 10}, true}, {Watch{Armed: true, Hard: 5}, false},
		{Watch{Armed: true, Hard: 10, Asked: true}, false}, {Watch{Armed: true, Hard: 10, Fencing: true}, false},
	} {
		if got := c.w.MayArm(5); got != c.want {
			t.Errorf("%+v: %t", c.w, got)
		}
	}
}
