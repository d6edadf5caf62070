package cli

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
)

// send makes the request and tells its outcome.
func (a *app) send(c *cobra.Command, x *access, s state, m move) error {
	if s.asked == "" {
		return a.sendToStore(c, x, s, m)
	}
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel() // nobody waits for the member's answer any more
	request := client.Move{Leader: m.leader, Candidate: m.candidate, ScheduledAt: m.scheduled}
	answers := make(chan written, 1)
	bases := x.forMove(s, m)
	go func() {
		answers <- tryEach(bases, func(base string) (client.Reply, error) {
			if m.action == "failover" {
				return x.rest.Failover(ctx, base, request)
			}
			return x.rest.Switchover(ctx, base, request)
		})
	}()
	f := newMoveFollower(a, c, x, s, m)
	tick := time.NewTicker(a.opts.timing.every)
	defer tick.Stop()
	for {
		select {
		case w := <-answers:
			return a.answered(c, x, s, m, w, f)
		case <-tick.C:
			if f.look() {
				return a.moved(c, x, s, m, f, answers)
			}
			if f.over() {
				return f.stillRunning("no answer to the request")
			}
		case <-c.Context().Done():
			return f.stillRunning("interrupted")
		}
	}
}

// answered tells what the member that got the request made of it.
func (a *app) answered(c *cobra.Command, x *access, s state, m move, w written, f *moveFollower) error {
	for _, err := range w.skipped {
		warn(c, "%v", err)
	}
	r := w.reply
	switch {
	case !w.reached:
		return a.sendToStore(c, x, s, m)
	case w.err != nil:
		say(c, "%s no answer to the request, which was sent: %v", a.now(), w.err)
		return f.follow()
	case r.Code == http.StatusAccepted && m.scheduled == "" || strings.Contains(r.Text, "status unknown"):
		say(c, "%s %s", a.now(), r.Text)
		return f.follow()
	case !r.OK():
		say(c, "%s failed, details: %d, %s", m.title(), r.Code, r.Text)
		return a.refused()
	}
	say(c, "%s %s", a.now(), r.Text)
	return a.showAfter(c, x)
}

// answerGrace is how long the member's own word is waited for when the outcome
// is seen already.
const answerGrace = 3 * time.Second

// moved ends a command whose outcome was seen before the member told it.
func (a *app) moved(c *cobra.Command, x *access, s state, m move, f *moveFollower, answers <-chan written) error {
	select {
	case w := <-answers:
		return a.answered(c, x, s, m, w, f)
	case <-time.After(answerGrace):
	case <-c.Context().Done():
	}
	return f.done()
}

// forMove is whom to ask in which order: where there is no leader, the candidate
// first.
func (x *access) forMove(s state, m move) []string {
	bases := slices.Clone(x.bases)
	if _, ok := s.doc.Leader(); ok || m.candidate == "" {
		return bases
	}
	for _, o := range s.doc.Members {
		if o.Name == m.candidate {
			base := client.Base(o.APIURL)
			bases = append([]string{base}, slices.DeleteFunc(bases, func(b string) bool { return b == base })...)
		}
	}
	return bases
}

func (a *app) showAfter(c *cobra.Command, x *access) error {
	s, err := x.state(c.Context())
	if err != nil {
		warn(c, "the cluster could not be shown: %v", err)
		return nil
	}
	return a.printMembers(c, s)
}

// sendToStore writes the request where the members will find it.
func (a *app) sendToStore(c *cobra.Command, x *access, s state, m move) error {
	say(c, "%s Could not %s using the REST API, falling back to the store", a.now(), m.action)
	store, err := x.openStore(c.Context())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), storeTimeout)
	defer cancel()
	f := cluster.Failover{Leader: m.leader, Candidate: m.candidate, ScheduledAt: m.scheduled}
	if _, err := store.Put(ctx, layout.KeyFailover, layout.EncodeFailover(f), dcs.Always()); err != nil {
		return fmt.Errorf("write the request to the store: %w", err)
	}
	if m.scheduled != "" {
		say(c, "%s %s scheduled", a.now(), m.title())
		return nil
	}
	return newMoveFollower(a, c, x, s, m).follow()
}

// moveFollower watches the leadership until another member than before leads.
type moveFollower struct {
	app   *app
	cmd   *cobra.Command
	x     *access
	move  move
	was   string // who led before
	last  string // what was told last
	now   state
	until time.Time
}

func newMoveFollower(a *app, c *cobra.Command, x *access, before state, m move) *moveFollower {
	was, _ := before.doc.Leader()
	f := &moveFollower{app: a, cmd: c, x: x, move: m, was: was.Name, now: before, until: time.Now().Add(a.opts.timing.move)}
	f.last = f.leads()
	return f
}

// look reads the cluster and reports whether another member leads, ready to
// write. What changes on the way is told.
func (f *moveFollower) look() bool {
	s, err := f.x.state(f.cmd.Context())
	if err != nil {
		return false // it may be better the next time
	}
	f.now = s
	l, ok := s.doc.Leader()
	if ok && l.Name != f.was && l.State == string(cluster.StateRunning) {
		return true
	}
	if text := f.leads(); text != f.last {
		f.last = text
		if !f.app.opts.Patronictl {
			warn(f.cmd, "%s %s", f.app.now(), text)
		}
	}
	return false
}

// leads says who leads, for people.
func (f *moveFollower) leads() string {
	l, ok := f.now.doc.Leader()
	switch {
	case !ok:
		return "nobody leads now"
	case l.State != string(cluster.StateRunning):
		return fmt.Sprintf("%q leads now, %s", l.Name, l.State)
	}
	return fmt.Sprintf("%q leads now", l.Name)
}

func (f *moveFollower) over() bool { return time.Now().After(f.until) }

// follow looks until the outcome is known or the wait ends.
func (f *moveFollower) follow() error {
	f.until = time.Now().Add(f.app.opts.timing.move)
	tick := time.NewTicker(f.app.opts.timing.every)
	defer tick.Stop()
	for !f.look() {
		if f.over() {
			return f.stillRunning("the wait ended")
		}
		select {
		case <-tick.C:
		case <-f.cmd.Context().Done():
			return f.stillRunning("interrupted")
		}
	}
	return f.done()
}

// done tells who leads.
func (f *moveFollower) done() error {
	l, _ := f.now.doc.Leader()
	say(f.cmd, "%s Member %q leads now", f.app.now(), l.Name)
	return f.app.printMembers(f.cmd, f.now)
}

func (f *moveFollower) stillRunning(why string) error {
	say(f.cmd, "%s %s still running, %s: %s; %s", f.app.now(), f.move.title(), why, f.leads(), f.app.howToFollow())
	return f.app.stillRunning()
}
