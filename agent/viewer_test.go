package agent

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/memory"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

func TestWhatMatters(t *testing.T) {
	base := func() cluster.View {
		return cluster.View{Revision: 5, Leader: cluster.Leader{Name: "b", Session: "1"}, Status: cluster.Status{Optime: 1},
			Members: []cluster.Member{{Name: "a", XLog: 1}, {Name: "b", XLog: 1, Timeline: 2}}}
	}
	for what, c := range map[string]struct {
		edit    func(*cluster.View)
		matters bool
	}{
		"nothing":             {func(v *cluster.View) {}, false},
		"a write":             {func(v *cluster.View) { v.Revision = 9 }, false},
		"the status":          {func(v *cluster.View) { v.Status.Optime = wal.LSN(7) }, false},
		"a position":          {func(v *cluster.View) { v.Members[1].XLog, v.Members[1].Replayed = 7, 7 }, false},
		"own key":             {func(v *cluster.View) { v.Members[0].State = cluster.StateRunning }, false},
		"another's state":     {func(v *cluster.View) { v.Members[1].State = cluster.StateRunning }, true},
		"another's timeline":  {func(v *cluster.View) { v.Members[1].Timeline = 3 }, true},
		"a member gone":       {func(v *cluster.View) { v.Members = v.Members[:1] }, true},
		"the leader":          {func(v *cluster.View) { v.Leader = cluster.Leader{} }, true},
		"the leader's lease":  {func(v *cluster.View) { v.Leader.Session = "2" }, true},
		"a request":           {func(v *cluster.View) { v.Failover.Candidate = "a" }, true},
		"the configuration":   {func(v *cluster.View) { v.Config.JSON = "{}" }, true},
		"a synchronous name":  {func(v *cluster.View) { v.Sync.Standbys = []string{"a"} }, true},
		"a claimed timeline":  {func(v *cluster.View) { v.Timelines.Claims = []cluster.TimelineClaim{{Timeline: 3}} }, true},
		"the database system": {func(v *cluster.View) { v.Initialize.SystemID = "1" }, true},
	} {
		v := base()
		c.edit(&v)
		if got := matters(base(), v, "a"); got != c.matters {
			t.Errorf("%s matters: %v", what, got)
		}
	}
}

func (r *rig) newSince() bool { return !r.agent.viewer.current("").NewSince.IsZero() }

func TestReplacedStoreIsNoticed(t *testing.T) {
	for what, damage := range map[string]func(*memory.Core, memory.Backup){
		"replaced": func(c *memory.Core, _ memory.Backup) { c.Replace("other") },
		"restored": func(c *memory.Core, b memory.Backup) { c.Restore(b) },
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				var b memory.Backup
				r.server.Do(func(c *memory.Core) { b = c.Backup() })
				r.put("config", "{}")
				r.put("history", "[]")
				r.start()
				if r.newSince() {
					t.Fatal("new at first sight")
				}
				r.server.Do(func(c *memory.Core) { damage(c, b) })
				r.until("the new store to be noticed", r.newSince)
			})
		})
	}
}

// In a store that is another one than before nobody is promoted for a full ttl,
// although nobody holds the lease there; then somebody is.
func TestNobodyLeadsInANewStoreForATTL(t *testing.T) {
	for what, damage := range map[string]func(*memory.Core, memory.Backup){
		"replaced": func(c *memory.Core, _ memory.Backup) { c.Replace("other") },
		"restored": func(c *memory.Core, b memory.Backup) { c.Restore(b) },
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				r.put("initialize", "4711")
				r.put("config", "{}")
				var b memory.Backup
				r.server.Do(func(c *memory.Core) { b = c.Backup() })
				r.lead("b")
				r.pg.set(standby())
				r.start()
				r.until("the leader to be followed", func() bool { return r.pg.called("follow") > 0 })
				r.server.Do(func(c *memory.Core) {
					damage(c, b)
					if what == "replaced" { // and filled again, without a leader
						_, _ = c.Put("", "initialize", "4711", dcs.Always())
						_, _ = c.Put("", "config", "{}", dcs.Always())
					}
				})
				since := time.Now()
				r.until("the new store to be noticed", r.newSince)
				synctest.Wait()
				early := newRig(t, r.server, r.clock, r.agent.opt.StateDir, nil)
				if early.agent.viewer.refresh(t.Context()); !early.newSince() {
					t.Error("an agent that is started meanwhile does not wait")
				}
				r.until("the lease", func() bool { return r.agent.Lease().Held })
				synctest.Wait()
				late := newRig(t, r.server, r.clock, r.agent.opt.StateDir, nil)
				if late.agent.viewer.refresh(t.Context()); late.newSince() {
					t.Error("an agent that is started a ttl later waits again")
				}
				if waited := time.Since(since); waited < 30*time.Second {
					t.Errorf("led %v after the store was %s", waited, what)
				}
			})
		})
	}
}

