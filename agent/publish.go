package agent

import (
	"context"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

// publishedState is what was written last, so that nothing is written twice.
type publishedState struct {
	session string
	member  string // the member key's text
	still   string // the same without what moves all the time
	at      boot.Instant
	// seen: the view has shown what was written.
	seen   bool
	status string
	// statusAt is when the status was written last.
	statusAt boot.Instant
}

// publish writes this member's key when it changed: at once when something that
// others decide on changed, else at most once per loop_wait.
func (a *Agent) publish(ctx context.Context, o ha.Observation, d ha.Decision) {
	a.forgetNamesake(ctx)
	if o.Lease.Session == "" || !o.Store.Reachable {
		return
	}
	m := a.member(o, d)
	text := layout.EncodeMember(m)
	m.XLog, m.Received, m.Replayed = 0, 0, 0
	quiet := layout.EncodeMember(m)
	p := &a.published
	same := p.session == o.Lease.Session
	stored, there := o.Store.View.Member(a.opt.Name)
	mine := there && stored.APIURL == a.opt.APIURL
	p.seen = same && there && (p.seen || mine)
	if same && there && !p.seen {
		// The view may be older than what was written; a reading is not.
		a.viewer.refresh(ctx)
		now := a.viewer.current("")
		stored, there = now.View.Member(a.opt.Name)
		mine = there && stored.APIURL == a.opt.APIURL
		p.seen = now.Reachable && there
	}
	foreign := p.seen && !mine
	if foreign {
		a.namesake(stored, o.Lease.Held)
	}
	switch {
	case foreign && !o.Lease.Held:
		return
	case same && there && !foreign && text == p.member:
		return
	case same && there && !foreign && quiet == p.still && o.Now.Sub(p.at) < min(o.Settings.LoopWait, 10*time.Second):
		return
	}
	// Not worth holding the next turn up for: it tries again.
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if _, err := a.opt.Keeper.PutOwned(ctx, layout.KeyMember(a.opt.Name), text, dcs.Always()); err != nil {
		a.broken("publish", "this member's key could not be written; trying again", err)
		return
	}
	a.works("publish", "this member's key is written again")
	p.session, p.member, p.still, p.at = o.Lease.Session, text, quiet, o.Now
}

// member is this member as others see it.
func (a *Agent) member(o ha.Observation, d ha.Decision) cluster.Member {
	f := a.facts.last
	m := cluster.Member{
		Name: a.opt.Name, ConnURL: a.opt.ConnURL, APIURL: a.opt.APIURL,
		Version: a.opt.Version, Matriarch: a.opt.Own,
		Guarded: o.Guard.Required && o.Guard.Running, Namesake: o.Self.Namesake,
		Tags: a.opt.Tags, State: stateOf(o, d.Memory), Role: roleOf(o, d.Memory),
		Timeline: f.Position.Timeline,
		Paused:   o.Settings.Paused,

		ScheduledRestart: a.requests.current().Scheduled,
	}
	if o.Server.Process == ha.ProcessRunning {
		m.XLog = f.Position.LSN
		if o.Server.Role == ha.ServerStandby {
			m.Replayed, m.Received = f.Replayed, f.Received
			switch {
			case o.Server.Streaming:
				m.ReplicationState = "streaming"
			case o.Server.Upstream != "":
				m.ReplicationState = "in archive recovery"
			}
		}
	} else if o.Server.Process != ha.ProcessStarting {
		m.Timeline = 0
	}
	if m.Role == cluster.RolePrimary && m.Running() {
		m.CheckpointPending = o.Server.CheckpointTimeline != 0 && o.Server.CheckpointTimeline != o.Server.Position.Timeline
	}
	m.PendingRestart = len(o.Server.Pending) > 0
	m.PendingRestartReason = o.Server.Pending
	return m
}

// stateOf says in the published words what the server is doing.
func stateOf(o ha.Observation, m ha.Memory) cluster.State {
	switch {
	case m.Reinit.UnderWay():
		return cluster.StateCreatingReplica
	case m.Restart.UnderWay():
		return cluster.StateRestarting
	}
	switch o.Task.Kind {
	case ha.Bootstrap:
		return cluster.StateInitializing
	case ha.Clone:
		return cluster.StateCreatingReplica
	case ha.StartReplica, ha.StartPrimary:
		return cluster.StateStarting
	case ha.Stop:
		return cluster.StateStopping
	}
	switch o.Server.Process {
	case ha.ProcessRunning:
		return cluster.StateRunning
	case ha.ProcessStarting:
		return cluster.StateStarting
	case ha.ProcessStopping:
		return cluster.StateStopping
	}
	switch last := o.Task.Last; {
	case last.Error != "" && (last.Kind == ha.StartReplica || last.Kind == ha.StartPrimary):
		return cluster.StateStartFailed
	case last.Error != "" && last.Kind == ha.Bootstrap:
		return cluster.StateInitFailed
	case last.Error != "" && last.Kind == ha.Stop:
		return cluster.StateStopFailed
	// Data that were just copied or rewound look like those of a server that crashed;
	// none has run on them yet.
	case last.Kind == ha.Clone && last.Error == "":
		return cluster.StateCreatingReplica
	case last.Kind == ha.Rewind && last.Error == "":
		return cluster.StateStopped
	case o.Server.Dir == ha.DirPresent && !o.Server.Clean:
		return cluster.StateCrashed
	}
	return cluster.StateStopped
}

// roleOf says in the published words what the server is.
func roleOf(o ha.Observation, m ha.Memory) cluster.Role {
	s := o.Server
	switch {
	case s.Dir == ha.DirEmpty || s.Dir == ha.DirUnfinished:
		return cluster.RoleUninitialized
	case o.Task.Kind == ha.Promote:
		return cluster.RolePromoted
	case s.Process == ha.ProcessStopped && s.Role == ha.ServerPrimary && !m.Restart.UnderWay():
		return cluster.RoleDemoted
	case s.Role == ha.ServerPrimary:
		return cluster.RolePrimary
	}
	return cluster.RoleReplica
}

// publishStatus writes how far the leader is, at least so far, and the slots it keeps.
func (a *Agent) publishStatus(ctx context.Context, o ha.Observation, least wal.LSN) error {
	if !a.opt.Keeper.State().Certain(a.opt.Clock.Now()) {
		return errMoved
	}
	st := cluster.Status{Optime: max(o.Server.Position.LSN, least)}
	// Before a promotion it is always written: what the former leader still sends is
	// refused from then on. What that one kept for others is not known to be done with.
	leads := o.Server.Role == ha.ServerPrimary
	if leads {
		st.Slots, st.Retain = a.slots(o)
	} else {
		st.Slots, st.Retain = o.Store.View.Status.Slots, o.Store.View.Status.Retain
	}
	text := layout.EncodeStatus(st)
	p := &a.published
	// Once per loop_wait, or as soon as half of what a failover may lose was
	// written since, or given up.
	recent := o.Now.Sub(p.statusAt) < min(o.Settings.LoopWait, 10*time.Second) && p.status != ""
	was := o.Store.View.Status.Optime
	little := max(st.Optime.Sub(was), was.Sub(st.Optime)) <= o.Settings.MaxLagOnFailover/2
	if leads && (text == p.status && was == st.Optime || recent && little) {
		return nil
	}
	// A former leader's word that comes late, or was sent by an agent that did not
	// know better yet, must not stand for its successor's: nobody may be near enough
	// to a position that the cluster has left.
	if err := a.put(ctx, layout.KeyStatus, text, dcs.Unchanged(o.Store.View.Status.Version)); err != nil {
		return err
	}
	p.status, p.statusAt = text, o.Now
	return nil
}

// slots are those that the server keeps, and that of this member, which its successor
// is to keep.
func (a *Agent) slots(o ha.Observation) (all []cluster.SlotState, retain []string) {
	for _, s := range o.Server.Slots {
		all, retain = append(all, s), append(retain, s.Name)
	}
	if own := cluster.SlotName(a.opt.Name); o.Settings.UseSlots {
		all = insertSlot(all, cluster.SlotState{Name: own, LSN: o.Server.Position.LSN})
		retain = insertName(retain, own)
	}
	return all, retain
}

func insertSlot(list []cluster.SlotState, s cluster.SlotState) []cluster.SlotState {
	i := 0
	for i < len(list) && list[i].Name < s.Name {
		i++
	}
	return append(list[:i:i], append([]cluster.SlotState{s}, list[i:]...)...)
}

func insertName(list []string, s string) []string {
	i := 0
	for i < len(list) && list[i] < s {
		i++
	}
	return append(list[:i:i], append([]string{s}, list[i:]...)...)
}
