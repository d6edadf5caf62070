package app

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/messages"
	"github.com/matriarch-ha/matriarch/watchdog"
)

// dogWith returns a watch of a device that can be used unless broken says why not.
func dogWith(mode string, margin int, broken *error) (*watch, *bytes.Buffer) {
	var log bytes.Buffer
	w := newWatch(&config.File{Watchdog: config.Watchdog{Mode: mode, Device: "/dev/watchdog", SafetyMargin: margin}},
		fence.DefaultBudget(), slog.New(slog.NewTextHandler(&log, nil)))
	w.usable = func(string) error { return *broken }
	return w, &log
}

func TestWatchdogMessages(t *testing.T) {
	broken := errors.New("no such file")
	for id, mode := range map[string]string{"no-watchdog": "automatic", "watchdog-required": "required"} {
		w, log := dogWith(mode, 5, &broken)
		for range 3 {
			if _, ok := w.margin(30 * time.Second); ok {
				t.Errorf("%s: a device that is not there is used", mode)
			}
			if why := w.trouble(30*time.Second, watchdog.State{}); (why != "") != (mode == "required") {
				t.Errorf("%s: %q keeps this member from leading", mode, why)
			}
		}
		messages.Check(t, id, log.String())
	}
}

func TestWatchdogMargin(t *testing.T) {
	var broken error
	for _, c := range []struct {
		mode    string
		safety  int
		granted time.Duration
		margin  time.Duration
		used    bool
	}{
		{"off", 5, 30 * time.Second, 0, false},
		{"automatic", 5, 30 * time.Second, 5 * time.Second, true},
		{"required", -1, 30 * time.Second, 15 * time.Second, true},
		{"automatic", 0, 20 * time.Second, 0, true},
		{"automatic", 25, 30 * time.Second, 0, false}, // no time would be left to work in
		{"automatic", 5, 10 * time.Second, 0, false},
	} {
		w, log := dogWith(c.mode, c.safety, &broken)
		if margin, used := w.margin(c.granted); margin != c.margin || used != c.used {
			t.Errorf("%+v: %v %v: %s", c, margin, used, log)
		}
	}
	// An automatic device that cannot be used is given up until the next reload; a
	// required one is tried again.
	failed := watchdog.State{Failed: true, Trouble: "busy"}
	w, _ := dogWith("automatic", 5, &broken)
	if why := w.trouble(30*time.Second, failed); why != "" {
		t.Errorf("automatic: %q", why)
	}
	if _, used := w.margin(30 * time.Second); used {
		t.Error("a device that failed is used on")
	}
	w.configure(&config.File{Watchdog: config.Watchdog{Mode: "required", SafetyMargin: 5}})
	if _, used := w.margin(30 * time.Second); !used {
		t.Error("not tried again after a reload")
	}
	if why := w.trouble(30*time.Second, failed); why != "busy" {
		t.Errorf("required: %q", why)
	}
	if why := w.trouble(10*time.Second, watchdog.State{}); !strings.Contains(why, "safety_margin") {
		t.Errorf("required, and a lease that is too short: %q", why)
	}
	if every, required := w.wanted(10 * time.Second); every != 10*time.Second || !required {
		t.Error(every, required)
	}
}
