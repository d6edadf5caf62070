package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
)

// told is what the log says already, so that it says nothing twice: a line
// stands until a decision is another one.
type told struct {
	rule ha.RuleID
	why  string
	// progress is what was said of the long action that runs, and since when.
	progress   string
	progressAt boot.Instant
	// failed are the actions that failed under this decision.
	failed map[ha.ActionKind]failures
	// broken are other things that do not work, by name, and how.
	broken map[string]string
}

// failures are those of one action in the same way.
type failures struct {
	text  string
	count int
}

// progressPace is how often the log says how far a long action is.
const progressPace = time.Minute

// tell journals and logs a decision that changed.
func (a *Agent) tell(o ha.Observation, before ha.Memory, d ha.Decision) {
	changed := journal.Changed(a.last, d)
	if changed {
		a.last = d
		if a.opt.Journal != nil {
			a.opt.Journal.Append(journal.OfTurn(o.Wall, o, before, d))
		}
	}
	if d.Rule == ha.TaskRunning {
		a.tellProgress(o.Now, d)
		return
	}
	a.told.progress, a.told.progressAt = "", 0
	if !changed || a.told.rule == d.Rule && a.told.why == d.Why {
		return
	}
	a.told.rule, a.told.why, a.told.failed = d.Rule, d.Why, nil
	why := a.trouble.without(d.Why, o.Task.Last.Error, o.Server.LastError)
	if endsWithError(d) || !a.trouble.news(why) {
		return
	}
	level := slog.LevelInfo
	switch {
	case d.Rule == ha.PermanentLeader || d.Rule == ha.NoData && o.Server.Dir == ha.DirInaccessible:
		level = slog.LevelWarn // a person made it, and may have to mend it
	case d.Rule == ha.StalledPrimary || d.Rule == ha.Lead && before.StallAsked != 0 && d.Memory.StallAsked != 0:
		level = slog.LevelWarn // its clients wait
	case d.Rule == ha.CrashedPrimary && (o.Server.Ended != "" || before.StartFailures > 0):
		level = slog.LevelWarn // clients feel it
	}
	a.log.Log(context.Background(), level, why, "rule", d.Rule, "situation", d.Situation)
}

// endsWithError: the agent ends, and its error is the reason.
func endsWithError(d ha.Decision) bool {
	return slices.ContainsFunc(d.Actions, func(act ha.Action) bool { return act.Kind == ha.Exit && act.Code != 0 })
}

// tellProgress: that an action was begun was said when it was decided, and its
// end will be; one that takes long says now and then how far it is.
func (a *Agent) tellProgress(now boot.Instant, d ha.Decision) {
	t := &a.told
	level := slog.LevelDebug
	switch {
	case t.progressAt == 0:
		t.progressAt = now
	case now.Sub(t.progressAt) >= progressPace:
		t.progressAt, level = now, slog.LevelInfo
	case d.Why == t.progress:
		return
	}
	t.progress = d.Why
	a.log.Log(context.Background(), level, d.Why, "rule", d.Rule, "situation", d.Situation)
}

// report journals what an action came to. Routine successes are silent, and so
// is what was said since the decision changed.
func (a *Agent) report(act ha.Action, took time.Duration, err error) {
	routine := act.Kind == ha.PublishStatus || act.Kind == ha.AskPeers || act.Kind == ha.AskFailsafe || act.Kind == ha.KeepSlots || act.Kind.IsTask()
	if err == nil && routine {
		return
	}
	if a.opt.Journal != nil {
		a.opt.Journal.Append(journal.OfAction(a.opt.Clock.Wall(), a.opt.Name, act, took, err).At(a.opt.Clock.Now()))
	}
	if err == nil {
		a.log.Debug("action done", "action", act.Kind, "took", took)
		return
	}
	if a.told.failed == nil {
		a.told.failed = map[ha.ActionKind]failures{}
	}
	f := a.told.failed[act.Kind]
	if f.text != err.Error() {
		f = failures{text: err.Error()}
	}
	f.count++
	a.told.failed[act.Kind] = f
	level, message, worth := slog.LevelWarn, "action failed; trying again as long as it is called for", 1
	if errors.Is(err, dcs.ErrConflict) {
		// The next decision tells what became of it, unless it is the same one.
		level, message, worth = slog.LevelInfo, "another was faster again", 2
	}
	if f.count != worth {
		level = slog.LevelDebug
	}
	a.log.Log(context.Background(), level, message, "action", act.Kind, "took", took, "error", err)
}

// broken says that something does not work, once until it does.
func (a *Agent) broken(name, message string, err error) {
	if a.told.broken[name] == err.Error() {
		return
	}
	if a.told.broken == nil {
		a.told.broken = map[string]string{}
	}
	a.told.broken[name] = err.Error()
	a.log.Warn(message, "error", err)
}

// works takes the word of broken back.
func (a *Agent) works(name, message string) {
	if a.told.broken[name] != "" {
		delete(a.told.broken, name)
		a.log.Info(message)
	}
}
