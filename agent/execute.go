package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/ha"
)

// storeTimeout bounds one write to the store within a turn.
const storeTimeout = 5 * time.Second

// publishTimeout bounds the writing of this member's own key.
const publishTimeout = time.Second

// errMoved: the world is not as the action demands.
var errMoved = errors.New("the situation changed meanwhile")

// step is an action being carried out, with the observation it was decided on.
type step struct {
	ha.Action
	o ha.Observation
}

// execute carries out the decision's actions in order, and of those after a failure
// the ones that do not rely on what failed. It reports whether something was written to
// the store that the next turn must see, and whether all went well.
func (a *Agent) execute(ctx context.Context, o ha.Observation, d ha.Decision) (wrote, ok bool, exit *ErrExit) {
	var failed []ha.ActionKind
	for _, act := range d.Actions {
		if !act.Kind.StillDone(failed) {
			continue
		}
		if act.Kind == ha.Exit {
			return wrote, true, &ErrExit{Code: act.Code, Why: act.Why}
		}
		began := a.opt.Clock.Now()
		err := a.perform(ctx, step{act, o})
		took := a.opt.Clock.Now().Sub(began)
		wrote = wrote || writesStore(act.Kind)
		if err != nil {
			failed = append(failed, act.Kind)
		}
		a.report(act, took, err)
	}
	return wrote, len(failed) == 0, nil
}

// writesStore: the next turn must see the store as it is after the action.
func writesStore(k ha.ActionKind) bool {
	switch k {
	case ha.TakeLeader, ha.ReleaseLeader, ha.RemoveLeader, ha.ClaimInitialize, ha.ReleaseInitialize, ha.WriteInitialize, ha.WriteConfig,
		ha.WriteHistory, ha.WriteSync, ha.RestoreSync, ha.WriteFailsafe, ha.ClearFailover, ha.ClearHandover, ha.ClaimTimeline, ha.PublishIdentity:
		return true
	}
	return false
}

