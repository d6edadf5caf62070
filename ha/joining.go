package ha

import "github.com/matriarch-ha/matriarch/cluster"

// unfinishedData: the directory holds a database that our own bootstrap made.
// It becomes the cluster's when the lease is ours and initialize says so; if
// another member was faster, or the claim is no longer ours, it is set aside
// (never deleted) and this member starts over as one without data.
func (t *turn) unfinishedData() bool {
	s, init := t.o.Server, t.view.Initialize
	if s.Dir != DirUnfinished {
		return false
	}
	t.wake(soon)
	switch {
	case init.SystemID != "" && init.SystemID == s.SystemID:
		return t.answer(SituationJoining, "the cluster was initialised with this database", Action{Kind: AcceptBootstrap})
	case !t.ownsClaim() && init.Present && init.SystemID == "" && init.Owner == "" && s.Claim != "" && s.Claim == init.Version:
		// Nobody else may have seen its owner, and then nobody else may release it.
		return t.answer(SituationJoining, "this member died while it made the database and its claim stands: releasing it",
			Action{Kind: ReleaseInitialize, Version: init.Version})
	case t.claimedBefore():
		// What this member wrote last may be accepted although its answer was lost, and
		// a view can be older than that. The claim ends with its session; then it is
		// released by its version, which fails where the database was registered.
		return t.answer(SituationJoining, "this member made the database under a session that has not ended in the store: waiting until it has")
	case !t.ownsClaim():
		return t.answer(SituationJoining, "the bootstrap in the data directory was never accepted and its claim is gone: setting it aside",
			Action{Kind: DiscardBootstrap})
	case !t.stopped():
		return t.answer(SituationJoining, "the new database still runs privately: stopping it", Action{Kind: Stop})
	case t.leaderIsOther():
		return t.answer(SituationJoining, sentence("%s leads although this member owns the bootstrap claim: setting the new database aside", t.view.Leader.Name),
			Action{Kind: DiscardBootstrap})
	case s.SystemID == "":
		return t.answer(SituationJoining, "the new database is incomplete: setting it aside", Action{Kind: DiscardBootstrap})
	}
	var acts []Action
	if !t.live() {
		acts = append(acts, Action{Kind: TakeLeader, Session: t.o.Lease.Session})
	}
	// The lease first: whoever has it alone may say which database the cluster is.
	acts = append(acts,
		Action{Kind: WriteConfig, Session: t.o.Lease.Session},
		Action{Kind: WriteInitialize, Session: t.o.Lease.Session, Version: init.Version, SystemID: s.SystemID},
		Action{Kind: AcceptBootstrap})
	t.m.Led = t.o.Lease.Session
	return t.answer(SituationLeading, "the new database is made: taking the lease and registering it", acts...)
}

// ownsClaim: the bootstrap claim is this session's. Its owner's name proves
// nothing: of two agents of one name that claim in the same instant one is refused.
func (t *turn) ownsClaim() bool {
	init := t.view.Initialize
	return init.Present && init.SystemID == "" && init.Owner == t.o.Self.Name && init.OwnerSession == t.o.Lease.Session &&
		t.m.Claimed != "" && t.m.Claimed == t.o.Lease.Session
}

// claimedBefore: the claim under which the database here was made still stands, under
// an earlier session of this member's.
func (t *turn) claimedBefore() bool {
	init := t.view.Initialize
	return init.Present && init.SystemID == "" && t.o.Server.Claim != "" && t.o.Server.Claim == init.Version &&
		init.Owner == t.o.Self.Name && init.OwnerSession != t.o.Lease.Session
}

