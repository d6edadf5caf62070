package ha

import (
	"github.com/matriarch-ha/matriarch/cluster"
)

// Requests are what people want of this one member. Each stays here until a
// Reply to its ID was carried out; an ID of zero: none.
type Requests struct {
	Restart RestartRequest `json:"restart,omitzero"`
	Reinit  ReinitRequest  `json:"reinit,omitzero"`
	// Scheduled is a restart that waits for its time. Nobody waits for its
	// outcome; it stays until DropScheduled.
	Scheduled cluster.ScheduledRestart `json:"scheduled,omitzero"`
}

// RestartRequest asks for PostgreSQL to be restarted now.
type RestartRequest struct {
	ID         int                       `json:"id"`
	Conditions cluster.RestartConditions `json:"conditions,omitzero"`
}

// ReinitRequest asks for the data to be copied anew.
type ReinitRequest struct {
	ID         int  `json:"id"`
	Force      bool `json:"force,omitempty"`       // cancel what is in progress first
	FromLeader bool `json:"from_leader,omitempty"` // from the leader and nobody else
}

// Outcome is what came of a request.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused" // nothing was begun
	Failed  Outcome = "failed"  // it was begun and did not come to its end
)

// reply gives a person the last word on a request. A request that is known by
// nobody any more (id 0: it was scheduled) is only logged and journalled.
func (t *turn) reply(id int, o Outcome, why string) {
	t.replies = append(t.replies, Action{Kind: Reply, Request: id, Outcome: o, Why: why})
}

// answerPeople puts the replies before the actions of the turn, where no failed
// action can swallow them. A request that no rule took up is refused: it is
// answered in the first turn that sees it, unless that turn makes way for it.
func (t *turn) answerPeople() {
	if req := t.o.Requests.Restart; req.ID != 0 && !t.waits && t.m.Restart.ID != req.ID && !t.answered(req.ID) {
		text, detail := t.whyNoRestart(req.Conditions)
		if text == "" { // what the rule that answered is about comes first
			text = noRestart + t.d.Why
		}
		t.refuseRequest(req.ID, text, detail)
	}
	if req := t.o.Requests.Reinit; req.ID != 0 && !t.waits && t.m.Reinit.ID != req.ID && !t.answered(req.ID) {
		text := t.whyNoReinit(req)
		if text == "" {
			text = "reinitialize failed: " + t.d.Why
		}
		t.reply(req.ID, Refused, text)
	}
	t.wakeForSchedules()
	t.d.Actions = append(t.replies, t.d.Actions...)
}

// refuseRequest refuses with the text that programs know, and keeps the reason
// for the log.
func (t *turn) refuseRequest(id int, text, detail string) {
	t.replies = append(t.replies, Action{Kind: Reply, Request: id, Outcome: Refused, Why: text, Detail: detail})
}

func (t *turn) answered(id int) bool {
	for _, r := range t.replies {
		if r.Kind == Reply && r.Request == id {
			return true
		}
	}
	return false
}

// busy names what this member is in the middle of, in the words that a person
// is told: "<action> already in progress".
func (t *turn) busy() string {
	switch {
	case t.m.Reinit.UnderWay():
		return "reinitialize"
	case t.m.Restart.UnderWay():
		return "restart"
	case t.m.Handing.Why == HandingSwitchover:
		return "switchover"
	case t.tasked():
		return string(t.o.Task.Kind)
	case t.m.Handing.Why != "":
		return "handover"
	}
	return ""
}
