package guard

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/watchdog"
	"github.com/matriarch-ha/matriarch/watchdog/dogtest"
)

// watched is a guard of a directory without a server, with a device.
type watched struct {
	t    *testing.T
	o    Options
	mark string
}

func watch(t *testing.T, device string) *watched {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	o := guardOptions(dir)
	o.Env = append(o.Env, WatchdogEnv+"="+device)
	return &watched{t, o, filepath.Join(filepath.Dir(dir), WatchdogMark)}
}

func (w *watched) start(required bool) *Client {
	w.t.Helper()
	c, err := Start(context.Background(), w.o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Kill)
	c.SetWatchdog(func() (time.Duration, bool) { return time.Second, required })
	return c
}

func (w *watched) marked() bool {
	_, err := os.Stat(w.mark)
	return !errors.Is(err, fs.ErrNotExist)
}

// lasting returns deadlines of which the hard one comes after d, and the reset
// two seconds later.
func lasting(d time.Duration) fence.Deadlines {
	l := within(d)
	l.Reset = l.Hard.Add(2 * time.Second)
	return l
}

// await waits until the guard says so of the device.
func await(t *testing.T, c *Client, what string, holds func(watchdog.State) bool) {
	t.Helper()
	limit := time.After(time.Minute)
	for !holds(c.Watchdog()) {
		select {
		case <-c.Changed():
		case <-limit:
			t.Fatalf("waited in vain until %s: %+v", what, c.Watchdog())
		}
	}
}

func awaitDevice(t *testing.T, m *dogtest.Model, what string, holds func(dogtest.State) bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(m.State()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s: %+v, %v", what, m.State(), m.Log())
		}
	}
}

func disarmed(s dogtest.State) bool { return !s.Open && !s.Active && !s.Fired }

// TestWatchdogRunsWithTheLease: opened with the first deadline, fed with each,
// disarmed by the agent's word.
func TestWatchdogRunsWithTheLease(t *testing.T) {
	m := &dogtest.Model{}
	w := watch(t, dogtest.Mount(t, m))
	c := w.start(true)
	if m.State().Open || w.marked() {
		t.Fatal("the device runs before a lease was won")
	}
	for range 3 {
		pings := m.State().Pings
		d := lasting(30 * time.Second)
		arm(t, c, d)
		// It is acknowledged only when the device has it.
		if s := m.State(); !s.Active || s.Pings == pings || now().Add(s.Left) > d.Reset {
			t.Errorf("armed: %+v", s)
		}
	}
	if !w.marked() {
		t.Error("nothing tells the next guard of it")
	}
	if err := c.Disarm(context.Background()); err != nil {
		t.Fatal(err)
	}
	awaitDevice(t, m, "it is disarmed", disarmed)
	await(t, c, "the guard says so", func(s watchdog.State) bool { return !s.Active })
	if w.marked() {
		t.Error("a mark of a device at rest")
	}
	// Deadlines without a reset: it is not wanted any more.
	arm(t, c, lasting(30*time.Second))
	await(t, c, "it runs again", func(s watchdog.State) bool { return s.Active })
	arm(t, c, within(30*time.Second))
	awaitDevice(t, m, "it is disarmed", disarmed)
}

// TestWatchdogIsDisarmedByTheProof: after a fence, and after the end of a server
// that has no agent.
func TestWatchdogIsDisarmedByTheProof(t *testing.T) {
	m := &dogtest.Model{}
	w := watch(t, dogtest.Mount(t, m))
	c := w.start(false)
	arm(t, c, lasting(2*time.Second))
	awaitFence(t, c)
	awaitDevice(t, m, "it is disarmed", disarmed)

	arm(t, c, lasting(4*time.Second))
	awaitDevice(t, m, "it runs", func(s dogtest.State) bool { return s.Active })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	awaitDevice(t, m, "it is disarmed", disarmed)
}