// The session may know a new store before the view does: nothing is taken there.
func TestNothingIsTakenInAStoreThatIsNotSeenYet(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.put("config", "{}")
		r.startKeeper()
		r.pg.set(standby())
		r.agent.viewer.refresh(t.Context())
		former := r.agent.opt.Keeper.State().Session
		r.server.Do(func(c *memory.Core) { c.Replace("other") })
		r.until("a session in the new store", func() bool {
			now := r.agent.opt.Keeper.State().Session
			return now != former && now != ""
		})
		if ok, _ := r.act(ha.Action{Kind: ha.TakeLeader}); ok || r.view().Leader.Held() {
			t.Error("the lease was taken on the word of the former store's view")
		}
		if !r.newSince() {
			t.Error("the new store was not noticed")
		}
	})
}

// An agent that restarts must not take a replaced store for the one it knew,
// however often it does so while a lease may be held elsewhere.
func TestReplacedStoreIsNoticedAcrossRestarts(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.put("config", "{}")
		r.agent.viewer.refresh(t.Context())
		synctest.Wait() // until it is saved
		r.server.Do(func(c *memory.Core) { c.Replace("other") })
		for range 3 {
			again := newRig(t, r.server, r.clock, r.agent.opt.StateDir, nil)
			again.agent.viewer.refresh(t.Context())
			if !again.newSince() {
				t.Fatal("not noticed after a restart")
			}
			time.Sleep(20 * time.Second)
		}
		last := newRig(t, r.server, r.clock, r.agent.opt.StateDir, nil)
		last.agent.viewer.refresh(t.Context())
		last.agent.viewer.learned(last.agent.viewer.current(""), 30*time.Second, true) // a ttl later
		synctest.Wait()
		again := newRig(t, r.server, r.clock, r.agent.opt.StateDir, nil)
		if again.agent.viewer.refresh(t.Context()); again.newSince() {
			t.Error("still new after a long time")
		}
	})
}

// What is on disk may be older than what the store goes back to: an agent that saw
// it go back, and restarts, notices all the same.
func TestRestoredStoreIsNoticedAcrossRestarts(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.put("config", "{}")
		r.agent.viewer.refresh(t.Context())
		synctest.Wait() // until it is saved
		r.put("history", "[]")
		var b memory.Backup
		r.server.Do(func(c *memory.Core) { b = c.Backup() })
		r.put("history", "[1]")
		r.agent.viewer.refresh(t.Context())
		r.server.Do(func(c *memory.Core) { c.Restore(b) })
		r.agent.viewer.refresh(t.Context())
		if !r.newSince() {
			t.Fatal("not noticed")
		}
		synctest.Wait()
		again := newRig(t, r.server, r.clock, r.agent.opt.StateDir, nil)
		if again.agent.viewer.refresh(t.Context()); !again.newSince() {
			t.Error("not noticed after a restart")
		}
	})
}

// A reading that was under way while the store went back looks like another loss of
// it. What was noted at the first one must outlast that: an agent that is started
// then has to wait as well. A turn that began before says nothing of this store.
func TestSecondLossDoesNotMakeTheFirstForgotten(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.put("config", "{}")
		r.agent.viewer.refresh(t.Context())
		before := r.agent.viewer.current("")
		var b memory.Backup
		r.server.Do(func(c *memory.Core) { b = c.Backup() })
		for range 5 {
			r.put("history", "[]")
		}
		r.agent.viewer.refresh(t.Context())
		r.server.Do(func(c *memory.Core) { c.Restore(b) })
		r.agent.viewer.refresh(t.Context())
		overtaken, err := r.agent.opt.Store.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.put("status", "{}")
		r.agent.viewer.refresh(t.Context())
		r.agent.viewer.take(overtaken, before.View.Revision+5)
		r.agent.viewer.learned(before, 30*time.Second, true)
		synctest.Wait()
		again := newRig(t, r.server, r.clock, r.agent.opt.StateDir, nil)
		if again.agent.viewer.refresh(t.Context()); !again.newSince() {
			t.Error("taken for the store that was known, after a restart")
		}
	})
}