// perform carries out one action.
func (a *Agent) perform(ctx context.Context, s step) error {
	if s.Session != "" && s.Session != a.opt.Keeper.State().Session {
		return fmt.Errorf("%w: the session in the store is another one", errMoved)
	}
	if s.Kind.IsTask() {
		return a.begin(ctx, s)
	}
	switch s.Kind {
	case ha.Fence:
		return a.fence(ctx)
	case ha.CancelTask:
		a.task.stop()
		return nil
	case ha.Reply, ha.DropScheduled:
		a.answer(s.Action)
		return nil
	case ha.AskPeers:
		a.ask(ctx, s)
		return nil
	case ha.AskFailsafe:
		a.askFailsafe(ctx, s)
		return nil
	case ha.StopReceiver, ha.Follow, ha.SetSyncNames, ha.KeepSlots, ha.AcceptBootstrap, ha.DiscardBootstrap, ha.AcceptRewind:
		return a.onServer(ctx, s)
	}
	limit := storeTimeout
	if s.o.Lease.Held && leadersWrite(s.Kind) {
		// What a leader writes, it writes under a live lease, and it does not wait
		// for the store past the moment at which its server must stop.
		st, now := a.opt.Keeper.State(), a.opt.Clock.Now()
		if !st.Certain(now) {
			return fmt.Errorf("%w: the lease is not live any more", errMoved)
		}
		limit = min(limit, leaseOf(st).Deadlines.Soft.Sub(now))
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return a.onStore(ctx, s)
}

// leadersWrite: only a leader may write this key.
func leadersWrite(k ha.ActionKind) bool {
	switch k {
	case ha.WriteInitialize, ha.WriteConfig, ha.WriteHistory, ha.WriteSync, ha.WriteFailsafe, ha.ClearFailover, ha.ClearHandover,
		ha.ClaimTimeline, ha.PublishIdentity, ha.PublishStatus:
		return true
	}
	return false
}

// fence kills the server at once: first the task that may be starting it, then
// every process, and once more for what the task started while it ended.
func (a *Agent) fence(ctx context.Context) error {
	a.task.stop()
	a.ends.killed(a.facts.pid)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	first := a.opt.Kill(ctx)
	waiting, done := context.WithTimeout(ctx, 2*time.Second)
	ended := a.task.stopAndWait(waiting)
	done()
	if err := errors.Join(first, a.opt.Kill(ctx)); err != nil {
		return err
	}
	if !ended {
		// It may start the server yet: the guard stays armed and the lease is not
		// given to anybody.
		return fmt.Errorf("every process of the server is dead, but the %s in progress does not end", a.task.current().Kind)
	}
	err := a.markStandby()
	// The server provably writes no more: whatever is left of the lease may go at
	// once, so that nobody has to wait until it runs out.
	release, done := context.WithTimeout(ctx, 2*time.Second)
	defer done()
	if rel := a.opt.Keeper.Release(release); rel != nil {
		a.log.Info("the lease could not be released after the fence; it runs out by itself", "error", rel)
	}
	a.Wake()
	return err
}

// giveUpLost lets the session of a lost lease be ended when nothing of the server
// runs and nothing is under way that could start it: what is left of that lease
// keeps others from leading, and protects nobody.
func (a *Agent) giveUpLost(ctx context.Context) {
	if a.task.current().Kind != "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	// That the postmaster is gone proves nothing: a backend may outlive it.
	if a.opt.Kill(ctx) == nil {
		a.opt.Keeper.Stopped()
	}
}

// markWait is how long the disk may take to hold a signal file before a fence goes
// on without waiting for it.
const markWait = 2 * time.Second

// markStandby places standby.signal. A disk that hangs may be why the server was
// fenced, and must not keep the lease from another: the file comes when it can.
func (a *Agent) markStandby() error {
	marked := make(chan error, 1)
	go func() { marked <- a.opt.Postgres.MarkStandby() }()
	late := time.NewTimer(markWait)
	defer late.Stop()
	select {
	case err := <-marked:
		return err
	case <-late.C:
		return errors.New("every process of the server is dead, but standby.signal is not in its data directory yet: the disk does not answer")
	}
}

// ask questions peers, by name, as they were last published.
func (a *Agent) ask(ctx context.Context, s step) {
	known := slices.Concat(s.o.Store.View.Members, a.memory.Members)
	var members []cluster.Member
	for _, name := range s.Names {
		if i := slices.IndexFunc(known, func(m cluster.Member) bool { return m.Name == name }); i >= 0 {
			members = append(members, known[i])
		}
	}
	a.peers.ask(ctx, members)
}

// onServer carries out the quick actions on the local server.
func (a *Agent) onServer(ctx context.Context, s step) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	pg := a.opt.Postgres
	switch s.Kind {
	case ha.StopReceiver:
		_, err := pg.StopReceiver(ctx)
		a.Wake()
		return err
	case ha.Follow:
		return pg.Follow(ctx, upstream(s.Upstream))
	case ha.SetSyncNames:
		a.Wake()
		if len(s.Names) == 0 && s.o.Settings.SyncMode == cluster.SyncOff {
			return pg.ReleaseSyncNames(ctx)
		}
		return pg.SetSyncNames(ctx, s.Names)
	case ha.KeepSlots:
		return pg.SyncSlots(ctx, slots(s.Slots))
	case ha.AcceptBootstrap:
		a.Wake()
		return pg.AcceptBootstrap()
	case ha.DiscardBootstrap:
		a.Wake()
		return pg.DiscardBootstrap(ctx)
	case ha.AcceptRewind:
		a.Wake()
		return pg.RewindDone()
	}
	return fmt.Errorf("no such action on the server: %s", s.Kind)
}

