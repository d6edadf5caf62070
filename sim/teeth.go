package sim

import (
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
)

// Known-bad variants of single steps: each leaves one step out, or does two in the
// wrong order.
const (
	NamesFirst     Mutant = "sync-names-first"     // a primary stops waiting for a standby that the sync key still names
	KeepStalled    Mutant = "keep-stalled-primary" // a primary that cannot commit keeps the lease
	PostmasterOnly Mutant = "kill-postmaster-only" // a kill leaves the backends
	PutBackBlind   Mutant = "put-back-unread"      // who still replays its log says that it was not promoted
)

func teeth() []Mutant {
	return []Mutant{NamesFirst, KeepStalled, PostmasterOnly, PutBackBlind}
}

// putBackBlind: the sync key is put back by whoever it names, as soon as its server
// runs as a standby.
func putBackBlind(o *ha.Observation, d *ha.Decision) {
	k := o.Store.View.Sync
	if k.Before != nil && k.Leader == o.Self.Name && !o.Store.View.Leader.Held() && !o.Lease.Held &&
		o.Server.Process == ha.ProcessRunning && o.Server.Role == ha.ServerStandby {
		d.Actions = append(slices.Clone(d.Actions), ha.Action{Kind: ha.RestoreSync, Version: k.Version, Sync: k.Before.SyncState})
	}
}

// namesFirst: the names go before the key when a standby is let go.
func namesFirst(o *ha.Observation, d *ha.Decision) {
	for i, x := range d.Actions {
		if x.Kind == ha.WriteSync && o.Settings.SyncMode == cluster.SyncOn && len(x.Sync.Standbys) < len(o.Store.View.Sync.Standbys) {
			d.Actions = slices.Insert(slices.Clone(d.Actions), i, ha.Action{Kind: ha.SetSyncNames, Names: x.Sync.Standbys})
			return
		}
	}
}

// killLeavesBackends: no postmaster is left, and the sessions that it had go on
// for a while. What they commit belongs to the reign that it was killed in.
func (s *server) killLeavesBackends() {
	w, b, end, reign := s.m.w, s.branch, s.end, s.reign
	sync := len(s.syncNames) > 0
	s.die()
	if reign == 0 || sync {
		return // commits that wait for a standby wait for ever
	}
	life := s.life
	for i := range 40 {
		w.after(time.Duration(i+1)*500*time.Millisecond, func() {
			if s.life == life && !s.still() && s.m.host.up && w.net.open(s.m.index, w.clients.node) {
				w.check.acked(&commit{s: s, branch: b, lsn: end, reign: reign})
			}
		})
	}
}

// stalled looks for a leader that the others can do without: its disk answers
// nothing for longer than primary_stall_timeout, its agent is well, and a member
// that may lead has all that it published.
func (c *checker) stalled() {
	w := c.w
	m := w.member(w.store.view.Leader.Name)
	for _, o := range w.members {
		if o != m || !c.stallCounts(o) {
			o.server.stall = 0
		}
	}
	if m == nil || !c.stallCounts(m) {
		return
	}
	m.server.stall += checkEvery
	if limit := w.store.settings.PrimaryStallTimeout + stallSlack; m.server.stall > limit {
		c.violate("G8", "%s has led for %s without being able to commit, and another member could lead", m.name, m.server.stall)
	}
}

// stallSlack is what asking the others may take, twice, and the proof's own age.
const stallSlack = 15 * time.Second

func (c *checker) stallCounts(m *member) bool {
	w, s := c.w, m.server
	if w.store.settings.PrimaryStallTimeout <= 0 || !m.host.stuck || m.host.hung || !s.writable() || m.host.frozen ||
		m.agent.task.kind != "" || // a stop that hangs goes by primary_stop_timeout
		!c.reachable(m) || w.store.view.Failover.Requested() {
		return false
	}
	return slices.ContainsFunc(w.members, func(o *member) bool {
		v := &w.store.view
		t := o.server
		return o != m && !o.gone && o.tags.MayLead() && c.undisturbed(o) && w.net.both(o.index, m.index) &&
			t.proc == ha.ProcessRunning && t.role == ha.ServerStandby && t.rx != nil && t.rx.from == s && t.replayed >= t.end &&
			t.end == s.end && (!v.Sync.Active() || v.Sync.Holds(o.name))
	})
}

// reachable: nothing but its disk keeps the member's agent from acting.
func (c *checker) reachable(m *member) bool {
	a := m.agent
	return a.alive && !a.paused && a.starved == 0 && !a.stopping && c.w.net.both(m.index, c.w.store.node) && !c.w.store.down &&
		!c.pausedNow() && m.loseReplies == 0 && a.snap != nil && a.reachable
}
