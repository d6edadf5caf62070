package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/memory"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/postgres"
	"github.com/matriarch-ha/matriarch/postgres/control"
)

func TestActionsInOrderAndNoneAfterAFailureButAFence(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		r.pg.set(standby())
		if ok, _ := r.act(ha.Action{Kind: ha.StopReceiver}, ha.Action{Kind: ha.KeepSlots}, ha.Action{Kind: ha.Follow}); !ok {
			t.Error("not all went well")
		}
		r.want("stop-receiver", "slots", "follow")

		r.pg.hook("slots", func(context.Context) error { return errBroken })
		ok, exit := r.act(ha.Action{Kind: ha.KeepSlots}, ha.Action{Kind: ha.Follow}, ha.Action{Kind: ha.Stop},
			ha.Action{Kind: ha.Fence}, ha.Action{Kind: ha.AcceptRewind}, ha.Action{Kind: ha.Exit})
		if ok || exit != nil {
			t.Errorf("ok %v, exit %v after a failure", ok, exit)
		}
		r.want("apply", "slots", "kill", "kill", "mark-standby") // the server that runs gets its configuration first
	})
}

// Slots that cannot be kept, for want of room for one, say, leave the position known;
// what a promotion relies on does not.
func TestStatusIsPublishedWithoutSlots(t *testing.T) {
	for what, published := range map[ha.ActionKind]bool{ha.KeepSlots: true, ha.StopReceiver: false} {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			r.startKeeper()
			r.pg.set(standby())
			if ok, _ := r.act(ha.Action{Kind: ha.TakeLeader}); !ok {
				t.Fatal("no lease")
			}
			r.pg.set(primary())
			broken := map[ha.ActionKind]string{ha.KeepSlots: "slots", ha.StopReceiver: "stop-receiver"}[what]
			r.pg.hook(broken, func(context.Context) error { return errBroken })
			if ok, _ := r.act(ha.Action{Kind: what}, ha.Action{Kind: ha.PublishStatus}, ha.Action{Kind: ha.Checkpoint}); ok {
				t.Errorf("%s failed and all went well", what)
			}
			if got := r.view().Status.Optime > 0; got != published {
				t.Errorf("%s failed: the status is published: %t, want %t", what, got, published)
			}
			if synctest.Wait(); r.pg.called("checkpoint") > 0 {
				t.Errorf("%s failed, and what comes after it was done", what)
			}
		})
	}
}

func TestActionOfAnotherSessionIsRefused(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		r.pg.set(standby())
		if ok, _ := r.act(ha.Action{Kind: ha.TakeLeader, Session: "of yesterday"}); ok || r.view().Leader.Held() {
			t.Error("the lease was taken under a session that is not ours")
		}
	})
}

func TestNothingWritableBeginsWithoutALiveLease(t *testing.T) {
	for _, kind := range []ha.ActionKind{ha.Promote, ha.StartPrimary} {
		t.Run(string(kind), func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				r.startKeeper()
				r.pg.set(standby())
				ok, _ := r.act(ha.Action{Kind: kind, Timeline: 2})
				synctest.Wait()
				if ok {
					t.Error("begun")
				}
				r.want()
			})
		})
	}
}

// The store falls silent while the promotion is in progress: its context must
// end at the soft deadline, not when the loop finds time.
func TestPromotionEndsWithTheLease(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		r.pg.set(standby())
		var ended error
		r.pg.hook("promote", func(ctx context.Context) error {
			<-ctx.Done()
			ended = context.Cause(ctx)
			return ended
		})
		if ok, _ := r.act(ha.Action{Kind: ha.TakeLeader}, ha.Action{Kind: ha.Promote, Timeline: 2}); !ok {
			t.Fatal("not begun")
		}
		r.store.Cut(true)
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if ended == nil || r.agent.task.current().Kind != "" {
			t.Errorf("the promotion goes on without a lease: %+v", r.agent.task.current())
		}
	})
}