// TestWatchdogResetsWithoutGuard: killed or stopped with an armed device, a
// guard leaves it to reset the host.
func TestWatchdogResetsWithoutGuard(t *testing.T) {
	for name, sig := range map[string]unix.Signal{"killed": unix.SIGKILL, "stopped": unix.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			m := &dogtest.Model{}
			c := watch(t, dogtest.Mount(t, m)).start(true)
			arm(t, c, lasting(2*time.Second))
			deliver(t, c.State().PID, sig)
			awaitDevice(t, m, "the host is reset", func(s dogtest.State) bool { return s.Fired })
		})
	}
}

// TestWatchdogOfAKilledGuard: the next one finds the device running, and does
// with it what it is told.
func TestWatchdogOfAKilledGuard(t *testing.T) {
	for name, writer := range map[string]bool{"a writer": true, "no writer": false} {
		t.Run(name, func(t *testing.T) {
			m := &dogtest.Model{}
			w := watch(t, dogtest.Mount(t, m))
			first := w.start(true)
			arm(t, first, lasting(30*time.Second))
			first.Kill()
			awaitDevice(t, m, "it is left", func(s dogtest.State) bool { return !s.Open })
			pings := m.State().Pings
			c := w.start(true)
			await(t, c, "it is found", func(s watchdog.State) bool { return s.Left })
			if s := m.State(); !s.Active || s.Pings != pings {
				t.Errorf("before anything was said: %+v", s)
			}
			if !writer {
				if err := c.Disarm(context.Background()); err != nil {
					t.Fatal(err)
				}
				awaitDevice(t, m, "it is disarmed", disarmed)
				return
			}
			arm(t, c, lasting(30*time.Second))
			if s := m.State(); !s.Active || s.Pings == pings {
				t.Errorf("armed: %+v", s)
			}
		})
	}
}

// TestWatchdogRequired: a device that is required and does not protect keeps the
// deadline from being acknowledged, with the reason; where it is not required
// the guard goes on.
func TestWatchdogRequired(t *testing.T) {
	for name, m := range map[string]*dogtest.Model{
		"resets too late": {Fixed: true}, "is not there": nil, "breaks": {Broken: true}, "has no such timeout": {Longest: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			device := "/nonexistent/watchdog"
			if m != nil {
				device = dogtest.Mount(t, m)
			}
			w := watch(t, device)
			c := w.start(true)
			err := c.Arm(context.Background(), lasting(30*time.Second), nil)
			if !errors.Is(err, ErrWatchdog) || !c.Watchdog().Failed || c.Watchdog().Trouble == "" {
				t.Errorf("armed: %v, %+v", err, c.Watchdog())
			}
			if err := c.Disarm(context.Background()); err != nil {
				t.Fatal(err)
			}
			if m != nil && !m.Broken {
				awaitDevice(t, m, "it is disarmed", disarmed)
			}
			c.SetWatchdog(func() (time.Duration, bool) { return time.Second, false })
			arm(t, c, lasting(30*time.Second))
			await(t, c, "it is said", func(s watchdog.State) bool { return s.Trouble != "" })
		})
	}
}

// TestWatchdogThatCannotBeStopped is kept alive when the server is not a writer,
// and resets the host when its guard ends.
func TestWatchdogThatCannotBeStopped(t *testing.T) {
	m := &dogtest.Model{NoWayOut: true}
	c := watch(t, dogtest.Mount(t, m)).start(true)
	arm(t, c, lasting(30*time.Second))
	if err := c.Disarm(context.Background()); err != nil {
		t.Fatal(err)
	}
	await(t, c, "it is said", func(s watchdog.State) bool { return s.Kept && s.Trouble != "" })
	if s := m.State(); !s.Open || !s.Active || s.Left < 30*time.Second {
		t.Errorf("at rest: %+v", s)
	}
	arm(t, c, lasting(20*time.Second))
	if s := m.State(); !s.Active || s.Left > 22*time.Second {
		t.Errorf("armed again: %+v", s)
	}
}
