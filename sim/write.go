package sim

import (
	"slices"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

// write carries the plain writes to the store out.
func (a *agent) write(x ha.Action, done func(bool)) {
	op := a.operation(x)
	if op == nil || leads(x.Kind) && a.m.w.opt.Mutant != Unlocked && !(a.keeper.held && a.keeper.term.Until().Live(a.now())) {
		done(false)
		return
	}
	a.call(func(s *store) error {
		if err := op(s, &s.view); err != nil {
			return err
		}
		s.changed()
		a.m.w.check.wrote(a.m, x)
		return nil
	}, func(err error, _ int64) {
		if err != nil {
			// What is not known, or was lost, is read again before the next turn.
			a.load(func(*snapshot, error) { done(false) })
			return
		}
		done(true)
	})
}

// leads: what only a leader writes, it writes only while its lease is live; a
// compare-and-set alone does not keep a former leader from creating a key that
// was absent before and after.
func leads(k ha.ActionKind) bool {
	switch k {
	case ha.WriteSync, ha.WriteHistory, ha.ClaimTimeline, ha.PublishIdentity, ha.PublishStatus, ha.ClearHandover, ha.WriteFailsafe:
		return true
	}
	return false
}

// operation is what a write does at the store.
func (a *agent) operation(x ha.Action) func(*store, *cluster.View) error {
	name, id := a.m.name, a.keeper.session
	switch x.Kind {
	case ha.ClaimInitialize:
		return func(s *store, v *cluster.View) error { return s.claimInitialize(name, id) }
	case ha.RemoveLeader:
		return func(s *store, v *cluster.View) error {
			if err := unchanged(v.Leader.Version, x.Version); err != nil {
				return err
			}
			v.Leader = cluster.Leader{}
			return nil
		}
	case ha.ReleaseInitialize:
		return func(s *store, v *cluster.View) error {
			if err := unchanged(v.Initialize.Version, x.Version); err != nil {
				return err
			}
			v.Initialize = cluster.Initialize{Owner: v.Initialize.Owner, OwnerSession: v.Initialize.OwnerSession}
			return nil
		}
	case ha.WriteInitialize:
		return func(s *store, v *cluster.View) error {
			if err := unchanged(v.Initialize.Version, x.Version); err != nil {
				return err
			}
			v.Initialize = cluster.Initialize{Present: true, SystemID: x.SystemID, Version: s.next()}
			return nil
		}
	case ha.WriteConfig:
		return func(s *store, v *cluster.View) error {
			if !v.Config.Present {
				v.Config = cluster.Config{Present: true, JSON: "{}", Version: s.next()}
			}
			return nil
		}
	case ha.WriteHistory:
		seen := a.snap.view.History.Version
		return func(s *store, v *cluster.View) error {
			if err := unchanged(v.History.Version, seen); err != nil {
				return err
			}
			v.History = cluster.History{Present: true, Lines: x.Lines, Version: s.next()}
			return nil
		}
	case ha.WriteSync, ha.RestoreSync:
		return func(s *store, v *cluster.View) error { return s.writeSync(x) }
	case ha.WriteFailsafe:
		return func(s *store, v *cluster.View) error { return s.writeFailsafe(v, x) }
	case ha.ClearFailover:
		return func(s *store, v *cluster.View) error {
			if err := unchanged(v.Failover.Version, x.Version); err != nil {
				return err
			}
			v.Failover = cluster.Failover{Version: s.next()}
			return nil
		}
	case ha.ClearHandover:
		return func(s *store, v *cluster.View) error {
			if err := unchanged(v.Handover.Version, x.Version); err != nil {
				return err
			}
			v.Handover = cluster.Handover{}
			s.w.check.recordCleared()
			return nil
		}
	case ha.ClaimTimeline, ha.PublishIdentity:
		if x.Kind == ha.ClaimTimeline && a.m.w.opt.Mutant == NoClaim {
			return func(s *store, v *cluster.View) error { return nil }
		}
		return func(s *store, v *cluster.View) error { return s.claim(x) }
	case ha.PublishStatus:
		return a.statusWrite(x.Optime)
	}
	return nil
}

// statusWrite publishes the leader's position, or what is the least.
func (a *agent) statusWrite(least wal.LSN) func(*store, *cluster.View) error {
	srv := a.m.server
	lead := a.keeper.held && a.keeper.term.Until().Live(a.now()) || a.m.w.opt.Mutant == Unlocked
	if srv.proc != ha.ProcessRunning || !lead {
		return nil
	}
	if srv.still() {
		return nil
	}
	st := cluster.Status{Optime: max(srv.end, least), Slots: slices.Clone(srv.slots)}
	for _, s := range srv.slots {
		st.Retain = append(st.Retain, s.Name)
	}
	if !srv.writable() {
		st.Slots, st.Retain = a.snap.view.Status.Slots, a.snap.view.Status.Retain
	}
	seen := a.snap.view.Status.Version
	return func(s *store, v *cluster.View) error {
		if err := unchanged(v.Status.Version, seen); err != nil {
			return err
		}
		st.Version = s.next()
		v.Status = st
		return nil
	}
}
