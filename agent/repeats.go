package agent

import (
	"strings"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

const (
	// remindAfter is when a trouble that lasts is told again.
	remindAfter = 10 * time.Minute
	// settledAfter is when a failure counts as over that was not tried again: every
	// action that is still wanted is tried again sooner.
	settledAfter = time.Minute
)

// repeats keeps a trouble that lasts from being told with every attempt. While
// something fails, each sentence is said once; when nothing fails any more, all
// may be said anew.
type repeats struct {
	clock clock.Clock

	mu      sync.Mutex
	failing map[string]failure
	said    map[string]boot.Instant
	trouble bool // something failed when that was looked at last
}

// failure is the last one of an action.
type failure struct {
	at   boot.Instant
	told string
}

func newRepeats(c clock.Clock) *repeats {
	return &repeats{clock: c, failing: map[string]failure{}, said: map[string]boot.Instant{}}
}

// failed notes that something failed, and reports whether that is to be told.
func (r *repeats) failed(what string, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing[what] = failure{r.clock.Now(), err.Error()}
	r.forget()
	return r.fresh(what + ": " + err.Error())
}

// succeeded notes that it does not fail any more.
func (r *repeats) succeeded(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.failing[what]; !ok {
		return
	}
	delete(r.failing, what)
	for text := range r.said {
		if strings.HasPrefix(text, what+": ") {
			delete(r.said, text)
		}
	}
	r.forget()
}

// forget drops what is over.
func (r *repeats) forget() {
	now := r.clock.Now()
	for what, f := range r.failing {
		if now.Sub(f.at) > settledAfter {
			delete(r.failing, what)
		}
	}
	for text, at := range r.said {
		if now.Sub(at) > remindAfter {
			delete(r.said, text)
		}
	}
	if failed := len(r.failing) > 0; failed != r.trouble {
		if r.trouble = failed; !failed {
			clear(r.said)
		}
	}
}

// news reports whether a sentence is to be told.
func (r *repeats) news(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
	return r.fresh(text) || !r.trouble
}

func (r *repeats) fresh(text string) bool {
	now := r.clock.Now()
	if _, ok := r.said[text]; ok {
		return false
	}
	r.said[text] = now
	return true
}

// without leaves out of a sentence the errors among those given that were told
// already.
func (r *repeats) without(text string, errs ...string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range errs {
		for _, f := range r.failing {
			if e != "" && strings.Contains(f.told, e) {
				text = strings.NewReplacer(": "+e, "", " ("+e+")", "").Replace(text)
			}
		}
	}
	return text
}
