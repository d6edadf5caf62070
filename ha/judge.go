package ha

import (
	"slices"

	"github.com/matriarch-ha/matriarch/ha/election"
)

// Obstacles lists all that kept the member of an observation from leading, what
// weighs most first: the first is what Decide would have given as WhyNot. It is
// for telling people afterwards; no rule calls it.
func Obstacles(o Observation, before Memory) []string {
	t := newTurn(&o, &before)
	t.remember()
	return t.reasons()
}

// Verdict is what a member made of another one in a race.
type Verdict struct {
	Name string `json:"name"`
	// Rival: its word counted in the race. One that could never win, or that led
	// until its own guard or clean stop ended that, was not asked.
	Rival bool `json:"rival"`
	// Answered: its word on itself, given in this race, is in the peer's record.
	Answered bool `json:"answered"`
	// Why are the reasons that speak against it, what weighs most first; none
	// when it was as good a candidate or better.
	Why []string `json:"why,omitempty"`
}

// Verdicts say what the member of an observation made of each other member that
// it knew, by name. It is for telling people afterwards; no rule calls it.
func Verdicts(o Observation, before Memory) []Verdict {
	t := newTurn(&o, &before)
	t.remember()
	rivals := names(t.rivals())
	var out []Verdict
	for _, m := range t.others() {
		v := Verdict{Name: m.Name, Rival: slices.Contains(rivals, m.Name)}
		if !m.Tags.MayLead() {
			v.Why = append(v.Why, "its tags say nofailover")
		}
		if sync := t.view.Sync; sync.Active() && !sync.Holds(m.Name) {
			v.Why = append(v.Why, "it is not a synchronous standby and may lack acknowledged commits")
		}
		p, answered, _ := t.word(m.Name, t.m.RaceAsked)
		v.Answered = answered && !t.m.RaceAsked.IsZero()
		switch {
		case v.Answered:
			v.Why = append(v.Why, t.against(p)...)
		case v.Rival && p.Error != "":
			v.Why = append(v.Why, "it did not answer: "+p.Error)
		case v.Rival:
			v.Why = append(v.Why, "it had not answered")
		}
		out = append(out, v)
	}
	return out
}

// against lists what speaks against a peer by its own word.
func (t *turn) against(p Peer) []string {
	var out []string
	if !p.InRecovery {
		out = append(out, "it said that its server is a primary, whose end the others cannot know")
	}
	if p.EligibleKnown && !p.Eligible {
		out = append(out, "by its own word it could not lead")
	}
	if p.WatchdogFailed {
		out = append(out, "its watchdog failed")
	}
	rival := election.Standing{Name: p.Name, Tags: p.Tags, Position: p.Position}
	switch own := t.standing(); {
	case !p.Position.Known():
		out = append(out, "its WAL position is not known")
	case election.Ahead(rival, own):
	case rival.Position.Timeline != own.Position.Timeline:
		out = append(out, sentence("it is on timeline %d, and %s on %d", rival.Position.Timeline, own.Name, own.Position.Timeline))
	case rival.Position.LSN != own.Position.LSN:
		out = append(out, sentence("it has %d bytes less than %s", own.Position.LSN.Sub(rival.Position.LSN), own.Name))
	case rival.Tags.FailoverPriorityOr1() != own.Tags.FailoverPriorityOr1():
		out = append(out, sentence("it has as much, and its failover priority is %d, that of %s %d",
			rival.Tags.FailoverPriorityOr1(), own.Name, own.Tags.FailoverPriorityOr1()))
	default:
		out = append(out, sentence("it has as much; between equals the name decides, and %s comes first", own.Name))
	}
	return out
}