// bootstrap: exactly one member makes the database, however many start
// together, since the claim is created only if absent.
func (t *turn) bootstrap() bool {
	init := t.view.Initialize
	if t.o.Server.Dir != DirEmpty || !t.stopped() || init.SystemID != "" || t.view.Leader.Held() {
		return false
	}
	last := t.o.Task.Last
	failed := last.Kind == Bootstrap && last.Error != "" && t.since(last.At) < backoff
	switch {
	case t.ownsClaim() && failed:
		// Another member may do better; this one tries again after a while.
		t.m.Claimed = ""
		t.wake(soon)
		return t.answer(SituationNoCluster, "making the database failed: giving the claim up: "+last.Error,
			Action{Kind: ReleaseInitialize, Session: t.o.Lease.Session, Version: init.Version})
	case failed && !init.Present:
		t.wake(backoff - t.since(last.At))
		return t.answer(SituationNoCluster, "making the database failed and will be tried again: "+last.Error)
	case t.ownsClaim():
		t.wake(soon)
		return t.answer(SituationNoCluster, "making the database of a new cluster", Action{Kind: Bootstrap, Version: init.Version})
	case init.Present && init.Owner == "" && t.m.OwnerSeen && !t.anyTrace():
		// Seen and gone: its session ended, and nothing of it was registered.
		t.wake(soon)
		return t.answer(SituationNoCluster, "the member that was making the database is gone: releasing its claim",
			Action{Kind: ReleaseInitialize, Version: init.Version})
	case !init.Present && t.storeIsNew():
		// The members of the cluster that was known before have data; they are
		// about to show themselves here.
		t.wake(roundLength)
		return t.answer(SituationNoCluster, t.howNew()+": no new database is made before a ttl has passed")
	case init.Present || !t.o.Self.CanBootstrap || t.o.Lease.Session == "" || t.anyTrace():
		return false
	}
	t.m.Claimed = t.o.Lease.Session
	t.wake(soon)
	return t.answer(SituationNoCluster, "no cluster was ever initialised here: claiming the bootstrap",
		Action{Kind: ClaimInitialize, Session: t.o.Lease.Session})
}

// anyTrace: something in the store shows that a database existed already.
func (t *turn) anyTrace() bool {
	for _, m := range t.view.Members {
		if m.Name != t.o.Self.Name && (m.Running() || m.Timeline > 0) {
			return true
		}
	}
	return len(t.view.History.Lines) > 0 || t.view.Status.Optime != 0
}

func (t *turn) waitForBootstrap() bool {
	init := t.view.Initialize
	if t.o.Server.Dir != DirEmpty || !init.Present || init.SystemID != "" || t.view.Leader.Held() {
		return false
	}
	who := init.Owner
	if who == "" {
		who = "a member without a visible claim (if none is at work, remove the key initialize by a person's decision)"
	}
	return t.answer(SituationNoCluster, "waiting while the database is made by "+who)
}

// clone copies the leader's data, or those of a running replica that offers
// itself.
func (t *turn) clone() bool {
	if t.o.Server.Dir != DirEmpty || !t.stopped() || !t.leaderIsOther() {
		return false
	}
	if t.view.Leader.Name == t.o.Self.Name {
		t.wake(roundLength)
		return t.answer(SituationJoining, t.namesakeLeads())
	}
	src := t.cloneSource()
	if src.IsZero() {
		t.wake(roundLength)
		return t.answer(SituationJoining, sentence("waiting until the leader %s runs as primary to clone from it", t.view.Leader.Name))
	}
	if t.o.Task.Last.Kind == Clone && t.o.Task.Last.Error != "" && t.since(t.o.Task.Last.At) < roundLength {
		t.wake(roundLength)
		return t.answer(SituationJoining, "the last copy failed and will be tried again: "+t.o.Task.Last.Error)
	}
	return t.answer(SituationJoining, "copying the data of "+src.Name, Action{Kind: Clone, Upstream: src})
}

