package sim

import (
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

// epochStart is the wall clock's reading when a world begins.
var epochStart = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// observe is what this member can know now.
func (a *agent) observe() ha.Observation {
	a.keeper.expire()
	o := ha.Observation{
		Now: a.now(), Wall: a.m.wall(),
		Self:     ha.Self{Name: a.m.name, Tags: a.m.tags, CanBootstrap: a.m.tags.MayLead()},
		Settings: a.m.w.cfg.settings,
		Server:   a.observeServer(),
		Task:     ha.Task{Kind: a.task.kind, Since: a.task.since, Last: a.task.last},
		Guard:    ha.Guard{Required: true, Running: a.guardOK, Armed: a.keeper.armed},
		Peers:    slices.Clone(a.peers),
		Failsafe: a.failsafeState(),
		Requests: a.requests,
		Stopping: a.stopping,
	}
	o.Requests.Scheduled = a.m.scheduled
	k := &a.keeper
	o.Lease = ha.Lease{Session: k.session, Held: k.held, Deadlines: k.term.Until(), Adrift: k.term.Adrift, ByWord: k.term.ByWord(), Granted: k.granted, LastError: k.lastError}
	o.Store = ha.Store{Known: a.snap != nil, Reachable: a.snap != nil && a.reachable, Seen: a.seen, LastError: a.storeErr, NewSince: a.newSince, NewHandover: a.newHandover, FirstSeen: a.firstSeen, LongestTTL: a.longestTTL}
	if a.snap != nil {
		o.Store.View = a.snap.view
		if a.snap.view.Config.Present {
			o.Settings = a.snap.settings
		}
	}
	a.m.w.opt.Mutant.blind(&o)
	return o
}

// observeServer is one look at the local server.
func (a *agent) observeServer() ha.Server {
	s := a.m.server
	v := ha.Server{Dir: s.dir, Process: s.proc, Role: s.role, SystemID: s.sysID,
		RoleSince: a.m.host.at(s.since), LastError: a.told}
	if s.branch == nil {
		return v
	}
	if s.proc == ha.ProcessStopping && !s.shutDown && a.task.kind == ha.Stop {
		// A stop closes the connections first, and leaves the signal file.
		v.Role = ha.ServerStandby
		v.Rewinding, v.RewindUnproven, v.CanRewind, v.CheckpointTimeline = s.rewinding, s.unproven, a.m.w.cfg.canRewind, s.ckptTL
		return v
	}
	if s.still() && s.proc != ha.ProcessStopped {
		v.Proven, v.Unproven = s.proven, "no answer"
		v.Position, v.LastError = wal.Position{}, "the server does not answer"
		v.Rewinding, v.RewindUnproven, v.CanRewind, v.CheckpointTimeline = s.rewinding, s.unproven, a.m.w.cfg.canRewind, s.ckptTL
		return v
	}
	if s.writable() { // its position moved, or a record was written for this
		s.proven = a.now()
		v.Proven = s.proven
	}
	seen := s.seen()
	b := s.branch.at(seen.LSN)
	if s.proc == ha.ProcessRunning {
		v.Version, v.PostmasterStart = 150018, epochStart.Add(s.started)
	}
	v.Position, v.Replayed, v.History, v.Identity = seen, s.replayed, b.history, s.identityOf(b)
	v.ReplayDone = s.role == ha.ServerPrimary || s.replayed >= s.end && s.told >= s.end
	v.Receiver = s.role == ha.ServerStandby && s.proc == ha.ProcessRunning && s.rx != nil
	v.Streaming = s.rx != nil
	if s.role == ha.ServerStandby {
		v.Upstream = s.upstream.Addr()
	}
	v.Clean, v.ShutDown = s.shutDown || s.proc == ha.ProcessStopped && s.clean, s.shutDown
	v.Rewinding, v.RewindUnproven, v.CanRewind = s.rewinding, s.unproven, a.m.w.cfg.canRewind
	v.CheckpointTimeline = s.ckptTL
	if s.dir == ha.DirUnfinished {
		v.Claim = s.claim
	}
	v.SyncNames = s.syncNames
	v.Slots = s.slots
	for _, c := range s.tx {
		v.Replication = append(v.Replication, walsender(s, c))
	}
	if len(v.Replication) > 1 {
		slices.SortFunc(v.Replication, func(a, b ha.Walsender) int {
			if a.Name < b.Name {
				return -1
			}
			return 1
		})
	}
	return v
}

func walsender(s *server, c *conn) ha.Walsender {
	state := "async"
	if slices.Contains(s.syncNames, c.to.m.name) {
		state = "sync"
	}
	return ha.Walsender{Name: c.to.m.name, State: "streaming", SyncState: state, Write: c.flush, Flush: c.flush, Replay: c.flush}
}

// publishable is the member's key as it should be now.
func (a *agent) publishable() cluster.Member {
	s := a.m.server
	p := cluster.Member{Name: a.m.name, ConnURL: a.m.url, APIURL: a.m.api, Tags: a.m.tags,
		Version: "4.1.4", Matriarch: "sim", Guarded: true, Role: cluster.RoleReplica, State: a.state()}
	if s.branch == nil {
		p.Role = cluster.RoleUninitialized
		return p
	}
	p.XLog, p.Timeline = s.seen().LSN, s.seen().Timeline
	switch {
	case s.role == ha.ServerPrimary && s.proc == ha.ProcessRunning:
		p.Role = cluster.RolePrimary
		p.CheckpointPending = s.ckptTL != s.branch.timeline
	case s.rx != nil:
		p.Replayed = s.replayed
		p.ReplicationState = "streaming"
	}
	return p
}

func (a *agent) state() cluster.State {
	switch a.task.kind {
	case ha.Clone:
		return cluster.StateCreatingReplica
	case ha.Bootstrap:
		return cluster.StateInitializing
	}
	switch a.m.server.proc {
	case ha.ProcessRunning:
		return cluster.StateRunning
	case ha.ProcessStarting:
		return cluster.StateStarting
	case ha.ProcessStopping:
		return cluster.StateStopping
	default:
		return cluster.StateStopped
	}
}

// publish writes the member key: at once when something but progress changed,
// otherwise once in loop_wait.
func (a *agent) publish() {
	id := a.keeper.session
	if id == "" || a.publishing || !a.reachable {
		return
	}
	p := a.publishable()
	same := a.published
	same.XLog = p.XLog
	due := a.m.w.now-a.publishedAt >= a.m.w.cfg.settings.LoopWait
	if equalMember(&p, &same) && a.publishedUnder(id) && (!due || p.XLog == a.published.XLog) {
		return
	}
	a.publishing = true
	a.call(func(s *store) error { return s.putMember(p, id) }, func(err error, _ int64) {
		a.publishing = false
		if err == nil {
			a.published, a.publishedAt = p, a.m.w.now
		}
	})
}

// publishedUnder reports whether the key is there under the session.
func (a *agent) publishedUnder(id string) bool {
	for i := range a.snap.view.Members {
		if a.snap.view.Members[i].Name == a.m.name {
			return a.snap.memberAt[i] == id
		}
	}
	return false
}

func equalMember(a, b *cluster.Member) bool { return a.XLog == b.XLog && equalBut(a, b) }

// equalBut compares all but the position.
func equalBut(a, b *cluster.Member) bool {
	return a.State == b.State && a.Role == b.Role && a.Timeline == b.Timeline &&
		a.CheckpointPending == b.CheckpointPending && a.ReplicationState == b.ReplicationState
}
