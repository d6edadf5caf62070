package ha

import "slices"

// stalledPrimary: for as long as primary_stall_timeout the primary has not proved
// that it can commit: its disk hangs. Its agent is well, so the lease would be kept
// for a server that serves nobody. It is given up if another member can lead, and
// kept otherwise: a hung disk may come back. The server is killed, not stopped: a
// shutdown has to write. A commit that waits for a lost standby is no stall, since
// the proof waits for the local disk alone.
func (t *turn) stalledPrimary() bool {
	s, limit := t.o.Server, t.o.Settings.PrimaryStallTimeout
	if limit <= 0 || !t.live() || !t.running(ServerPrimary) || s.Proven.IsZero() {
		t.m.StallAsked = 0
		return false
	}
	since := max(s.Proven, s.RoleSince)
	stalled := t.since(since)
	if stalled < limit {
		t.m.StallAsked = 0
		t.wakeAt(since.Add(limit))
		return false
	}
	// No number that grows: what stands is said once.
	what := sentence("the primary could not prove for more than %s that it can commit", limit)
	if s.Unproven != "" {
		what += " (" + s.Unproven + ")"
	}
	if left := t.promisedAway(); left > 0 {
		t.stall = "; " + what + ", and the members promised to leave the lease alone while the store was silent"
		t.wake(left)
		return false
	}
	cands := t.successors(Handing{})
	if len(cands) == 0 {
		return t.leadsOn(what)
	}
	if t.since(t.m.StallAsked) >= backoff || t.m.StallAsked.IsZero() {
		t.m.StallAsked = t.o.Now
		t.wake(peerWait)
		return t.answer(SituationLeading, what+sentence(": asking %v about taking over", names(cands)),
			Action{Kind: AskPeers, Names: names(cands)})
	}
	good, open := t.goodCandidates(cands, t.m.StallAsked, t.nearEnough)
	good = slices.DeleteFunc(good, t.cannotLead)
	switch {
	case len(good) > 0:
		t.m.Released = t.o.Now
		return t.answer(SituationLeading, what+sentence("; after %s, %v can take over: killing it and giving the lease up", stalled, good),
			Action{Kind: Fence}, Action{Kind: ReleaseLeader, Session: t.o.Lease.Session})
	case open && t.since(t.m.StallAsked) < peerWait:
		t.wake(soon)
		return t.answer(SituationLeading, what+"; waiting for the others' word on who can take over")
	default:
		return t.leadsOn(what)
	}
}

// leadsOn: the rule for leading answers, and says what is wrong.
func (t *turn) leadsOn(what string) bool {
	t.stall = "; " + what + ", and nobody else can take over"
	t.wake(roundLength)
	return false
}

// cannotLead: by its own last word the member could not lead now.
func (t *turn) cannotLead(name string) bool {
	return slices.ContainsFunc(t.o.Peers, func(p Peer) bool { return p.Name == name && p.EligibleKnown && !p.Eligible })
}