// cloneSource is whose data to copy: a member's that is marked for it, or the
// leader's. Whom the sync key names has confirmed commits and may lead by that, so it
// copies nobody's data but the leader's: another may not have them yet, and no leader
// may be left that has.
func (t *turn) cloneSource() Upstream {
	lead, ok := t.view.LeaderMember()
	if !ok || !lead.Running() || lead.Role != cluster.RolePrimary {
		return Upstream{}
	}
	if t.view.Sync.Relies(t.o.Self.Name) {
		return t.leaderUpstream()
	}
	for _, m := range t.view.Members {
		if m.Tags.ReplicateFrom == t.o.Self.Name {
			continue // it can have nothing newer than what this member gave it
		}
		if m.Tags.CloneFrom && m.Running() && m.Name != t.o.Self.Name && m.Name != lead.Name && m.ReplicationState == "streaming" && t.coveredBy(m) {
			return upstreamOf(m)
		}
	}
	return t.leaderUpstream()
}

// coveredBy: a copy of the member's data has all that is to be replaced by it. Where
// commits may wait for this member, the view of the sync key does not suffice: it may
// have been listed a moment ago, while its server still ran.
func (t *turn) coveredBy(m cluster.Member) bool {
	if t.o.Server.Dir == DirEmpty || t.o.Settings.SyncMode == cluster.SyncOff && !t.view.Sync.Active() {
		return true
	}
	own := t.o.Server.Position
	return own.Known() && m.Timeline == own.Timeline && m.Replayed >= own.LSN
}

func (t *turn) noData() bool {
	s := t.o.Server
	switch {
	case s.Dir == DirInaccessible:
		t.wake(roundLength)
		return t.answer(SituationJoining, "the data directory cannot be used"+lastError(s))
	case s.Dir == DirPresent:
		return false
	case !t.stopped():
		t.wake(soon)
		return t.answer(SituationJoining, "the server's data directory is gone while it runs: killing it", Action{Kind: Fence})
	case t.o.Lease.Held:
		t.wake(soon)
		return t.answer(SituationJoining, "holds the lease without data: giving it up", Action{Kind: ReleaseLeader, Session: t.o.Lease.Session})
	case t.view.Initialize.SystemID == "" && !t.view.Leader.Held() && t.anyTrace():
		t.wake(roundLength)
		return t.answer(SituationJoining, "waiting: other members have data although the store knows no cluster; one of them must register first")
	case t.view.Initialize.SystemID == "" && !t.o.Self.CanBootstrap:
		return t.answer(SituationNoCluster, "waiting for another member to make the database: this one has no bootstrap section or may not lead")
	default:
		t.wake(roundLength)
		return t.answer(SituationJoining, "no data here and nobody leads: waiting for a leader to clone from")
	}
}

// adoptData: an existing server joins a store that knows no cluster. Only what
// was a primary may say which database the cluster is; the write is refused if
// another did so first.
func (t *turn) adoptData() bool {
	s, init := t.o.Server, t.view.Initialize
	if s.Dir != DirPresent || init.SystemID != "" || t.view.Leader.Held() || s.SystemID == "" {
		return false
	}
	if s.Role != ServerPrimary && t.view.Config.Present && t.view.Status.Optime != 0 {
		// The key alone is lost: the rest shows that a cluster lives here. Its next
		// leader writes the key again.
		return false
	}
	if s.Role != ServerPrimary {
		t.wake(roundLength)
		return t.answer(SituationNoCluster, "the store knows no cluster and the server here was a standby: start the former primary's member first")
	}
	if init.Present && init.Owner != "" {
		return t.answer(SituationNoCluster, sentence("%s is making a new database in this store, but there are data here: nothing is changed; "+
			"if the data here are wanted, stop that member", init.Owner))
	}
	t.wake(soon)
	return t.answer(SituationNoCluster, sentence("the store knows no cluster: registering the database system %s found here", s.SystemID),
		Action{Kind: WriteInitialize, Session: t.o.Lease.Session, Version: init.Version, SystemID: s.SystemID},
		Action{Kind: WriteConfig, Session: t.o.Lease.Session})
}
