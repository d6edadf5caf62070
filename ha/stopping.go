package ha

import (
	"slices"

	"github.com/matriarch-ha/matriarch/cluster"
)

// beginHanding orders the clean stop that a handover begins with. The standbys
// named in the action are those that should get the last record before the
// server is gone.
func (t *turn) beginHanding(h Handing, why string) bool {
	if t.o.Task.Kind == Checkpoint {
		t.wake(soon)
		return t.answer(SituationHandingOver, why+", once the checkpoint in progress is cancelled", Action{Kind: CancelTask})
	}
	h.Stopped = t.o.Now
	t.m.Handing = h
	return t.answer(SituationHandingOver, why, Action{Kind: Stop, Names: names(t.heirs(h))})
}

// successors are the members that may take over from a leader of which it is not
// known where its log ends: in synchronous mode, only synchronous standbys.
func (t *turn) successors(h Handing) []cluster.Member {
	return slices.DeleteFunc(t.candidates(h), func(m cluster.Member) bool { return !h.Asynchronous && !t.holdsAll(m.Name) })
}

// heirs are the members that may take over after a clean stop. Whoever has its
// last record has all that was ever acknowledged, synchronous standby or not; but
// a switchover was asked for while all was well, and leaves the synchronous set
// only where a person said so.
func (t *turn) heirs(h Handing) []cluster.Member {
	if h.Why == HandingSwitchover {
		return t.successors(h)
	}
	return t.candidates(h)
}

// candidates are the members that this handover may be to by their tags and its
// own words.
func (t *turn) candidates(h Handing) []cluster.Member {
	return slices.DeleteFunc(slices.Clone(t.view.Members), func(m cluster.Member) bool {
		return m.Name == t.o.Self.Name || m.APIURL == "" || !m.Tags.MayLead() || h.Candidate != "" && m.Name != h.Candidate
	})
}

// holdsAll: the sync key vouches for the member.
func (t *turn) holdsAll(name string) bool {
	return !t.view.Sync.Active() || t.view.Sync.HasStandby(name)
}

// handOver carries a handover through once the stop was ordered: wait until the
// server is down, until a successor has the shutdown checkpoint, then release
// with that position recorded, so that nobody who lacks it may race.
func (t *turn) handOver() bool {
	h := &t.m.Handing
	if h.Stopped.IsZero() {
		return false
	}
	s := t.o.Server
	switch {
	case !t.o.Lease.Held || !t.live():
		// The lease went meanwhile; the ordinary rules know what to do.
		*h = Handing{}
		return false
	case !t.down():
		return t.stopFailed()
	case !s.Clean || !s.Position.Known():
		return t.handoverFailed("the server did not shut down cleanly" + lastError(s))
	}
	if h.Down.IsZero() {
		h.Down = t.o.Now
	}
	var have, ask []string
	open, better := false, false // somebody may yet answer; one that the sync key vouches for
	vouched := false
	for _, m := range t.heirs(*h) {
		p, ok, _ := t.word(m.Name, h.Down)
		if ok && p.Position.Timeline == s.Position.Timeline && p.Position.LSN >= s.Position.LSN {
			have, vouched = append(have, m.Name), vouched || t.holdsAll(m.Name)
			continue
		}
		open, better = true, better || t.holdsAll(m.Name)
		if t.mayAskAgain(m.Name) {
			ask = append(ask, m.Name)
		}
	}
	// For a moment a synchronous standby is waited for: also members that do not read
	// the record let it lead.
	if len(have) > 0 && (vouched || !better || t.since(h.Down) >= peerWait) || t.endRecorded() {
		return t.releaseWith(have)
	}
	if !open || t.since(h.Down) >= handoverWait || !t.o.Store.Reachable {
		switch {
		case h.Why != HandingSwitchover:
			return t.releaseWith(nil)
		case t.stopped(): // before that it cannot be started again
			return t.handoverFailed(sentence("nobody is known to have the last record at %s after %s", s.Position.LSN, t.since(h.Down)))
		case t.since(h.Down) >= handoverWait+successorWait:
			// An archiver that hangs must not keep the cluster without a primary.
			return t.releaseWith(nil)
		}
	}
	t.wake(askEvery)
	why := sentence("the server stopped cleanly at %s; waiting until a successor has that", s.Position.LSN)
	if len(ask) == 0 {
		return t.answer(SituationHandingOver, why)
	}
	return t.answer(SituationHandingOver, why, Action{Kind: AskPeers, Names: ask})
}

