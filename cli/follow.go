package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/client"
)

// statusTimeout bounds one look at a member that is followed.
const statusTimeout = 3 * time.Second

// fate is what is known of a request to a member.
type fate int

const (
	unsettled fate = iota // still going on, as far as anybody knows
	settled
)

// following watches one member from its status, without end: until what was
// asked is seen, or it gives no sign of life for too long, or nothing changes
// for too long.
type following struct {
	app    *app
	client *client.Client
	out    *linewise
	name   string
	base   string
	// judge says from a status what became of the request.
	judge func(api.StatusDoc) fate
	// quiet does not tell a person what is seen on the way.
	quiet bool

	last        string    // what was told last
	heard       time.Time // when it last answered
	changed     time.Time // when what it said last changed
	silentSince string    // why it does not answer
}

// begin starts the clocks.
func (f *following) begin() {
	f.heard = time.Now()
	f.changed = f.heard
}

// look asks once. done: the following is over, with its fate and, if that is
// not known, why.
func (f *following) look(ctx context.Context) (done bool, end fate, why string) {
	try, cancel := context.WithTimeout(ctx, statusTimeout)
	st, err := f.client.Status(try, f.base)
	cancel()
	now := time.Now()
	if err != nil {
		f.silentSince = briefly(err)
		if silent := now.Sub(f.heard); silent >= f.app.opts.timing.silence {
			return true, unsettled, fmt.Sprintf("no answer for %.0f s: %s", silent.Seconds(), f.silentSince)
		}
		return false, unsettled, ""
	}
	f.heard = now
	if end := f.judge(st); end != unsettled {
		return true, end, ""
	}
	if text := doing(st); text != f.last {
		f.last, f.changed = text, now
		if !f.quiet {
			f.out.warn("%s %s: %s", f.app.now(), f.name, text)
		}
	}
	if idle := now.Sub(f.changed); idle >= f.app.opts.timing.long {
		return true, unsettled, fmt.Sprintf("%s, unchanged for %.0f s", f.last, idle.Seconds())
	}
	return false, unsettled, ""
}

// doing says what a member is busy with.
func doing(st api.StatusDoc) string {
	text := st.State
	if m := st.Matriarch; m != nil {
		switch {
		case m.Progress != "" && m.Task != "":
			text += ", " + m.Task + ": " + m.Progress
		case m.Task != "":
			text += ", " + m.Task
		}
	}
	return text
}

// until looks again and again until the following is over.
func (f *following) until(ctx context.Context) (fate, string) {
	f.begin()
	tick := time.NewTicker(f.app.opts.timing.every)
	defer tick.Stop()
	for {
		if done, end, why := f.look(ctx); done {
			return end, why
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return unsettled, "interrupted"
		}
	}
}

// howToFollow names the command that shows what becomes of it.
func (a *app) howToFollow() string { return "follow it with: " + a.name + " list -W" }
