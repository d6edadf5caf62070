package ha_test

import (
	"time"

	"pgregory.net/rapid"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/wal"
)

// epoch is the observations' wall time.
var epoch = time.Unix(1_900_000_000, 0).UTC()

// The generators draw from small pools, so that names, sessions, versions and
// positions often agree, as they must for anything deep to happen.

func some[T any](t *rapid.T, pool ...T) T { return rapid.SampledFrom(pool).Draw(t, "") }

// mostly is v in most draws, and anything of the pool otherwise.
func mostly[T any](t *rapid.T, v T, pool ...T) T {
	if rapid.IntRange(0, 3).Draw(t, "") > 0 {
		return v
	}
	return some(t, pool...)
}

func yesNo(t *rapid.T) bool  { return rapid.Bool().Draw(t, "") }
func seldom(t *rapid.T) bool { return rapid.IntRange(0, 7).Draw(t, "") == 0 }

func name(t *rapid.T) string             { return some(t, "a", "b", "c", "", "z") }
func session(t *rapid.T) string          { return mostly(t, "sa", "", "sb", "sx") }
func version(t *rapid.T) cluster.Version { return some(t, cluster.Version(""), "1", "2") }
func lsnOf(t *rapid.T) wal.LSN {
	return mostly(t, endLSN, 0, 1, forkLSN, forkLSN+1, endLSN-1, endLSN+1, 1<<63)
}
func timeline(t *rapid.T) wal.Timeline { return mostly[wal.Timeline](t, 2, 0, 1, 3, 4) }
func instant(t *rapid.T) boot.Instant {
	return boot.Instant(time.Duration(rapid.IntRange(0, 70_000).Draw(t, "")) * time.Millisecond)
}

func identityOf(t *rapid.T) cluster.TimelineIdentity {
	return mostly(t, identity, cluster.TimelineIdentity{}, cluster.TimelineIdentity{Switch: forkLSN, CRC: 0xbb}, cluster.TimelineIdentity{Switch: endLSN})
}

func historyOf(t *rapid.T) wal.History {
	return mostly(t, ancestry, nil, wal.History{{Timeline: 1, LSN: forkLSN}, {Timeline: 2, LSN: endLSN}}, wal.History{{Timeline: 1, LSN: endLSN}})
}

func tags(t *rapid.T) cluster.Tags {
	if !seldom(t) {
		return cluster.Tags{}
	}
	p := rapid.IntRange(-1, 2).Draw(t, "")
	return cluster.Tags{NoFailover: yesNo(t), NoSync: yesNo(t), NoStream: yesNo(t), CloneFrom: yesNo(t), ReplicateFrom: name(t),
		FailoverPriority: &p, SyncPriority: &p}
}

func many[T any](t *rapid.T, draw func(*rapid.T) T) []T {
	var out []T
	for range rapid.IntRange(0, 3).Draw(t, "") {
		out = append(out, draw(t))
	}
	return out
}

func memberOf(t *rapid.T) cluster.Member {
	m := published(name(t))
	m.Tags, m.Timeline, m.XLog = tags(t), timeline(t), lsnOf(t)
	m.State = mostly(t, cluster.StateRunning, cluster.StateStopped, "")
	m.Role = some(t, cluster.RolePrimary, cluster.RoleReplica, cluster.RoleReplica, "")
	m.Matriarch, m.Guarded, m.CheckpointPending = mostly(t, "1", ""), yesNo(t), seldom(t)
	m.ConnURL = mostly(t, m.ConnURL, "", "::", "postgres://:0")
	m.APIURL = mostly(t, m.APIURL, "")
	return m
}

func slot(t *rapid.T) cluster.SlotState { return cluster.SlotState{Name: name(t), LSN: lsnOf(t)} }

func conditions(t *rapid.T) cluster.RestartConditions {
	return cluster.RestartConditions{Role: mostly(t, "", cluster.RolePrimary, cluster.RoleReplica), OlderThan: mostly(t, 0, 150000),
		OnlyPending: seldom(t), Timeout: mostly(t, 0, time.Second)}
}

// wallTime is around the observations' own.
func wallTime(t *rapid.T) time.Time {
	return epoch.Add(time.Duration(rapid.IntRange(-40, 40).Draw(t, "")) * time.Second)
}

func requests(t *rapid.T) ha.Requests {
	var r ha.Requests
	if seldom(t) {
		r.Restart = ha.RestartRequest{ID: some(t, 1, 2), Conditions: conditions(t)}
	}
	if seldom(t) {
		r.Reinit = ha.ReinitRequest{ID: some(t, 3, 4), Force: yesNo(t), FromLeader: yesNo(t)}
	}
	if seldom(t) {
		r.Scheduled = cluster.ScheduledRestart{At: wallTime(t), Conditions: conditions(t), PostmasterStart: mostly(t, time.Time{}, epoch)}
	}
	return r
}