// A restored store that was written to before anybody looks may be ahead of all that
// was known: ZooKeeper's numbers leap at each election. The keys that were not
// written again tell, now and after a restart of the agent.
func TestRestoredStoreThatIsAheadIsNoticed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.put("config", "{}")
		var b memory.Backup
		r.server.Do(func(c *memory.Core) { b = c.Backup() })
		r.put("config", `{"ttl":20}`)
		r.agent.viewer.refresh(t.Context())
		synctest.Wait() // until it is saved
		before, _ := r.agent.Seen()
		r.server.Do(func(c *memory.Core) {
			c.Restore(b)
			c.Leap(1 << 32)
			_, _ = c.Put("", "status", "{}", dcs.Always())
		})
		again := newRig(t, r.server, r.clock, r.agent.opt.StateDir, nil)
		for what, x := range map[string]*rig{"by the agent that runs": r, "by one that starts": again} {
			x.agent.viewer.refresh(t.Context())
			if view, _ := x.agent.Seen(); !x.newSince() || view.Revision <= before.Revision {
				t.Errorf("%s: noticed %t, at revision %d after %d", what, x.newSince(), view.Revision, before.Revision)
			}
		}
	})
}

// What leads to a promotion is noted at once, not a minute later: the agent may be
// restarted before.
func TestLeaderIsNotedAtOnce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.put("config", "{}")
		r.agent.viewer.refresh(t.Context())
		synctest.Wait() // until it is saved
		var b memory.Backup
		r.server.Do(func(c *memory.Core) { b = c.Backup() })
		r.lead("b")
		r.agent.viewer.refresh(t.Context())
		synctest.Wait()
		r.server.Do(func(c *memory.Core) { c.Restore(b) })
		again := newRig(t, r.server, r.clock, r.agent.opt.StateDir, nil)
		if again.agent.viewer.refresh(t.Context()); !again.newSince() {
			t.Error("not noticed after a restart")
		}
	})
}

// A ZooKeeper in which nothing was written yet has no identity: it is another store
// than one that had one, and the one that it gets is no news to a new cluster.
func TestEmptyStoreIsNoticed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.put("config", "{}")
		r.agent.viewer.refresh(t.Context())
		synctest.Wait() // until it is saved
		r.server.Do(func(c *memory.Core) { c.Replace("") })
		again := newRig(t, r.server, r.clock, r.agent.opt.StateDir, nil)
		for what, x := range map[string]*rig{"by the agent that runs": r, "by one that starts": again} {
			if x.agent.viewer.refresh(t.Context()); !x.newSince() {
				t.Errorf("not noticed %s", what)
			}
		}
		r.server.Do(func(c *memory.Core) { c.Replace("its own") })
		last := newRig(t, r.server, r.clock, r.agent.opt.StateDir, nil)
		if last.agent.viewer.refresh(t.Context()); !last.newSince() {
			t.Error("not noticed once it has an identity")
		}
		fresh := newRig(t, memory.NewServer(r.clock), r.clock, t.TempDir(), nil)
		fresh.server.Do(func(c *memory.Core) { c.Replace("") })
		fresh.agent.viewer.refresh(t.Context())
		fresh.server.Do(func(c *memory.Core) { c.Replace("its own") })
		if fresh.agent.viewer.refresh(t.Context()); fresh.newSince() {
			t.Error("a new cluster's store is another one than before")
		}
	})
}

// A member that has data and no note of their store waits for a ttl, again when its
// agent is restarted meanwhile, and not when it is restarted afterwards.
func TestDataWithoutANoteOfTheirStore(t *testing.T) {
	for what, damage := range map[string]func(path string) error{
		"lost":   os.Remove,
		"broken": func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				if err := damage(r.agent.viewer.path()); err != nil {
					t.Fatal(err)
				}
				r.put("initialize", "4711")
				r.put("config", "{}")
				r.pg.set(standby())
				r.start()
				time.Sleep(20 * time.Second)
				r.end()
				if r.view().Leader.Held() {
					t.Fatal("it led at once")
				}
				again := newRig(t, r.server, r.clock, r.agent.opt.StateDir, nil)
				again.pg.set(standby())
				since := time.Now()
				again.start()
				again.until("the primary", again.leads)
				if waited := time.Since(since); waited < 30*time.Second {
					t.Errorf("it led after %v", waited)
				}
				again.end()
				last := newRig(t, r.server, r.clock, r.agent.opt.StateDir, nil)
				last.agent.viewer.refresh(t.Context())
				if s := last.agent.viewer.current(""); !s.FirstSeen.IsZero() || !s.NewSince.IsZero() {
					t.Errorf("once it has waited it knows its store, and does not: %v %v", s.FirstSeen, s.NewSince)
				}
			})
		})
	}
}

