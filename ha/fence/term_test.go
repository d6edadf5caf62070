package fence

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/matriarch-ha/matriarch/boot"
)

func TestTermTable(t *testing.T) {
	// Deadlines with two for a clean stop; all in nanoseconds.
	d := func(sent, hard boot.Instant) Deadlines { return Deadlines{Sent: sent, Soft: hard - 2, Hard: hard} }
	for _, c := range []struct {
		name   string
		term   Term
		proven boot.Instant // hard
		until  Deadlines
		byWord bool
	}{
		{"nothing proven", Term{}, 0, Deadlines{}, false},
		{"the store", Term{Store: d(10, 40)}, 40, d(10, 40), false},
		{"the store, with its guard", Term{Store: d(10, 40), Guard: 40}, 40, d(10, 40), false},
		{"a confirmation that the guard does not have yet", Term{Store: d(20, 50), Guard: 40}, 50, d(20, 40), false},
		{"a guard that has a later one", Term{Store: d(10, 40), Guard: 60}, 40, d(10, 40), false},
		{"the members reach further", Term{Store: d(10, 40), Word: d(5, 60)}, 60, d(5, 60), true},
		{"the store reaches further", Term{Store: d(10, 40), Word: d(15, 30)}, 40, d(10, 40), false},
		{"the members, and a guard that has not heard of it", Term{Store: d(10, 40), Word: d(15, 60), Guard: 40}, 60, d(15, 40), true},
		{"adrift: the store's word is of another session", Term{Store: d(20, 50), Word: d(15, 30), Adrift: true}, 30, d(15, 30), false},
		{"adrift, with the guard of before", Term{Store: d(20, 50), Word: d(15, 45), Adrift: true, Guard: 40}, 45, d(15, 40), false},
		{"adrift by nothing", Term{Store: d(20, 50), Adrift: true}, 0, Deadlines{}, false},
	} {
		if got := c.term; got.Proven().Hard != c.proven || got.Until() != c.until || got.ByWord() != c.byWord {
			t.Errorf("%s: proven %d, until %+v, by word %t; want %d, %+v, %t",
				c.name, got.Proven().Hard, got.Until(), got.ByWord(), c.proven, c.until, c.byWord)
		}
	}
}

func TestTermInDoubt(t *testing.T) {
	d := func(sent, hard boot.Instant) Deadlines { return Deadlines{Sent: sent, Soft: hard - 2, Hard: hard} }
	var term Term
	term.Confirm(d(10, 40))
	term.Promise(d(12, 60))
	term.Doubt(20, 5, 2)
	if term.Store != d(10, 27) || term.Word != d(12, 27) {
		t.Errorf("what was proven before a doubt: %+v", term)
	}
	if term.Confirm(d(19, 49)); term.Until().Hard != 27 {
		t.Errorf("an answer to what was sent before the doubt counts: until %d", term.Until().Hard)
	}
	if term.Doubt(25, 5, 2); term.Until().Hard != 27 {
		t.Errorf("a second doubt lets it last longer: until %d", term.Until().Hard)
	}
	if term.Promise(d(25, 55)); term.Until() != d(25, 55) || term.Sent() != 25 {
		t.Errorf("what was sent after the doubt: %+v", term.Until())
	}
}

// Nobody may rely on a lease for longer than anything that bounds it, whatever
// came in whatever order; and an answer is never later than the guard's.
func TestTermIsNeverLongerThanItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var term Term
		var doubted, last boot.Instant // the newest doubt, and how long it lets older proofs last
		now := boot.Instant(1)
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			now += boot.Instant(rapid.Int64Range(0, 10).Draw(t, "pass"))
			sent := max(1, now-boot.Instant(rapid.Int64Range(0, 20).Draw(t, "ago")))
			length := boot.Instant(rapid.Int64Range(1, 40).Draw(t, "length"))
			d := Deadlines{Sent: sent, Soft: sent + length, Hard: sent + length + 3}
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0, 1:
				term.Confirm(d)
			case 2:
				term.Promise(d)
			case 3:
				term.Doubt(now, 4*time.Nanosecond, 3*time.Nanosecond)
				doubted, last = now, now+7
			case 4:
				hard := term.Proven().Hard
				term.Handing(hard)
				if rapid.Bool().Draw(t, "acknowledged") {
					term.Guard = hard
				}
			case 5:
				term.Adrift = rapid.Bool().Draw(t, "adrift")
			case 6:
				term.End()
			}
			u := term.Until()
			switch {
			case u.Hard > max(term.Store.Hard, term.Word.Hard):
				t.Fatalf("longer than anybody has proven: %+v of %+v", u, term)
			case term.Adrift && u.Hard > term.Word.Hard:
				t.Fatalf("adrift, and longer than the members' word: %+v of %+v", u, term)
			case term.Guard != 0 && u.Hard > term.Guard:
				t.Fatalf("longer than the guard lets the server live: %+v of %+v", u, term)
			case u.Sent < doubted && u.Hard > last:
				t.Fatalf("in doubt since %d, and until %d: %+v", doubted, u.Hard, term)
			case u.Soft > u.Hard:
				t.Fatalf("the clean stop begins after the kill: %+v", u)
			}
		}
	})
}