// releaseWith gives the lease up and records what the next leader must have.
func (t *turn) releaseWith(have []string) bool {
	s := t.o.Server
	why := sentence("the server stopped cleanly at %s; all of it is on %v: giving the lease up", s.Position.LSN, have)
	if len(have) == 0 {
		why = sentence("the server stopped cleanly at %s and nobody else is known to have all of it; giving the lease up, and %s",
			s.Position.LSN, t.boundFor())
	}
	// The handover goes on until the lease is seen gone: a release that failed is
	// done again, with the same record.
	t.wake(soon)
	return t.answer(SituationHandingOver, why, t.release(have))
}

// stopFailed: the stop ended and the server still runs.
func (t *turn) stopFailed() bool {
	why := "the server did not stop: " + t.o.Task.Last.Error + lastError(t.o.Server)
	if t.m.Handing.Why != HandingSwitchover {
		t.wake(soon)
		return t.answer(SituationHandingOver, why+"; stopping it again", Action{Kind: Stop})
	}
	return t.handoverFailed(why)
}

// handoverFailed ends a switchover that cannot be finished: the primary is
// started again, also in a paused cluster, since it was stopped by us, and the
// request is cleared, which reports it as refused. A stopping agent has nothing
// to go on with and gives the lease up as after a crash.
func (t *turn) handoverFailed(why string) bool {
	h := t.m.Handing
	t.m.Handing = Handing{}
	t.wake(soon)
	if h.Why != HandingSwitchover {
		t.m.Released = t.o.Now
		return t.answer(SituationHandingOver, why+"; giving the lease up", Action{Kind: ReleaseLeader, Session: t.o.Lease.Session})
	}
	var acts []Action
	if t.mayStartInPlace() {
		acts = append(acts, Action{Kind: StartPrimary, Session: t.o.Lease.Session})
	}
	return t.answer(SituationHandingOver, "the switchover failed: "+why,
		append(acts, Action{Kind: ClearFailover, Version: h.Request, Why: why})...)
}

// releaseOnStop: the agent was told to end.
func (t *turn) releaseOnStop() bool {
	if !t.o.Stopping {
		return false
	}
	s := t.o.Server
	done := Action{Kind: Exit, Code: 0, Why: "stopped on request"}
	switch {
	case t.o.Settings.Paused:
		return t.answer(SituationStopping, "paused: the agent ends and leaves the server as it is", done)
	case t.ownsClaim() && t.stopped():
		// Nobody else may take a claim away that it has not seen: left behind, it
		// would keep a whole cluster from ever being made.
		acts := []Action{{Kind: ReleaseInitialize, Session: t.o.Lease.Session, Version: t.view.Initialize.Version}}
		if t.o.Lease.Held {
			acts = append(acts, Action{Kind: ReleaseLeader, Session: t.o.Lease.Session})
		}
		return t.answer(SituationStopping, "told to stop before the new database was accepted: giving the bootstrap claim up and ending", append(acts, done)...)
	case t.live() && t.stopped() && s.Clean && s.Role == ServerPrimary && t.m.Led == t.o.Lease.Session:
		// It was being restarted: what it wrote last is handed over as after any clean stop.
		t.m.Handing = Handing{Why: HandingStop, Stopped: t.o.Now}
		return t.handOver()
	case t.stopped() || s.Dir == DirEmpty || s.Dir == DirInaccessible:
		if t.o.Lease.Held {
			return t.answer(SituationStopping, "the server is down; giving the lease up and ending",
				Action{Kind: ReleaseLeader, Session: t.o.Lease.Session}, done)
		}
		return t.answer(SituationStopping, "the server is down; ending", done)
	case t.live() && t.running(ServerPrimary):
		return t.beginHanding(Handing{Why: HandingStop}, "the agent is told to stop: shutting the primary down cleanly to hand the lease over")
	default:
		return t.answer(SituationStopping, "the agent is told to stop: shutting the server down", Action{Kind: Stop})
	}
}