// Who has no data and no note makes a database at once, and knows its store from
// then on.
func TestNoDataAndNoNote(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		if err := os.Remove(r.agent.viewer.path()); err != nil {
			t.Fatal(err)
		}
		since := time.Now()
		r.start()
		r.until("the primary", r.leads)
		if waited := time.Since(since); waited >= 30*time.Second {
			t.Errorf("a new cluster waited %v", waited)
		}
		r.end()
		again := newRig(t, r.server, r.clock, r.agent.opt.StateDir, nil)
		again.agent.viewer.refresh(t.Context())
		if s := again.agent.viewer.current(""); !s.FirstSeen.IsZero() || !s.NewSince.IsZero() {
			t.Errorf("its store is not known after a restart: %v %v", s.FirstSeen, s.NewSince)
		}
	})
}

// slowLoad answers with what was true when the question came.
type slowLoad struct {
	dcs.Store
	delay time.Duration
}

func (s *slowLoad) Load(ctx context.Context) (dcs.Snapshot, error) {
	snap, err := s.Store.Load(ctx)
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
		return dcs.Snapshot{}, ctx.Err()
	}
	return snap, err
}

// A slow reading that the watch overtook is dropped: it is neither a store that
// went back in time nor the newest view.
func TestOvertakenReading(t *testing.T) {
	slow := &slowLoad{delay: time.Second}
	inBubble(t, func(o *Options) { slow.Store, o.Store = o.Store, slow }, func(t *testing.T, r *rig) {
		r.start()
		r.put("config", "{}")
		go r.agent.viewer.refresh(t.Context())
		synctest.Wait()
		r.put("history", "[]")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		view, _ := r.agent.Seen()
		if r.newSince() || !view.History.Present || view.Revision != r.view().Revision {
			t.Errorf("new %v, revision %d of %d", r.newSince(), view.Revision, r.view().Revision)
		}
	})
}

func TestStoreThatDoesNotAnswer(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.start()
		r.store.Cut(true)
		r.until("the outage to be seen", func() bool { return !r.agent.viewer.current("").Reachable })
		r.store.Cut(false)
		r.until("the end of the outage to be seen", func() bool { return r.agent.viewer.current("").Reachable })
		if r.newSince() {
			t.Error("an outage counts as another store")
		}
		if s := r.agent.viewer.current("renewals fail"); s.Reachable {
			t.Error("reachable although the keeper says otherwise")
		}
	})
}

// deafLoad fails readings while the watch goes on and has nothing to tell.
type deafLoad struct {
	dcs.Store
	deaf atomic.Bool
}

func (s *deafLoad) Load(ctx context.Context) (dcs.Snapshot, error) {
	if s.deaf.Load() {
		return dcs.Snapshot{}, dcs.ErrUnavailable
	}
	return s.Store.Load(ctx)
}

// A reading that fails is tried again: the watch has no reason to say anything
// when the store is back and nothing has changed, and nobody changes anything as
// long as the store counts as lost.
func TestFailedReadingIsTriedAgain(t *testing.T) {
	deaf := &deafLoad{}
	inBubble(t, func(o *Options) { deaf.Store, o.Store = o.Store, deaf }, func(t *testing.T, r *rig) {
		r.put("initialize", "4711")
		r.put("config", "{}")
		r.pg.set(standby())
		r.lead("b")
		r.start()
		r.until("the leader to be followed", func() bool { return r.pg.called("follow") > 0 })
		deaf.deaf.Store(true)
		r.server.Do(func(c *memory.Core) {
			for _, kv := range c.Snapshot().Keys {
				if kv.Key == "leader" {
					c.EndSession(kv.Session)
				}
			}
		})
		time.Sleep(5 * time.Second)
		deaf.deaf.Store(false)
		r.until("the primary", r.leads)
	})
}

// How long a lease may be in force is kept beside the store's identity, and an agent
// that restarts knows of the longer one also where the store has gone back meanwhile.
func TestLongestLeaseIsKnownAcrossRestarts(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.put("config", "{}")
		r.agent.viewer.refresh(t.Context())
		r.agent.viewer.learned(r.agent.viewer.current(""), 20*time.Second, true)
		synctest.Wait() // until it is saved
		r.server.Do(func(c *memory.Core) { c.Replace("other") })
		for range 2 {
			again := newRig(t, r.server, r.clock, r.agent.opt.StateDir, nil)
			again.agent.viewer.refresh(t.Context())
			if got := again.agent.viewer.current("").LongestTTL; got != 20*time.Second || !again.newSince() {
				t.Fatalf("after a restart: longest ttl %s, new %t", got, again.newSince())
			}
			again.agent.viewer.learned(ha.Store{}, 0, false) // of a turn that began before that reading
			synctest.Wait()
		}
	})
}
