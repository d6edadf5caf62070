package fence

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/matriarch-ha/matriarch/boot"
)

func TestComputeTable(t *testing.T) {
	s := time.Second
	for _, c := range []struct {
		name       string
		granted    time.Duration
		b          Budget
		soft, hard time.Duration // after sent
	}{
		{"defaults", 30 * s, DefaultBudget(), 26850 * time.Millisecond, 28850 * time.Millisecond},
		{"a tick of ZooKeeper", 30 * s, Budget{StoreSlack: 2 * s, Fence: s, CleanStop: 2 * s}, 24850 * time.Millisecond, 26850 * time.Millisecond},
		{"short: the clean stop gets a quarter", 5 * s, DefaultBudget(), 2981250 * time.Microsecond, 3975 * time.Millisecond},
		{"a watchdog device", 30 * s, Budget{Fence: s, CleanStop: 2 * s, Device: true, Margin: 5 * s}, 20850 * time.Millisecond, 22850 * time.Millisecond},
		{"one at half of the lease", 30 * s, Budget{Fence: s, CleanStop: 2 * s, Device: true, Margin: 15 * s}, 10850 * time.Millisecond, 12850 * time.Millisecond},
		{"shorter than the budget", s, DefaultBudget(), -5 * time.Millisecond, -5 * time.Millisecond},
	} {
		d := Compute(boot.Instant(1000*s), c.granted, c.b)
		if soft, hard := d.Soft.Sub(d.Sent), d.Hard.Sub(d.Sent); soft != c.soft || hard != c.hard {
			t.Errorf("%s: soft %v hard %v after sent, want %v and %v", c.name, soft, hard, c.soft, c.hard)
		}
		if got, want := d.Live(d.Sent), c.soft > 0; got != want {
			t.Errorf("%s: live when sent %v, want %v", c.name, got, want)
		}
	}
}

// budgets draws any budget that an operator could configure.
func budgets(t *rapid.T) Budget {
	d := func(label string, most time.Duration) time.Duration {
		return time.Duration(rapid.Int64Range(0, int64(most)).Draw(t, label))
	}
	return Budget{StoreSlack: d("slack", 5*time.Second), Fence: d("fence", 5*time.Second), CleanStop: d("clean", 30*time.Second),
		Device: rapid.Bool().Draw(t, "device"), Margin: d("margin", 20*time.Second)}
}

// The fence is complete, on the member's own clock, before the store can have
// expired the lease by its clock, for every pair of clocks whose rates differ
// by no more than the bound, however much earlier the store counts by design.
func TestFencedBeforeTheStoreExpires(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := budgets(t)
		granted := time.Duration(rapid.Int64Range(int64(time.Second), int64(10*time.Minute)).Draw(t, "granted"))
		sent := boot.Instant(rapid.Int64Range(1, math.MaxInt64/2).Draw(t, "sent"))
		// How fast the store's clock runs, measured by this member's. The store
		// begins to count when the request arrives, at the earliest when sent.
		rate := 1 + rapid.Float64Range(-1, 1).Draw(t, "rate")/rateDivisor
		delay := time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "delay"))
		expires := sent.Add(delay + time.Duration(float64(granted)/rate) - b.StoreSlack)
		d := Compute(sent, granted, b)
		// A store's clock that runs 0.5 % fast shortens the lease by less than
		// granted/200, since 1/(1+x) > 1−x; rounding is a nanosecond or two.
		if fenced := d.Hard.Add(b.Fence); fenced > expires.Add(2) {
			t.Fatalf("fenced %v after the store expired the lease", fenced.Sub(expires))
		}
		if d.Reset.IsZero() == b.Device {
			t.Fatalf("reset %d with a device %v", d.Reset, b.Device)
		}
		// The host is reset in time, and by then everything else is over although the
		// device counts whole seconds only.
		if b.Device && (d.Reset.Add(b.Margin) > expires.Add(2) || d.Hard.Add(b.Fence+time.Second) > d.Reset) {
			t.Fatalf("reset %v before the lease ends, %v after the hard deadline", expires.Sub(d.Reset), d.Reset.Sub(d.Hard))
		}
		if d.Soft > d.Hard {
			t.Fatalf("soft %d after hard %d", d.Soft, d.Hard)
		}
		if d.Live(d.Soft) || d.Live(d.Hard) || d.Live(math.MaxInt64) {
			t.Fatal("live at or past a deadline")
		}
		if d.Soft < d.Sent && d.Live(d.Sent) {
			t.Fatal("a lease too short for the budgets allows to write")
		}
	})
}

// Beyond the bound the promise must break, otherwise the property above would
// prove nothing.
func TestBeyondTheBoundItFails(t *testing.T) {
	granted, rate := 10*time.Minute, 1.006
	b := Budget{}
	d := Compute(1, granted, b)
	if expires := boot.Instant(1).Add(time.Duration(float64(granted) / rate)); d.Hard <= expires {
		t.Error("a store's clock 0.6 % fast should have expired the lease before the fence")
	}
}

func TestLaterNeverShortensWhatANewerOneProved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var newest, got Deadlines
		for range rapid.IntRange(1, 20).Draw(t, "n") {
			d := Compute(boot.Instant(rapid.Int64Range(1, 1e12).Draw(t, "sent")), 30*time.Second, DefaultBudget())
			if d.Sent > newest.Sent {
				newest = d
			}
			got = got.Later(d)
		}
		if got != newest {
			t.Fatalf("kept %+v, newest sent is %+v", got, newest)
		}
	})
}

func TestZeroDeadlinesAreNeverLive(t *testing.T) {
	if (Deadlines{Soft: math.MaxInt64, Hard: math.MaxInt64}).Live(0) {
		t.Error("deadlines without a confirmation are live")
	}
}