// The session of a lost lease is given up when nothing of the server runs, and
// nothing is under way that could start it: a proof, not the postmaster's absence.
func TestLostSessionIsGivenUpByProof(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		r.pg.set(primary())
		if ok, _ := r.act(ha.Action{Kind: ha.TakeLeader}); !ok {
			t.Fatal("not taken")
		}
		r.store.Cut(true)
		time.Sleep(29 * time.Second)
		synctest.Wait()
		kept := func(want bool, when string) {
			t.Helper()
			r.agent.observe(t.Context())
			if got := r.agent.Lease().Lost; got != want {
				t.Errorf("%s: the session is kept: %t", when, got)
			}
		}
		kept(true, "the server runs")
		r.pg.set(stopped(control.InProduction))
		r.pg.hook("kill", func(context.Context) error { return errBroken })
		kept(true, "a backend has outlived its postmaster")
		r.pg.hook("kill", nil)
		release := make(chan struct{})
		if err := r.agent.task.begin(t.Context(), ha.StartPrimary, func(context.Context, func(string)) error { <-release; return nil }); err != nil {
			t.Fatal(err)
		}
		kept(true, "a start is under way")
		close(release)
		synctest.Wait()
		kept(false, "nothing runs")
	})
}

func TestReleaseIsRefusedWhileTheServerWrites(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		r.pg.set(stopped(control.ShutDown))
		if ok, _ := r.act(ha.Action{Kind: ha.TakeLeader}); !ok {
			t.Fatal("not taken")
		}
		for _, p := range []postgres.ProcState{postgres.ProcRunning, postgres.ProcStarting, postgres.ProcStopping} {
			// The decision saw a stopped server; by now it is a primary.
			o := r.agent.observe(t.Context())
			f := primary()
			f.Process = p
			r.pg.set(f)
			if _, ok, _ := r.agent.execute(t.Context(), o, ha.Decision{Actions: []ha.Action{{Kind: ha.ReleaseLeader}}}); ok || !r.view().Leader.Held() {
				t.Errorf("released while the server is %s as primary", p)
			}
		}
		r.pg.set(stopped(control.ShutDown))
		h := cluster.Handover{Leader: "a", Timeline: 1, LSN: 0x3000028}
		if ok, _ := r.act(ha.Action{Kind: ha.ReleaseLeader, Handover: h}); !ok || r.view().Leader.Held() || r.view().Handover.LSN != h.LSN {
			t.Errorf("not released: %+v", r.view().Handover)
		}
	})
}

// What the next leader must have is recorded before the key goes, or the key
// stays.
func TestNoReleaseWithoutTheRecordOfWhatTheNextMustHave(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		r.pg.set(stopped(control.ShutDown))
		r.act(ha.Action{Kind: ha.TakeLeader})
		r.store.SetHook(func(c memory.Call) memory.Fault {
			if c.Key == "handover" {
				return memory.FaultUnavailable
			}
			return memory.FaultNone
		})
		if ok, _ := r.act(ha.Action{Kind: ha.ReleaseLeader, Handover: cluster.Handover{Leader: "a", LSN: 1}}); ok || !r.view().Leader.Held() {
			t.Error("released without the record")
		}
	})
}

func TestFenceReleasesWhatIsLeftOfTheLease(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		r.pg.set(primary())
		r.act(ha.Action{Kind: ha.TakeLeader}, ha.Action{Kind: ha.Fence})
		r.want("kill", "kill", "mark-standby")
		if r.view().Leader.Held() {
			t.Error("the lease was kept")
		}
	})
}

