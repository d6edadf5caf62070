package cli

import (
	"context"
	"strconv"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
)

// waitingFor is a member whose copy is awaited, and how it was before: that
// tells afterwards whether its server is another one, and what its journal says
// of the copy.
type waitingFor struct {
	member  api.MemberDoc
	started string // when its server had been started
	seq     uint64 // its newest record; 0: it keeps no journal that could be read
}

func (t *acting) beforeReinit(m api.MemberDoc) waitingFor {
	base := client.Base(m.APIURL)
	st, _ := t.x.rest.Status(t.cmd.Context(), base)
	w := waitingFor{member: m, started: st.PostmasterStart}
	if newest, err := t.x.rest.Journal(t.cmd.Context(), base, "", 1); err == nil && len(newest) > 0 {
		w.seq = newest[len(newest)-1].Seq
	}
	return w
}

// awaitReinit watches all members at once and counts those that are not done.
func (t *acting) awaitReinit(waiting []waitingFor, end *outcome) {
	var names []api.MemberDoc
	for _, w := range waiting {
		names = append(names, w.member)
	}
	say(t.cmd, "Waiting for reinitialize to complete on: %s", listed(names))
	out := &linewise{cmd: t.cmd}
	for _, o := range each(waiting, func(w waitingFor) outcome { return t.awaitOne(t.cmd.Context(), w, out) }) {
		end.refused += o.refused
		end.running += o.running
	}
}

// awaitOne watches one member until its server is another one than before, and
// runs. That is no proof of a copy: one that failed leaves the old data, which
// are started again. So a member that keeps a journal is asked what it says.
func (t *acting) awaitOne(ctx context.Context, w waitingFor, out *linewise) outcome {
	copying := false
	told := copyStory{}
	f := &following{app: t.app, client: t.x.rest, name: w.member.Name, base: client.Base(w.member.APIURL),
		quiet: t.app.opts.Patronictl, out: out,
		judge: func(st api.StatusDoc) fate {
			copying = copying || st.State != "running"
			another := st.State == "running" && st.PostmasterStart != "" && st.PostmasterStart != w.started ||
				st.State == "running" && copying && w.started == ""
			if w.seq > 0 {
				if err := t.readOn(ctx, &w, &told); err != nil {
					return unsettled
				}
			}
			if another || told.failed != "" {
				return settled
			}
			return unsettled
		}}
	end, why := f.until(ctx)
	switch name := w.member.Name; {
	case end != settled:
		out.say("Reinitialize of member %s still running: %s; %s", name, why, t.app.howToFollow())
		return outcome{running: 1}
	case told.failed != "":
		out.say("Failed: member %s: %s", name, told.failed)
		return outcome{refused: 1}
	case w.seq > 0 && !told.done:
		out.say("Failed: member %s: its agent was started anew before the copy had ended, and runs the server on the data that are there", name)
		return outcome{refused: 1}
	default:
		out.say("Reinitialize is completed on: %s", name)
		return outcome{}
	}
}

// copyStory is what a journal says of a reinitialization.
type copyStory struct {
	request int // its number; 0: not seen to begin yet
	done    bool
	failed  string // why it failed
}

// journalPage is how many records are read at once.
const journalPage = 100

// readOn reads what the member's journal says since it was read last.
func (t *acting) readOn(ctx context.Context, w *waitingFor, s *copyStory) error {
	for {
		try, cancel := context.WithTimeout(ctx, statusTimeout)
		records, err := t.x.rest.Journal(try, client.Base(w.member.APIURL), strconv.FormatUint(w.seq, 10), journalPage)
		cancel()
		if err != nil {
			return err
		}
		for _, r := range records {
			s.take(r)
			w.seq = r.Seq
		}
		if len(records) < journalPage {
			return nil
		}
	}
}

// take notes what a record says. A request is answered when the copy begins, and
// once more when it has ended.
func (s *copyStory) take(r journal.Record) {
	if r.Turn == nil {
		return
	}
	for _, a := range r.Turn.Actions {
		switch {
		case a.Kind != ha.Reply:
		case a.Why == ha.ReinitStarted:
			*s = copyStory{request: a.Request}
		case s.request == 0 || a.Request != s.request:
		case a.Outcome == ha.Done:
			s.done = true
		default:
			s.failed = a.Why
		}
	}
}