// onStore carries out the actions on the store's keys.
func (a *Agent) onStore(ctx context.Context, s step) error {
	switch s.Kind {
	case ha.TakeLeader:
		return a.take(ctx, s)
	case ha.ReleaseLeader:
		return a.release(ctx, s)
	case ha.RemoveLeader:
		return a.opt.Store.Delete(ctx, layout.KeyLeader, dcs.Unchanged(s.Version))
	case ha.ClaimInitialize:
		return a.claimInitialize(ctx)
	case ha.ReleaseInitialize:
		return a.releaseInitialize(ctx, s)
	case ha.WriteInitialize:
		return a.writeInitialize(ctx, s)
	case ha.WriteConfig:
		return a.writeConfig(ctx, s.o.Store.View.Config)
	case ha.WriteHistory:
		return a.put(ctx, layout.KeyHistory, layout.EncodeHistory(cluster.History{Present: true, Lines: s.Lines}), dcs.Unchanged(s.o.Store.View.History.Version))
	case ha.WriteSync, ha.RestoreSync:
		if s.Sync.Leader == "" {
			return a.opt.Store.Delete(ctx, layout.KeySync, dcs.Unchanged(s.Version))
		}
		return a.put(ctx, layout.KeySync, layout.EncodeSync(s.Sync), dcs.Unchanged(s.Version))
	case ha.WriteFailsafe:
		if len(s.Failsafe) == 0 {
			return a.opt.Store.Delete(ctx, layout.KeyFailsafe, dcs.Unchanged(s.Version))
		}
		return a.put(ctx, layout.KeyFailsafe, layout.EncodeFailsafe(s.Failsafe), dcs.Unchanged(s.Version))
	case ha.ClearFailover:
		return a.put(ctx, layout.KeyFailover, layout.EncodeFailover(cluster.Failover{}), dcs.Unchanged(s.Version))
	case ha.ClearHandover:
		return a.opt.Store.Delete(ctx, layout.KeyHandover, dcs.Unchanged(s.Version))
	case ha.ClaimTimeline, ha.PublishIdentity:
		return a.put(ctx, layout.KeyTimelines, layout.EncodeTimelines(withClaim(s.o.Store.View.Timelines, s.Claim)), dcs.Unchanged(s.Version))
	case ha.PublishStatus:
		return a.publishStatus(ctx, s.o, s.Optime)
	}
	return fmt.Errorf("no such action: %s", s.Kind)
}

func (a *Agent) put(ctx context.Context, key, value string, c dcs.Condition) error {
	_, err := a.opt.Store.Put(ctx, key, value, c)
	return err
}

// take creates the leader key. The session may have been opened in a store that
// the view is not of: another one since a moment ago, in which nobody may lead
// yet. Only a reading after the session was opened tells, and one is enough.
func (a *Agent) take(ctx context.Context, s step) error {
	if session := a.opt.Keeper.State().Session; session != a.readUnder {
		a.viewer.refresh(ctx)
		if now := a.viewer.current(""); !now.Reachable {
			return fmt.Errorf("%w: the store does not answer: %s", errMoved, now.LastError)
		}
		a.readUnder = session
	}
	if now := a.viewer.current(""); now.NewSince != s.o.Store.NewSince || now.View.StoreID != s.o.Store.View.StoreID {
		return fmt.Errorf("%w: the store is another one than before, or was restored", errMoved)
	}
	// Promises are not looked at before, but while none can be given.
	if err := a.promises.beginTake(); err != nil {
		return err
	}
	defer a.promises.endTake()
	_, err := a.opt.Keeper.Take(ctx)
	return err
}

// release gives the leader key up. The server must not write: that is looked at
// once more, since the observation is older than this moment.
func (a *Agent) release(ctx context.Context, s step) error {
	if f := a.probe(ctx); writes(f) && !s.o.Settings.Paused {
		return fmt.Errorf("%w: the server accepts writes", errMoved)
	}
	if s.Handover.Present() {
		// A former leader that was frozen here must not overwrite its successor's.
		if !a.opt.Keeper.State().Live(a.opt.Clock.Now()) {
			return fmt.Errorf("%w: the lease is not live any more", errMoved)
		}
		if err := a.put(ctx, layout.KeyHandover, layout.EncodeHandover(s.Handover), dcs.Unchanged(s.o.Store.View.Handover.Version)); err != nil {
			return fmt.Errorf("record what the next leader must have: %w", err)
		}
	}
	return a.opt.Keeper.Release(ctx)
}

