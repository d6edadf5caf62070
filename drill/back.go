package drill

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// back takes all faults back, the last one first. It does not depend on the
// context whose end may be the reason for it.
func (r *Run) back(hurry context.Context) {
	for _, a := range slices.Backward(r.armed) {
		r.say("%s", a.undo.Say)
		err := r.insist(hurry, r.Timing.Undo, func(ctx context.Context) error { return r.Undoers.Do(ctx, a.undo) })
		if err != nil {
			r.left("could not %s: %v. Another process (of this program) goes on trying for some minutes", a.undo.Say, err)
			continue
		}
		expired, err := r.Watch.Disarm(a.id)
		switch {
		case expired:
			r.note("%s: that had happened by itself, since the fault had lasted for %s", a.undo.Say, r.Timing.Longest().Round(time.Second))
		case err != nil:
			r.note("%s: the second process did not hear of it (%v); it does no harm to do it again", a.undo.Say, err)
		}
	}
}

// drop removes the table, through the entrypoint, from whoever leads now.
func (r *Run) drop(hurry context.Context) {
	if r.table == nil {
		return
	}
	err := r.insist(hurry, r.Timing.Clean, func(ctx context.Context) error { return r.Undoers.Do(ctx, r.table.undo) })
	if err != nil {
		r.left("could not %s: %v. Another process (of this program) goes on trying for some minutes", r.table.undo.Say, err)
		return
	}
	if _, err := r.Watch.Disarm(r.table.id); err != nil {
		r.note("%s: the second process did not hear of it (%v); it does no harm to do it again", r.table.undo.Say, err)
	}
}

// insist tries until it works or the time is over. What is tried has some time
// even where nobody waits any more: it is the way back.
func (r *Run) insist(hurry context.Context, within time.Duration, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(hurry, within)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if hurry.Err() != nil {
				return fmt.Errorf("not waited for: %w", err)
			}
			return err
		case <-time.After(r.Timing.PerRetry):
		}
	}
}

// awaitWhole waits until all members follow again, or says who does not.
func (r *Run) awaitWhole(hurry context.Context) {
	ctx, cancel := context.WithTimeout(hurry, r.Timing.Whole)
	defer cancel()
	begun, well := time.Now(), 0
	why := []string{"the cluster was not looked at again"}
	var now Picture
	for well < 2 { // one look may be older than what has just happened
		seen, err := r.Cluster.Look(ctx)
		switch {
		case ctx.Err() != nil:
			r.notWhole(why, time.Since(begun), hurry.Err() != nil)
			return
		case err != nil:
			why, well = []string{err.Error()}, 0
		default:
			now = seen
			r.show(now)
			if why = now.Differences(r.Before); len(why) > 0 {
				well = 0
			} else {
				well++
			}
		}
		if r.wait(ctx, r.Timing.Look) != nil && well < 2 {
			r.notWhole(why, time.Since(begun), hurry.Err() != nil)
			return
		}
	}
	l, _ := now.Leader()
	r.report.LeaderAfter, r.report.TimelineAfter = l.Name, l.Timeline
	r.say("all members follow %s again", l.Name)
	_ = r.wait(ctx, r.Timing.After) // the end of the wait is no error here
}

func (r *Run) notWhole(why []string, waited time.Duration, hurried bool) {
	if len(why) == 0 {
		return
	}
	how := fmt.Sprintf("after %s", waited.Round(time.Second))
	if hurried {
		how = "when the waiting was ended"
	}
	r.left("the cluster is not whole again %s: %s. See `matriarch list`, and the log of that member", how, strings.Join(why, "; "))
}

// giveBack moves the leadership to where it was.
func (r *Run) giveBack(ctx context.Context) {
	was, now := r.report.LeaderBefore, r.report.LeaderAfter
	if now == "" || now == was || ctx.Err() != nil {
		return
	}
	r.say("moving the leadership back to %s", was)
	if err := r.Cluster.Switchover(ctx, now, was); err != nil {
		r.note("the leadership stays with %s: %v", now, err)
		return
	}
	until := time.Now().Add(r.Timing.Effect)
	for time.Now().Before(until) {
		if p, err := r.Cluster.Look(ctx); err == nil && len(p.Differences(r.Before)) == 0 {
			if l, _ := p.Leader(); l.Name == was {
				r.report.LeaderAfter, r.report.TimelineAfter = l.Name, l.Timeline
				r.say("%s leads again", was)
				return
			}
		}
		if r.wait(ctx, r.Timing.Look) != nil {
			break
		}
	}
	r.left("the leadership was asked to go back to %s, and it is not known yet that it has: see `matriarch list`", was)
}

// show tells how it stands, in one line.
func (r *Run) show(p Picture) {
	var parts []string
	for _, m := range p.Members {
		word := "silent"
		switch {
		case m.Leads && m.Answers && m.Primary:
			word = "leads"
		case m.Answers && m.Streaming:
			word = "streams"
		case m.Answers:
			word = m.State
		}
		parts = append(parts, m.Name+" "+word)
	}
	l := r.Writing.Ledger()
	parts = append(parts, fmt.Sprintf("%d rows", l.Counts().Acknowledged))
	if quiet := l.Quiet(time.Now()); quiet > time.Second {
		parts = append(parts, "no write for "+seconds(quiet.Truncate(100*time.Millisecond)))
	}
	r.Progress.Show(strings.Join(parts, " · "))
}
