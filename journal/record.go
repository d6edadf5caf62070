package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
)

// Record is one line of the journal: a turn (Turn is set) or an event (Event is
// set). Records are values: who got one must not change what it points to.
type Record struct {
	// Seq counts the member's records from 1, across restarts of the agent.
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"` // wall clock
	Member string    `json:"member"`

	// Situation, Rule and Why are those of the decision; for an event, Rule is
	// empty and Why is a sentence about it.
	Situation ha.Situation `json:"situation,omitempty"`
	Rule      ha.RuleID    `json:"rule,omitempty"`
	Why       string       `json:"why,omitempty"`

	Turn  *Turn  `json:"turn,omitempty"`
	Event *Event `json:"event,omitempty"`
}

// Turn is the input and output of one decision; together with the record's
// Situation, Rule and Why it can be replayed.
type Turn struct {
	Observation ha.Observation `json:"observation"`
	Before      ha.Memory      `json:"memory_before"`
	Actions     []ha.Action    `json:"actions,omitempty"`
	After       ha.Memory      `json:"memory_after"`
	WakeAfter   time.Duration  `json:"wake_after_ns"`
}

// OfTurn makes the record of one turn. Seq is given by Append.
func OfTurn(at time.Time, o ha.Observation, before ha.Memory, d ha.Decision) Record {
	// The configuration's text is a person's and no rule reads it: what rules
	// read of it is in Settings.
	o.Store.View.Config.JSON = ""
	return Record{
		Time: at, Member: o.Self.Name,
		Situation: d.Situation, Rule: d.Rule, Why: d.Why,
		Turn: &Turn{Observation: o, Before: before, Actions: d.Actions, After: d.Memory, WakeAfter: d.WakeAfter},
	}
}

// OfAction makes the record of an action that ended; err is nil on success.
func OfAction(at time.Time, member string, a ha.Action, took time.Duration, err error) Record {
	e := &Event{Name: string(a.Kind), Took: took}
	why := fmt.Sprintf("%s done in %s", a.Kind, took.Round(time.Millisecond))
	if err != nil {
		e.Error = err.Error()
		why = fmt.Sprintf("%s failed after %s: %v", a.Kind, took.Round(time.Millisecond), err)
	}
	return Record{Time: at, Member: member, Why: why, Event: e}
}

// OfEvent makes the record of anything else worth telling, such as a request.
func OfEvent(at time.Time, member, name, why string) Record {
	return Record{Time: at, Member: member, Why: why, Event: &Event{Name: name}}
}

// At returns the record of an event with the boot clock's time of it.
func (r Record) At(now boot.Instant) Record {
	if r.Event != nil {
		e := *r.Event
		e.Now = now
		r.Event = &e
	}
	return r
}

// Decision returns the decision that the record holds, and whether it holds one.
func (r Record) Decision() (ha.Decision, bool) {
	if r.Turn == nil {
		return ha.Decision{}, false
	}
	t := r.Turn
	return ha.Decision{
		Situation: r.Situation, Rule: r.Rule, Why: r.Why,
		Actions: t.Actions, Memory: t.After, WakeAfter: t.WakeAfter,
	}, true
}

// Changed reports whether next is worth a record after prev: another situation
// or rule, or other things to do. Numbers that move all the time (the sentence,
// versions, log positions) and the routine duties do not count, so that a
// steady state is silent.
func Changed(prev, next ha.Decision) bool {
	if prev.Situation != next.Situation || prev.Rule != next.Rule {
		return true
	}
	return !bytes.Equal(essence(prev.Actions), essence(next.Actions))
}

// essence encodes what matters of the actions when two turns are compared.
func essence(actions []ha.Action) []byte {
	var kept []ha.Action
	for _, a := range actions {
		// Carried out whenever the position moved: a leader would fill its
		// journal with them and drown what counts.
		if a.Kind == ha.PublishStatus || a.Kind == ha.KeepSlots {
			continue
		}
		a.Why, a.Version = "", ""
		a.Slots, a.Lines = nil, nil
		a.Sync.Version, a.Handover.Version = "", ""
		a.Claim.Identity = cluster.TimelineIdentity{}
		kept = append(kept, a)
	}
	b, err := json.Marshal(kept)
	if err != nil { // plain values: cannot happen
		panic("journal: encode actions: " + err.Error())
	}
	return b
}

// Replay decides again on the recorded input and reports a difference to the
// recorded decision. Records of events replay without error.
func Replay(r Record) error {
	want, ok := r.Decision()
	if !ok {
		return nil
	}
	got := ha.Decide(r.Turn.Observation, r.Turn.Before)
	w, err := json.Marshal(want)
	if err != nil {
		return fmt.Errorf("record %d: encode the recorded decision: %w", r.Seq, err)
	}
	g, err := json.Marshal(got)
	if err != nil {
		return fmt.Errorf("record %d: encode the new decision: %w", r.Seq, err)
	}
	if !slices.Equal(w, g) {
		return fmt.Errorf("record %d of %s (%s): recorded rule %q, replay gives %q\n recorded: %s\n replayed: %s",
			r.Seq, r.Member, r.Time.Format(time.RFC3339Nano), want.Rule, got.Rule, w, g)
	}
	return nil
}
