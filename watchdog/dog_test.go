package watchdog

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/watchdog/dogtest"
)

// TestDog: by way of the kernel, and on a thread of its own.
func TestDog(t *testing.T) {
	m := &dogtest.Model{}
	path := dogtest.Mount(t, m)
	changed := make(chan struct{}, 1)
	o := Options{Device: path, Mark: filepath.Join(t.TempDir(), "mark"), Changed: func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}}
	d := New(o)
	await := func(what string, holds func(State) bool) {
		t.Helper()
		limit := time.After(time.Minute)
		for !holds(d.State()) || d.Busy() {
			select {
			case <-changed:
			case <-limit:
				t.Fatalf("waited in vain until %s: %+v", what, d.State())
			}
		}
	}
	reset := clock.Real{}.Now().Add(25 * time.Second)
	for n := range uint64(3) {
		d.Feed(Feed{Reset: reset, Every: time.Second, Required: true, Nonce: n + 1})
		await("it is fed", func(s State) bool { return s.Answered == n+1 && s.Active })
		if left, most := m.State().Left, reset.Sub(clock.Real{}.Now()); left > most || left < most-2*time.Second {
			t.Errorf("the device fires in %v, and should in %v", left, most)
		}
	}
	d.Rest()
	await("it rests", func(s State) bool { return !s.Active })
	eventually(t, "the device is closed", func() bool { return !m.State().Open })
	if m.State().Active {
		t.Error("the device runs")
	}

	// The last word before the end is obeyed.
	d.Feed(Feed{Reset: reset, Every: time.Second, Nonce: 9})
	await("it is fed", func(s State) bool { return s.Active })
	d.Rest()
	d.Close()
	eventually(t, "the device is closed", func() bool { return !m.State().Open })
	if m.State().Active {
		t.Error("the device runs although the last word was to rest")
	}

	// And an end without one leaves it running, for the next.
	d = New(o)
	d.Feed(Feed{Reset: reset, Every: time.Second, Nonce: 1})
	await("it is fed", func(s State) bool { return s.Active })
	d.Close()
	eventually(t, "the device is closed", func() bool { return !m.State().Open })
	if !m.State().Active {
		t.Error("the device was disarmed without the proof")
	}
	d = New(o)
	defer d.Close()
	if !d.State().Left {
		t.Errorf("the next one: %+v", d.State())
	}
	d.Rest()
	await("it rests", func(s State) bool { return !s.Left })
	eventually(t, "the device is disarmed", func() bool { return !m.State().Active })
}
