package app

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/watchdog"
)

// watch decides, for one agent, whether its guard uses the watchdog device. The
// guard does the rest.
type watch struct {
	budget fence.Budget
	device string // of the agent's life: its guards are started with it
	log    *slog.Logger
	usable func(device string) error

	mu     sync.Mutex
	mode   watchdog.Mode
	safety time.Duration
	given  bool   // automatic: given up, since the device could not be used
	said   string // why there is no device, as it was told last
}

func newWatch(f *config.File, budget fence.Budget, log *slog.Logger) *watch {
	w := &watch{budget: budget, device: f.Watchdog.Device, log: log, usable: watchdog.Usable}
	w.configure(f)
	return w
}

// configure puts the mode and the safety margin of a file into force.
func (w *watch) configure(f *config.File) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mode, w.safety = watchdog.Mode(f.Watchdog.Mode), time.Duration(f.Watchdog.SafetyMargin)*time.Second
	w.given = false
}

// margin is how long before the end of a lease of this length the device resets
// the host; false: no device is used. It is asked at each confirmation.
func (w *watch) margin(granted time.Duration) (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mode == watchdog.Off || w.given {
		return 0, false
	}
	if why := w.unusable(granted); why != "" {
		w.tell(why)
		return 0, false
	}
	w.tell("")
	return watchdog.Margin(granted, w.safety), true
}

// unusable is why no device can be used for a lease of this length; w.mu is held.
func (w *watch) unusable(granted time.Duration) string {
	if err := w.usable(w.device); err != nil {
		return err.Error()
	}
	b := w.budget
	b.Device, b.Margin = true, watchdog.Margin(granted, w.safety)
	d := fence.Compute(1, granted, b)
	if left := d.Soft.Sub(d.Sent); left < granted/4 {
		return fmt.Sprintf("a lease of %v would leave %v to work in: lower watchdog.safety_margin (%v), or raise ttl", granted, left.Round(100*time.Millisecond), w.safety)
	}
	return ""
}

// tell says once why there is no device; w.mu is held.
func (w *watch) tell(why string) {
	if why == w.said {
		return
	}
	switch w.said = why; {
	case why == "":
		w.log.Info("the watchdog device can be used: it resets this host when its lease ends and neither agent nor guard has stopped the server", "device", w.device)
	case w.mode == watchdog.Required:
		w.log.Error("watchdog.mode is required and the device cannot be used: this member does not lead", "device", w.device, "reason", why)
	default:
		w.log.Info("no watchdog device is used; the guard process fences this member", "device", w.device, "reason", why)
	}
}

// trouble is why this member may not lead: the device is required and does not
// work. It is told how the guard's stands, at each turn.
func (w *watch) trouble(granted time.Duration, st watchdog.State) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.mode == watchdog.Automatic:
		w.given = w.given || st.Failed
	case w.mode != watchdog.Required:
	case st.Failed:
		return st.Trouble
	case granted > 0:
		why := w.unusable(granted)
		w.tell(why)
		return why
	}
	return ""
}

// wanted is what the guard needs for each renewal.
func (w *watch) wanted(every time.Duration) (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return every, w.mode == watchdog.Required
}