func taskKind(t *rapid.T) ha.ActionKind {
	return mostly(t, ha.ActionKind(""), ha.Bootstrap, ha.Clone, ha.StartReplica, ha.StartPrimary, ha.Promote, ha.Stop, ha.Rewind, ha.Checkpoint, "nonsense")
}

func viewOf(t *rapid.T) cluster.View {
	return cluster.View{
		Initialize: cluster.Initialize{Present: yesNo(t), SystemID: mostly(t, systemID, "", "8000"), Version: version(t), Owner: name(t), OwnerSession: session(t)},
		Leader:     cluster.Leader{Name: name(t), Session: session(t), Version: version(t)},
		Members:    many(t, memberOf),
		Status:     cluster.Status{Optime: lsnOf(t), Slots: many(t, slot), Retain: many(t, name), Version: version(t)},
		History: cluster.History{Present: yesNo(t), Version: version(t), Lines: many(t, func(t *rapid.T) cluster.HistoryLine {
			return cluster.HistoryLine{Timeline: timeline(t), LSN: lsnOf(t), NewLeader: name(t)}
		})},
		Failover: mostly(t, cluster.Failover{}, cluster.Failover{Candidate: "a", Version: "1"}, cluster.Failover{Leader: "a", Version: "1"},
			cluster.Failover{Leader: "a", Candidate: "b"}, cluster.Failover{Leader: "b", Candidate: "a", ScheduledAt: "soon"},
			cluster.Failover{Leader: "a", ScheduledAt: wallTime(t).Format(time.RFC3339), Version: "2"}),
		Sync:   cluster.SyncState{Leader: mostly(t, "", "a", "b"), Standbys: many(t, name), Version: version(t), Quorum: some(t, 0, 0, 1, -1), Before: before(t)},
		Config: cluster.Config{Present: yesNo(t)},
		Timelines: cluster.Timelines{Version: version(t), Claims: many(t, func(t *rapid.T) cluster.TimelineClaim {
			return cluster.TimelineClaim{Timeline: timeline(t), Winner: name(t), Identity: identityOf(t)}
		})},
		Failsafe: some(t, nil, nil, recordedOf("a", "b", "c"), recordedOf("a"), recordedOf("b", "c")), FailsafeVersion: version(t),
		Handover: mostly(t, cluster.Handover{}, cluster.Handover{Leader: "b", LSN: endLSN, Timeline: 2, Version: "1"}, cluster.Handover{Leader: "a", LSN: endLSN + 1}),
	}
}

