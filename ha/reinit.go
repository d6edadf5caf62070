package ha

import (
	"github.com/matriarch-ha/matriarch/boot"
)

// Reiniting is the progress of copying the data anew: the server is stopped, a
// copy is made beside the directory and takes its place when it is complete. A
// copy that fails leaves the old data, and the member goes on with them.
type Reiniting struct {
	ID         int          `json:"id,omitempty"`
	FromLeader bool         `json:"from_leader,omitempty"`
	Begun      boot.Instant `json:"begun,omitempty"`
	Seq        int          `json:"seq,omitempty"` // the task that had ended last when it began
	// Copied: the copy has ended, well or not, in a pause, where no other rule
	// starts what is in place now.
	Copied bool `json:"copied,omitempty"`
}

// ReinitStarted answers who asked for a reinitialization, when it begins. How it
// ended is a second Reply to the same request.
const ReinitStarted = "reinitialize started"

// UnderWay: it was begun and is not over.
func (r Reiniting) UnderWay() bool { return !r.Begun.IsZero() }

// followReinit says when it is over. Whoever asked was told when it began, so
// this is for the log and the journal.
func (t *turn) followReinit() {
	r := t.m.Reinit
	if !r.UnderWay() || t.tasked() {
		return
	}
	last := t.o.Task.Last
	ended := last.Seq != r.Seq
	switch {
	case r.Copied:
		if last.Kind != Clone || !t.stopped() || !t.usable() || !t.o.Settings.Paused {
			t.m.Reinit = Reiniting{}
		}
	case ended && last.Kind == Clone && last.Error == "":
		t.endReinit(Done, "reinitialized: the data are copied")
		t.m.Reinit = r.copied(t.o.Settings.Paused)
	case ended && last.Kind == Clone:
		t.endReinit(Failed, "reinitialize failed, the data are as they were: "+last.Error)
		t.m.Reinit = r.copied(t.o.Settings.Paused)
	case ended && last.Kind == Stop && last.Error != "":
		t.endReinit(Failed, "reinitialize failed: the server did not stop: "+last.Error)
	case t.o.Stopping:
		t.endReinit(Failed, "reinitialize failed: the agent is stopping")
	case t.o.Store.Known && t.o.Store.Reachable && (t.o.Lease.Held || t.reinitSource(r.FromLeader).IsZero()):
		t.endReinit(Failed, "reinitialize failed: there is no running leader any more to copy from")
	}
}

func (r Reiniting) copied(paused bool) Reiniting {
	if !paused {
		return Reiniting{}
	}
	r.Copied = true
	return r
}

func (t *turn) endReinit(o Outcome, why string) {
	id := t.m.Reinit.ID
	t.m.Reinit = Reiniting{}
	t.reply(id, o, why)
}

// reinitialize begins and carries on what followReinit follows.
func (t *turn) reinitialize() bool {
	req := t.o.Requests.Reinit
	switch {
	case t.m.Reinit.UnderWay():
	case req.ID == 0 || t.answered(req.ID):
		return false
	default:
		if why := t.whyNoReinit(req); why != "" {
			t.reply(req.ID, Refused, why)
			return false
		}
		if t.m.Restart.UnderWay() {
			t.endRestart(Failed, "restart failed: the member is reinitialized instead")
		}
		t.m.Reinit = Reiniting{ID: req.ID, FromLeader: req.FromLeader, Begun: t.o.Now, Seq: t.o.Task.Last.Seq}
		t.reply(req.ID, Done, ReinitStarted)
	}
	if t.m.Reinit.Copied {
		if !t.stopped() || !t.usable() {
			return false
		}
		up := t.restartUpstream()
		return t.answer(t.situation(), "this member was reinitialized in a pause: starting its server as a standby of "+orNobody(up),
			Action{Kind: StartReplica, Upstream: up})
	}
	src := t.reinitSource(t.m.Reinit.FromLeader)
	if !t.stopped() {
		return t.answer(SituationFollowing, "this member is reinitialized from "+src.Name+": stopping its server", Action{Kind: Stop, EndArchiver: true})
	}
	return t.answer(SituationFollowing, "this member is reinitialized: copying the data of "+src.Name+", keeping the old ones until that is done",
		Action{Kind: Clone, Upstream: src})
}

// whyNoReinit says why the data cannot be copied anew now; empty: they can.
func (t *turn) whyNoReinit(req ReinitRequest) string {
	const no = ", can not reinitialize"
	switch {
	case !t.o.Store.Known || !t.o.Store.Reachable:
		return "The store does not answer" + no
	case !t.view.Leader.Held():
		return "Cluster has no leader" + no
	case t.o.Lease.Held || t.view.Leader.Name == t.o.Self.Name:
		return "I am the leader" + no
	case t.o.Stopping:
		return "The agent is stopping" + no
	}
	if doing := t.busy(); doing != "" && !(req.Force && doing != "reinitialize") {
		return doing + " already in progress"
	}
	if lead := t.view.Leader.Name; t.reinitSource(req.FromLeader).IsZero() {
		return sentence("The leader %s does not run as primary now%s", lead, no)
	}
	return ""
}

// reinitSource is whom to copy from.
func (t *turn) reinitSource(fromLeader bool) Upstream {
	if !t.leaderIsOther() {
		return Upstream{}
	}
	src := t.cloneSource()
	if lead, ok := t.view.LeaderMember(); fromLeader && ok && !src.IsZero() {
		return upstreamOf(lead)
	}
	return src
}

// makeWay: what is in progress is cancelled for a person who forces the data to
// be copied anew. A member that leads, or is about to, is not reached.
func (t *turn) makeWay() bool {
	req := t.o.Requests.Reinit
	if req.ID == 0 || !req.Force || t.m.Reinit.UnderWay() || t.whyNoReinit(req) != "" {
		return false
	}
	t.waits = true
	t.wake(soon)
	return t.answer(t.situation(), sentence("this member is to be reinitialized: cancelling the %s in progress first", t.o.Task.Kind), Action{Kind: CancelTask})
}

// giveUpCopy: nobody leads for longer than a successor needs, and the old data
// here, which a reinitialization is replacing, may be what the cluster needs.
func (t *turn) giveUpCopy() bool {
	return t.m.Reinit.UnderWay() && t.o.Task.Kind == Clone && t.o.Server.Dir == DirPresent && t.neededInRace()
}
