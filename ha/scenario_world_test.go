package ha_test

import (
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/wal"
)

// world is what member a sees, and its memory.
type world struct {
	o   ha.Observation
	m   ha.Memory
	rev int
}

const (
	systemID = "7000"
	forkLSN  = wal.LSN(0x3000000) // where timeline 2 began
	endLSN   = wal.LSN(0x5000000)
)

var (
	identity = cluster.TimelineIdentity{Switch: forkLSN, CRC: 0xaa}
	ancestry = wal.History{{Timeline: 1, LSN: forkLSN, Reason: "no recovery target specified"}}
)

func published(name string) cluster.Member {
	return cluster.Member{Name: name, ConnURL: "postgres://" + name + ".db:5432/postgres", APIURL: "http://" + name + ".db:8008/patroni",
		State: cluster.StateRunning, Role: cluster.RoleReplica, Version: "4.1.4", Matriarch: "1", Guarded: true,
		Timeline: 2, XLog: endLSN, ReplicationState: "streaming"}
}

// newWorld is a member a of a cluster that a person has just described in a
// configuration file: no data, nothing in the store, a session open.
func newWorld() *world {
	w := &world{}
	w.o = ha.Observation{
		Now: boot.Instant(1000 * time.Second), Wall: time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC),
		Self: ha.Self{Name: "a", CanBootstrap: true}, Settings: cluster.DefaultSettings(),
		Server: ha.Server{Dir: ha.DirEmpty, Process: ha.ProcessStopped},
		Guard:  ha.Guard{Required: true, Running: true},
		Lease:  ha.Lease{Session: "sa"},
		Store:  ha.Store{Known: true, Reachable: true, Seen: boot.Instant(1000 * time.Second)},
	}
	return w
}

// worlds are the healthy states that stories begin with.
var worlds = map[string]func() *world{
	"empty": newWorld,
	// a leads on timeline 2; b and c stream.
	"leading": func() *world {
		w := clusterLedBy("a")
		w.o.Server.Role, w.o.Server.Slots = ha.ServerPrimary, []cluster.SlotState{{Name: "b", LSN: endLSN}, {Name: "c", LSN: endLSN}}
		w.o.Server.Replication = []ha.Walsender{streaming("b"), streaming("c")}
		w.renew(0)
		w.settle()
		return w
	},
	// b leads on timeline 2; a and c stream.
	"following": func() *world {
		w := clusterLedBy("b")
		w.standby()
		w.settle()
		return w
	},
	// b led and vanished with its session; a and c are left.
	"leaderless": func() *world {
		w := clusterLedBy("b")
		w.standby()
		w.settle()
		w.o.Store.View.Leader = cluster.Leader{}
		w.o.Store.View.Members = slices.DeleteFunc(slices.Clone(w.o.Store.View.Members), func(m cluster.Member) bool { return m.Name == "b" })
		return w
	},
	// The same, and a has stopped its WAL receiver already.
	"racing": func() *world {
		w := clusterLedBy("b")
		w.standby()
		w.settle()
		w.o.Store.View.Leader = cluster.Leader{}
		w.o.Store.View.Members = slices.DeleteFunc(slices.Clone(w.o.Store.View.Members), func(m cluster.Member) bool { return m.Name == "b" })
		w.o.Server.Receiver, w.o.Server.Streaming, w.o.Server.Upstream = false, false, ""
		w.m = ha.Decide(w.o, w.m).Memory
		w.m.RaceAsked = 0
		return w
	},
}

// settle lets the memory learn what a turn in peace would teach it.
func (w *world) settle() {
	d := ha.Decide(w.o, w.m)
	w.m = d.Memory
	w.o.Now = w.o.Now.Add(time.Second)
}

func clusterLedBy(leader string) *world {
	w := newWorld()
	w.o.Server = ha.Server{Dir: ha.DirPresent, Process: ha.ProcessRunning, SystemID: systemID,
		Position: wal.Position{Timeline: 2, LSN: endLSN}, Replayed: endLSN, ReplayDone: true,
		Identity: identity, History: ancestry, CanRewind: true, CheckpointTimeline: 2}
	v := &w.o.Store.View
	v.Initialize = cluster.Initialize{Present: true, SystemID: systemID, Version: "1"}
	v.Leader = cluster.Leader{Name: leader, Session: "s" + leader, Version: "2"}
	v.Status = cluster.Status{Optime: endLSN, Version: "3",
		Slots: []cluster.SlotState{{Name: "a", LSN: endLSN}, {Name: "b", LSN: endLSN}, {Name: "c", LSN: endLSN}}}
	v.Config = cluster.Config{Present: true, JSON: "{}", Version: "4"}
	v.History = cluster.History{Present: true, Version: "5",
		Lines: []cluster.HistoryLine{{Timeline: 1, LSN: forkLSN, Reason: "no recovery target specified", NewLeader: leader}}}
	v.Timelines = cluster.Timelines{Version: "6", Claims: []cluster.TimelineClaim{{Timeline: 2, Winner: leader, Identity: identity}}}
	for _, n := range []string{"a", "b", "c"} {
		m := w.member(n)
		if n == leader {
			m.Role, m.ReplicationState = cluster.RolePrimary, ""
		}
	}
	w.rev = 10
	return w
}

func (w *world) standby() {
	s := &w.o.Server
	s.Role, s.Receiver, s.Streaming, s.Upstream = ha.ServerStandby, true, true, "b.db:5432"
	s.Slots = []cluster.SlotState{{Name: "b", LSN: endLSN}, {Name: "c", LSN: endLSN}}
}

func streaming(name string) ha.Walsender {
	return ha.Walsender{Name: name, State: "streaming", SyncState: "async", Write: endLSN, Flush: endLSN, Replay: endLSN}
}

// renew confirms the lease by a renewal sent that long ago.
func (w *world) renew(ago time.Duration) {
	l := &w.o.Lease
	l.Session, l.Held, l.Adrift, l.Granted, l.LastError = "sa", true, false, w.o.Settings.TTL, ""
	l.Deadlines = fence.Compute(w.o.Now.Add(-ago), l.Granted, fence.DefaultBudget())
}
