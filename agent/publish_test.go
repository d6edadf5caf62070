package agent

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/dcs/memory"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/postgres"
	"github.com/matriarch-ha/matriarch/postgres/control"
	"github.com/matriarch-ha/matriarch/wal"
)

// countPuts counts the writes per key from now on.
func (r *rig) countPuts() (count func(key string) int) {
	var mu sync.Mutex
	puts := map[string]int{}
	r.store.SetHook(func(c memory.Call) memory.Fault {
		mu.Lock()
		defer mu.Unlock()
		if c.Op == memory.OpPut {
			puts[c.Key]++
		}
		return memory.FaultNone
	})
	return func(key string) int {
		mu.Lock()
		defer mu.Unlock()
		n := puts[key]
		puts[key] = 0
		return n
	}
}

func (r *rig) publish() {
	r.agent.viewer.refresh(r.t.Context())
	r.agent.publish(r.t.Context(), r.agent.observe(r.t.Context()), ha.Decision{})
}

func TestMemberIsPublishedAtOnceOrNowAndThen(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		puts := r.countPuts()
		f := standby()
		r.pg.set(f)
		r.publish()
		r.publish()
		if n := puts("members/a"); n != 1 {
			t.Fatalf("unchanged, and written %d times", n)
		}
		for range 9 { // it streams: positions move all the time
			time.Sleep(time.Second)
			f.Position.LSN++
			r.pg.set(f)
			r.publish()
		}
		if n := puts("members/a"); n != 0 {
			t.Errorf("written %d times within loop_wait for its position", n)
		}
		time.Sleep(time.Second)
		r.publish()
		if m, _ := r.view().Member("a"); puts("members/a") != 1 || m.XLog != f.Position.LSN {
			t.Errorf("not written after loop_wait: %+v", m)
		}
		r.pg.set(stopped(control.ShutDown))
		r.publish()
		if m, _ := r.view().Member("a"); puts("members/a") != 1 || m.State != cluster.StateStopped {
			t.Errorf("a change that others decide on was not written at once: %+v", m)
		}
		// Somebody deleted it.
		r.server.Do(func(c *memory.Core) { c.DeleteAll() })
		r.publish()
		if puts("members/a") != 1 {
			t.Error("not written again after it was deleted")
		}
	})
}

func TestStatusEarlyWhenMuchWasWritten(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		r.pg.set(stopped(control.ShutDown))
		r.act(ha.Action{Kind: ha.TakeLeader})
		f := primary()
		puts := r.countPuts()
		wrote := func(more uint64) int {
			f.Position.LSN += wal.LSN(more)
			r.pg.set(f)
			r.agent.viewer.refresh(t.Context())
			r.act(ha.Action{Kind: ha.PublishStatus})
			return puts("status")
		}
		if wrote(0) != 1 || r.view().Status.Optime != f.Position.LSN {
			t.Error("not written at first")
		}
		if wrote(0) != 0 || wrote(1000) != 0 {
			t.Error("written again at once for little")
		}
		// Half of what a failover may lose is a lot.
		if wrote(cluster.DefaultSettings().MaxLagOnFailover/2) != 1 || r.view().Status.Optime != f.Position.LSN {
			t.Error("not written although much was")
		}
		// A person's candidate is far behind what was published.
		f.Position.LSN -= wal.LSN(cluster.DefaultSettings().MaxLagOnFailover)
		if wrote(0) != 1 || r.view().Status.Optime != f.Position.LSN {
			t.Error("not written although much was given up")
		}
		time.Sleep(10 * time.Second)
		if wrote(1) != 1 {
			t.Error("not written after loop_wait")
		}
		r.store.Cut(true)
		time.Sleep(29 * time.Second)
		r.store.Cut(false)
		synctest.Wait()
		if wrote(1<<30) != 0 {
			t.Error("written without a live lease")
		}
	})
}

// A leader that was stopped, and whose lease ended meanwhile, goes on with what it
// knew: its successor's position stands.
func TestStatusOfAFormerLeaderIsRefused(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		r.pg.set(stopped(control.ShutDown))
		r.act(ha.Action{Kind: ha.TakeLeader})
		r.pg.set(primary())
		r.agent.viewer.refresh(t.Context())
		old := r.agent.observe(t.Context())
		successor := layout.EncodeStatus(cluster.Status{Optime: 7})
		if _, err := r.store.Put(t.Context(), layout.KeyStatus, successor, dcs.Always()); err != nil {
			t.Fatal(err)
		}
		if err := r.agent.publishStatus(t.Context(), old, 0); !errors.Is(err, dcs.ErrConflict) {
			t.Errorf("published all the same: %v", err)
		}
		if got := r.view().Status.Optime; got != 7 {
			t.Errorf("the successor's position is gone: %d", got)
		}
		r.agent.viewer.refresh(t.Context())
		if err := r.agent.publishStatus(t.Context(), r.agent.observe(t.Context()), 0); err != nil {
			t.Errorf("with a newer view: %v", err)
		}
	})
}