// A task that hangs on a disk may start the server after the kill: until it has
// ended the guard stays armed and nobody else may lead.
func TestFenceKeepsTheLeaseWhileATaskMayStartTheServer(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		go r.agent.guards.run(t.Context())
		r.startKeeper()
		r.pg.set(stopped(control.InProduction))
		disk := make(chan struct{})
		r.pg.hook("start-primary", func(context.Context) error { <-disk; return nil })
		r.act(ha.Action{Kind: ha.TakeLeader}, ha.Action{Kind: ha.StartPrimary})
		if ok, _ := r.act(ha.Action{Kind: ha.Fence}); ok || !r.view().Leader.Held() || !r.guard().isArmed() {
			t.Errorf("ok %v, lease held %v, guard armed %v", ok, r.view().Leader.Held(), r.guard().isArmed())
		}
		close(disk)
		synctest.Wait()
		if ok, _ := r.act(ha.Action{Kind: ha.Fence}); !ok || r.view().Leader.Held() || r.guard().isArmed() {
			t.Error("not fenced after the task has ended")
		}
		if f := r.pg.Observe(t.Context()); f.Process != postgres.ProcStopped {
			t.Error("the server survived the fence")
		}
	})
}

func TestFenceWithoutProofKeepsTheLease(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		r.pg.set(primary())
		r.act(ha.Action{Kind: ha.TakeLeader})
		r.pg.hook("kill", func(context.Context) error { return errBroken })
		if ok, _ := r.act(ha.Action{Kind: ha.Fence}); ok || !r.view().Leader.Held() {
			t.Error("released without a proof that the server is dead")
		}
	})
}

func TestStartReplicaDisarmsTheGuardFirst(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		go r.agent.guards.run(t.Context())
		r.startKeeper()
		r.pg.set(stopped(control.ShutDown))
		mute := r.guard()
		mute.breaks(errBroken)
		r.act(ha.Action{Kind: ha.StartReplica})
		synctest.Wait()
		r.want() // an armed guard could meet the replica
		mute.breaks(nil)
		r.act(ha.Action{Kind: ha.StartReplica})
		synctest.Wait()
		r.want("start-standby")
		if mute.disarmed+r.guard().disarmed == 0 {
			t.Error("the guard was not disarmed")
		}
	})
}

func TestExitEndsTheSessionOnlyWithoutALease(t *testing.T) {
	for _, leads := range []bool{false, true} {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			r.startKeeper()
			r.pg.set(standby())
			if _, err := r.agent.opt.Keeper.PutOwned(t.Context(), "members/a", "{}", dcs.Always()); err != nil {
				t.Fatal(err)
			}
			if leads {
				r.act(ha.Action{Kind: ha.TakeLeader})
			}
			r.agent.finish(&ErrExit{Code: 0})
			if there := len(r.view().Members) == 1; there != leads {
				t.Errorf("leads %v, session kept %v", leads, there)
			}
		})
	}
}

func TestClaimOfTheBootstrap(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		claim := ha.Action{Kind: ha.ClaimInitialize}
		r.put("initialize", "")
		if ok, _ := r.act(claim); ok || r.view().Initialize.Owner != "" {
			t.Errorf("claimed what another has, or left an owner behind: %+v", r.view().Initialize)
		}
		r.server.Do(func(c *memory.Core) { c.DeleteAll() })
		// The reply of the second write is lost: the claim stands, with its owner.
		r.store.FailNext(memory.FaultNone, memory.FaultLoseReply)
		if ok, _ := r.act(claim); ok || !r.view().Initialize.Present || r.view().Initialize.Owner != "a" {
			t.Errorf("claim with a lost reply: ok %v, %+v", ok, r.view().Initialize)
		}
		r.server.Do(func(c *memory.Core) { c.DeleteAll() })
		// That of the first is lost: the owner is there, and it is this member.
		r.store.FailNext(memory.FaultLoseReply)
		if ok, _ := r.act(claim); ok {
			t.Error("an owner that was never confirmed passed for one")
		}
		if ok, _ := r.act(claim); !ok || r.view().Initialize.Owner != "a" {
			t.Errorf("the claim after a lost reply: ok %v, %+v", ok, r.view().Initialize)
		}
	})
}