// claimInitialize creates the leased owner first, so that an initialize key
// without owner is never ours in the making.
func (a *Agent) claimInitialize(ctx context.Context) error {
	_, err := a.opt.Keeper.PutOwned(ctx, layout.KeyInitializeOwner, a.opt.Name, dcs.Absent())
	if err != nil && !(errors.Is(err, dcs.ErrConflict) && a.owns(ctx, layout.KeyInitializeOwner)) {
		return fmt.Errorf("announce the bootstrap: %w", err)
	}
	err = a.put(ctx, layout.KeyInitialize, "", dcs.Absent())
	if errors.Is(err, dcs.ErrConflict) {
		if sess := a.opt.Keeper.Session(); sess != nil {
			_ = sess.Delete(ctx, layout.KeyInitializeOwner)
		}
	}
	return err
}

// owns reports whether the key is there under our session: what looks like
// another's may be ours by an attempt whose answer was lost, and would stay for
// as long as we live.
func (a *Agent) owns(ctx context.Context, key string) bool {
	sess := a.opt.Keeper.Session()
	snap, err := a.opt.Store.Load(ctx)
	return err == nil && sess != nil && slices.ContainsFunc(snap.Keys, func(kv dcs.KV) bool { return kv.Key == key && kv.Session == sess.ID() })
}

func (a *Agent) writeInitialize(ctx context.Context, s step) error {
	if err := a.put(ctx, layout.KeyInitialize, s.SystemID, dcs.Unchanged(s.Version)); err != nil {
		return err
	}
	return a.dropOwner(ctx, s)
}

func (a *Agent) releaseInitialize(ctx context.Context, s step) error {
	if err := a.opt.Store.Delete(ctx, layout.KeyInitialize, dcs.Unchanged(s.Version)); err != nil {
		return err
	}
	return a.dropOwner(ctx, s)
}

// dropOwner removes the leased owner of the bootstrap claim if it is ours.
func (a *Agent) dropOwner(ctx context.Context, s step) error {
	sess := a.opt.Keeper.Session()
	if sess == nil || s.o.Store.View.Initialize.Owner != a.opt.Name {
		return nil
	}
	if err := sess.Delete(ctx, layout.KeyInitializeOwner); err != nil && !errors.Is(err, dcs.ErrConflict) {
		return err
	}
	return nil
}

// writeConfig stores the configuration in force where there is none, or one
// that is no configuration at all.
func (a *Agent) writeConfig(ctx context.Context, was cluster.Config) error {
	json := a.config.json
	if json == "" {
		json = a.opt.InitialConfig
	}
	if json == "" {
		json = "{}"
	}
	if was.Version != "" {
		a.log.Warn("the key config holds no JSON object; writing the configuration in force over it")
	}
	if err := a.put(ctx, layout.KeyConfig, json, dcs.Unchanged(was.Version)); err != nil && !errors.Is(err, dcs.ErrConflict) {
		return err
	}
	return nil
}

// withClaim adds a claim to the register, or replaces the one of its timeline.
func withClaim(t cluster.Timelines, c cluster.TimelineClaim) cluster.Timelines {
	claims := slices.DeleteFunc(slices.Clone(t.Claims), func(o cluster.TimelineClaim) bool { return o.Timeline == c.Timeline })
	claims = append(claims, c)
	slices.SortFunc(claims, func(a, b cluster.TimelineClaim) int { return int(a.Timeline) - int(b.Timeline) })
	return cluster.Timelines{Claims: claims}
}