var observations = rapid.Custom(func(t *rapid.T) ha.Observation {
	now := instant(t).Add(time.Second)
	near := func() boot.Instant { return instant(t) }
	set := cluster.DefaultSettings()
	set.TTL = mostly(t, set.TTL, 0, time.Second)
	set.LoopWait = mostly(t, set.LoopWait, 0, -time.Second, time.Second)
	set.SyncMode = some(t, cluster.SyncOff, cluster.SyncOn, cluster.SyncQuorum, "nonsense")
	set.Paused, set.UseSlots, set.UsePgRewind = seldom(t), yesNo(t), yesNo(t)
	set.RecloneOnRewindFailure, set.RecloneOnDivergence, set.CheckTimeline = seldom(t), seldom(t), seldom(t)
	set.PrimaryStartTimeout = mostly(t, set.PrimaryStartTimeout, 0)
	set.MaxHistory = some(t, 0, 0, 1, -1)
	l := ha.Lease{Session: session(t)}
	l.Held = l.Session != "" && yesNo(t)
	l.Adrift = l.Held && seldom(t)
	if yesNo(t) {
		l.Deadlines = fence.Compute(near(), set.TTL, fence.DefaultBudget())
	}
	o := ha.Observation{
		Now: now, Wall: epoch, Requests: requests(t), Settings: set, Lease: l,
		Self: ha.Self{Name: "a", Tags: tags(t), CanBootstrap: yesNo(t)},
		Server: ha.Server{
			Dir:     mostly(t, ha.DirPresent, ha.DirEmpty, ha.DirUnfinished, ha.DirInaccessible, ha.DirUnknown),
			Process: some(t, ha.ProcessRunning, ha.ProcessStopped, ha.ProcessStarting, ha.ProcessStopping, ha.ProcessUnknown),
			Role:    some(t, ha.ServerPrimary, ha.ServerStandby, ha.ServerUnknown), SystemID: mostly(t, systemID, "", "8000"),
			Position: wal.Position{Timeline: timeline(t), LSN: lsnOf(t)}, Replayed: lsnOf(t), ReplayDone: !seldom(t),
			Receiver: yesNo(t), Streaming: yesNo(t), Upstream: some(t, "", "b.db:5432", "c.db:5432"), Identity: identityOf(t), History: historyOf(t),
			Clean: yesNo(t), ShutDown: seldom(t), Rewinding: seldom(t), RewindUnproven: seldom(t), CanRewind: yesNo(t), CheckpointTimeline: timeline(t),
			Heard:  mostly(t, 0, near()),
			Proven: mostly(t, 0, near()), Unproven: mostly(t, "", "no answer"),
			SyncNames: many(t, name), Slots: many(t, slot), Version: mostly(t, 150018, 0), PostmasterStart: mostly(t, epoch, time.Time{}, epoch.Add(1)),
			Replication: many(t, func(t *rapid.T) ha.Walsender {
				return ha.Walsender{Name: name(t), State: mostly(t, "streaming", "backup"), SyncState: some(t, "async", "sync", "potential", "?"), Flush: lsnOf(t)}
			}),
		},
		Task:  ha.Task{Kind: taskKind(t), Last: ha.TaskResult{Seq: rapid.IntRange(0, 3).Draw(t, ""), Kind: taskKind(t), Error: mostly(t, "", "bad"), At: near()}},
		Guard: ha.Guard{Required: yesNo(t), Running: !seldom(t)},
		Store: ha.Store{Known: !seldom(t), Reachable: !seldom(t), View: viewOf(t)},
		Peers: many(t, func(t *rapid.T) ha.Peer {
			return ha.Peer{Name: name(t), Asked: near(), Answered: near(), AnswerTo: near(), Error: mostly(t, "", "refused"), InRecovery: yesNo(t),
				Position: wal.Position{Timeline: timeline(t), LSN: lsnOf(t)}, Tags: tags(t), Voting: yesNo(t),
				EligibleKnown: yesNo(t), Eligible: yesNo(t), WatchdogFailed: seldom(t), Closed: seldom(t)}
		}),
		Stopping: seldom(t),
	}
	if seldom(t) {
		o.Store.NewSince = near()
	}
	if seldom(t) {
		o.Store.FirstSeen = near()
	}
	o.Settings.Failsafe = yesNo(t)
	if yesNo(t) {
		o.Failsafe = ha.Failsafe{Asked: near(), Ended: near(), Error: mostly(t, "", "refused"), Leader: name(t), Until: near()}
	}
	if o.Server.Dir == ha.DirUnfinished {
		// What is being made was never rewound, and the agent would say so.
		o.Server.Rewinding, o.Server.RewindUnproven = false, false
	}
	return o
})

var memories = rapid.Custom(func(t *rapid.T) ha.Memory {
	if yesNo(t) {
		return ha.Memory{}
	}
	m := ha.Memory{
		Leader: memberOf(t), Members: many(t, memberOf), LeaderlessSince: instant(t), RaceAsked: instant(t), VetoSince: instant(t),
		Promised: yesNo(t), Streamed: instant(t), Led: session(t), CrashedSince: instant(t), CrashAsked: instant(t), StartFailures: rapid.IntRange(0, 3).Draw(t, ""),
		StallAsked: instant(t), PermanentSince: instant(t).Add(1), PermanentVersion: version(t),
		HandoverSeen: instant(t), HandoverVersion: version(t), Released: instant(t), OwnerSeen: yesNo(t), OwnerVersion: version(t),
		Claimed: session(t), RewindFailures: rapid.IntRange(0, 2).Draw(t, ""), SyncNames: many(t, name), SyncSince: instant(t), SyncMark: lsnOf(t),
	}
	if yesNo(t) {
		m.Handing = ha.Handing{Why: some(t, ha.HandingSwitchover, ha.HandingStop), Candidate: name(t), Request: version(t), Asynchronous: yesNo(t),
			Asked: instant(t), Stopped: instant(t), Down: instant(t)}
	}
	if seldom(t) {
		m.BackoffUntil, m.PromoteFailures = instant(t), rapid.IntRange(0, 100).Draw(t, "")
	}
	if seldom(t) {
		m.FailsafeTried, m.FailsafeBase, m.FailsafeOff = recordedOf(name(t), name(t)), version(t), instant(t)
	}
	if seldom(t) {
		m.Restart = ha.Restarting{ID: some(t, 0, 1, 2), Conditions: conditions(t), Begun: instant(t), Session: session(t),
			Seq: rapid.IntRange(0, 3).Draw(t, ""), Down: instant(t), Started: instant(t)}
	}
	if seldom(t) {
		m.Reinit = ha.Reiniting{ID: some(t, 3, 4), FromLeader: yesNo(t), Begun: instant(t), Seq: rapid.IntRange(0, 3).Draw(t, ""), Copied: seldom(t)}
	}
	return m
})

func before(t *rapid.T) *cluster.SyncBefore {
	if !yesNo(t) {
		return nil
	}
	return &cluster.SyncBefore{SyncState: cluster.SyncState{Leader: mostly(t, "", "a", "b"), Standbys: many(t, name)}, Timeline: timeline(t)}
}