// Who is about to be promoted writes the published position again, though it is not
// as far: what the former leader still sends is refused from then on, the position is
// not lowered, and the slots that the former leader kept stay listed.
func TestStatusBeforeAPromotion(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		r.pg.set(standby())
		former := layout.EncodeStatus(cluster.Status{Optime: 1 << 40,
			Slots: []cluster.SlotState{{Name: "c", LSN: 9}}, Retain: []string{"c"}})
		if _, err := r.store.Put(t.Context(), layout.KeyStatus, former, dcs.Always()); err != nil {
			t.Fatal(err)
		}
		r.act(ha.Action{Kind: ha.TakeLeader})
		r.agent.viewer.refresh(t.Context())
		var before cluster.Status
		for range 2 { // the second is no repetition that could be left out
			before = r.view().Status
			r.agent.viewer.refresh(t.Context())
			if err := r.agent.publishStatus(t.Context(), r.agent.observe(t.Context()), before.Optime); err != nil {
				t.Fatal(err)
			}
		}
		if now := r.view().Status; now.Optime != 1<<40 || now.Version == before.Version || len(now.Slots) != 1 || len(now.Retain) != 1 || now.Retain[0] != "c" {
			t.Errorf("%+v was made of %+v", now, before)
		}
		if _, err := r.store.Put(t.Context(), layout.KeyStatus, former, dcs.Unchanged(before.Version)); !errors.Is(err, dcs.ErrConflict) {
			t.Errorf("what the former leader sent late was written: %v", err)
		}
	})
}

func TestStateAndRoleAsPublished(t *testing.T) {
	obs := func(f postgres.Facts, task ha.ActionKind) (o ha.Observation) {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			r.pg.set(f)
			o = r.agent.observe(t.Context())
			o.Task.Kind = task
		})
		return o
	}
	for _, c := range []struct {
		facts postgres.Facts
		task  ha.ActionKind
		state cluster.State
		role  cluster.Role
	}{
		{primary(), "", cluster.StateRunning, cluster.RolePrimary},
		{standby(), "", cluster.StateRunning, cluster.RoleReplica},
		{standby(), ha.Promote, cluster.StateRunning, cluster.RolePromoted},
		{primary(), ha.Stop, cluster.StateStopping, cluster.RolePrimary},
		{stopped(control.ShutDown), "", cluster.StateStopped, cluster.RoleDemoted},
		{stopped(control.ShutDownRecovery), "", cluster.StateStopped, cluster.RoleReplica},
		{stopped(control.InProduction), "", cluster.StateCrashed, cluster.RoleDemoted},
		{postgres.Facts{Dir: postgres.DirEmpty, Process: postgres.ProcStopped}, ha.Clone, cluster.StateCreatingReplica, cluster.RoleUninitialized},
		{postgres.Facts{Dir: postgres.DirBootstrapping, Process: postgres.ProcRunning}, ha.Bootstrap, cluster.StateInitializing, cluster.RoleUninitialized},
	} {
		o := obs(c.facts, c.task)
		if state, role := stateOf(o, ha.Memory{}), roleOf(o, ha.Memory{}); state != c.state || role != c.role {
			t.Errorf("%s %s, task %q: published as %s %s, want %s %s", c.facts.Process, c.facts.Role, c.task, state, role, c.state, c.role)
		}
	}
	// What a person asked for has its own words.
	o := obs(stopped(control.ShutDown), "")
	restarting := ha.Memory{Restart: ha.Restarting{Begun: 1}}
	if state, role := stateOf(o, restarting), roleOf(o, restarting); state != cluster.StateRestarting || role != cluster.RolePrimary {
		t.Errorf("a primary that is restarted: published as %s %s", state, role)
	}
	if state := stateOf(obs(standby(), ha.Stop), ha.Memory{Reinit: ha.Reiniting{Begun: 1}}); state != cluster.StateCreatingReplica {
		t.Errorf("a replica that is reinitialized: published as %s", state)
	}
	// Between the end of a copy and the start on it, nothing has crashed.
	for last, want := range map[ha.TaskResult]cluster.State{
		{Kind: ha.Clone}:                     cluster.StateCreatingReplica,
		{Kind: ha.Rewind}:                    cluster.StateStopped,
		{Kind: ha.Clone, Error: "no room"}:   cluster.StateCrashed,
		{Kind: ha.Rewind, Error: "no WAL"}:   cluster.StateCrashed,
		{Kind: ha.StartReplica}:              cluster.StateCrashed,
		{Kind: ha.StartReplica, Error: "no"}: cluster.StateStartFailed,
	} {
		o := obs(stopped(control.InProduction), "")
		o.Task.Last = last
		if state := stateOf(o, ha.Memory{}); state != want {
			t.Errorf("after %+v: published as %s, want %s", last, state, want)
		}
	}
}
