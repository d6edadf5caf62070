package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs/memory"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/postgres"
	"github.com/matriarch-ha/matriarch/postgres/control"
)

// asked runs a request beside and returns where its outcome comes.
func asked(f func() error) <-chan error {
	out := make(chan error, 1)
	go func() { out <- f() }()
	return out
}

func (r *rig) restart(c cluster.RestartConditions) error {
	return r.agent.Restart(r.t.Context(), c)
}

func TestRestartOfThePrimaryKeepsTheLease(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		alone(r)
		session := r.agent.Lease().Session
		var during cluster.View
		var deadline bool
		r.pg.hook("start-primary", func(context.Context) error {
			time.Sleep(time.Second)
			during, deadline = r.view(), r.guard().isArmed()
			return nil
		})
		r.pg.mu.Lock()
		r.pg.calls = nil
		r.pg.mu.Unlock()
		if err := r.restart(cluster.RestartConditions{Role: cluster.RolePrimary}); err != nil {
			t.Fatal(err)
		}
		if !r.leads() || r.agent.Lease().Session != session || r.view().Handover.Present() {
			t.Errorf("the lease is another: %+v", r.view())
		}
		if r.pg.called("stop") != 1 || r.pg.called("start-primary") != 1 || r.pg.called("promote") != 0 || r.pg.called("kill") != 0 {
			t.Errorf("calls %v", r.pg.calls)
		}
		m, _ := during.Member("a")
		if during.Leader.Name != "a" || !deadline || m.State != cluster.StateRestarting || m.Role != cluster.RolePrimary {
			t.Errorf("meanwhile: leader %q, guard armed %t, published %s %s", during.Leader.Name, deadline, m.State, m.Role)
		}
	})
}

func TestRestartIsRefused(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		alone(r)
		var refused *Refused
		err := r.restart(cluster.RestartConditions{OnlyPending: true})
		if !errors.As(err, &refused) || refused.Text != "restart conditions are not satisfied" {
			t.Errorf("nothing is pending: %v", err)
		}
		hold := make(chan struct{})
		r.pg.hook("stop", func(context.Context) error { <-hold; return nil })
		first := asked(func() error { return r.restart(cluster.RestartConditions{}) })
		r.until("the stop", func() bool { return r.pg.called("stop") > 0 })
		if err := r.restart(cluster.RestartConditions{}); !errors.As(err, &refused) || refused.Text != "restart already in progress" {
			t.Errorf("while one is under way: %v", err)
		}
		if err := r.agent.Reinitialize(t.Context(), true, false); !errors.As(err, &refused) || refused.Text != "I am the leader, can not reinitialize" {
			t.Errorf("on the leader: %v", err)
		}
		close(hold)
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}

func TestRestartThatFails(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		alone(r)
		r.pg.hook("start-primary", func(context.Context) error { return errBroken })
		var failed *Failed
		if err := r.restart(cluster.RestartConditions{}); !errors.As(err, &failed) || failed.Text != "restart failed: broken" {
			t.Errorf("told %v", err)
		}
		r.pg.hook("start-primary", nil)
		r.until("the primary in place again", r.leads)
	})
}

// A caller that goes away stops nothing.
func TestRestartOutlivesItsCaller(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		alone(r)
		hold := make(chan struct{})
		r.pg.hook("stop", func(context.Context) error { <-hold; return nil })
		ctx, leave := context.WithCancel(t.Context())
		answer := asked(func() error { return r.agent.Restart(ctx, cluster.RestartConditions{}) })
		r.until("the stop", func() bool { return r.pg.called("stop") > 0 })
		leave()
		if err := <-answer; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller hears %v", err)
		}
		starts := r.pg.called("start-primary")
		close(hold)
		r.until("the end of the restart", func() bool { return r.pg.called("start-primary") > starts && r.leads() })
		if r.agent.requests.current().Restart.ID != 0 {
			t.Error("the request was left lying")
		}
	})
}

// The agent ends in the middle: whoever waits is told.
func TestRestartWhenTheAgentStops(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		alone(r)
		hold := make(chan struct{})
		r.pg.hook("stop", func(context.Context) error { <-hold; return nil })
		answer := asked(func() error { return r.restart(cluster.RestartConditions{}) })
		r.until("the stop", func() bool { return r.pg.called("stop") > 0 })
		r.agent.Stop("told to")
		close(hold)
		var failed *Failed
		if err := <-answer; !errors.As(err, &failed) {
			t.Errorf("told %v", err)
		}
		<-r.ended
		if v := r.view(); v.Leader.Held() || v.Handover.LSN != 0x3000000 {
			t.Errorf("not handed over: %+v", v)
		}
		var refused *Refused
		if err := r.restart(cluster.RestartConditions{}); !errors.As(err, &refused) {
			t.Errorf("an agent that has ended answers %v", err)
		}
	})
}

func TestScheduledRestart(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		alone(r)
		at := time.Now().Add(25 * time.Second)
		if err := r.agent.ScheduleRestart(t.Context(), cluster.ScheduledRestart{At: at}); err != nil {
			t.Fatal(err)
		}
		if err := r.agent.ScheduleRestart(t.Context(), cluster.ScheduledRestart{At: at}); !errors.Is(err, ErrScheduled) {
			t.Errorf("a second one: %v", err)
		}
		r.until("the member key", func() bool {
			m, _ := r.view().Member("a")
			return m.ScheduledRestart.At.Equal(at.Truncate(time.Microsecond))
		})
		time.Sleep(time.Until(at) - time.Millisecond)
		synctest.Wait()
		if r.pg.called("stop") != 0 {
			t.Error("carried out before its time")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if r.pg.called("stop") != 1 || !r.leads() {
			t.Errorf("at its time: calls %v", r.pg.calls)
		}
		time.Sleep(time.Minute)
		if m, _ := r.view().Member("a"); r.pg.called("stop") != 1 || m.ScheduledRestart.Present() {
			t.Errorf("carried out more than once, or still published: %v", r.pg.calls)
		}
		if _, err := os.Stat(r.agent.requests.path); !os.IsNotExist(err) {
			t.Errorf("its file: %v", err)
		}
	})
}

// The schedule survives the agent; a restart that has taken place otherwise
// makes it pointless.
func TestScheduledRestartOutlivesTheAgent(t *testing.T) {
	for name, restarted := range map[string]bool{"kept": false, "pointless": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				c := bubbleClock{time.Now()}
				server := memory.NewServer(c)
				running := standby()
				running.PostmasterStart = time.Now().Add(-time.Hour)
				first := newRig(t, server, c, dir, nil)
				first.lead("b")
				first.pg.set(running)
				first.start()
				if err := first.agent.ScheduleRestart(t.Context(), cluster.ScheduledRestart{At: time.Now().Add(time.Minute)}); err != nil {
					t.Fatal(err)
				}
				first.end()
				if restarted {
					running.PostmasterStart = time.Now()
				}
				second := newRig(t, server, c, dir, nil)
				second.pg.set(running)
				second.start()
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if kept := second.agent.requests.current().Scheduled.Present(); kept == restarted {
					t.Errorf("kept: %t", kept)
				}
				had, err := second.agent.CancelRestart(t.Context())
				if err != nil || had == restarted {
					t.Errorf("cancelled: %t, %v", had, err)
				}
				time.Sleep(2 * time.Minute)
				if second.pg.called("stop") != 0 {
					t.Error("carried out though cancelled")
				}
			})
		})
	}
}

func TestScheduleFileThatCannotBeRead(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		if err := os.WriteFile(r.agent.requests.path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if n := newRequests(r.agent.opt); n.current().Scheduled.Present() {
			t.Error("something was read")
		}
	})
}

func TestNoScheduleInAPause(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.put("config", `{"pause":true}`)
		r.pg.set(primary())
		r.start()
		var refused *Refused
		if err := r.agent.ScheduleRestart(t.Context(), cluster.ScheduledRestart{At: time.Now().Add(time.Hour)}); !errors.As(err, &refused) {
			t.Errorf("told %v", err)
		}
	})
}

func TestReinitialize(t *testing.T) {
	for name, clone := range map[string]error{"copied": nil, "failed": errBroken} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				r.lead("b")
				r.pg.set(standby())
				r.start()
				r.until("following", func() bool { return r.agent.Snapshot().Decision.Situation == ha.SituationFollowing })
				r.pg.hook("clone", func(context.Context) error { return clone })
				if err := r.agent.Reinitialize(t.Context(), false, false); err != nil {
					t.Fatal(err)
				}
				r.until("the replica again", func() bool {
					return r.pg.called("clone") == 1 && r.pg.called("start-standby") == 1 && r.pg.Observe(t.Context()).Process == postgres.ProcRunning
				})
				time.Sleep(time.Minute)
				if r.pg.called("clone") != 1 {
					t.Errorf("copied again: %v", r.pg.calls)
				}
			})
		})
	}
}

func TestReinitializeByForce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.lead("b")
		r.pg.set(stopped(control.ShutDownRecovery))
		r.pg.hook("start-standby", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		r.start()
		r.until("the start", func() bool { return r.pg.called("start-standby") > 0 })
		var refused *Refused
		if err := r.agent.Reinitialize(t.Context(), false, true); !errors.As(err, &refused) || refused.Text != "start-replica already in progress" {
			t.Errorf("without force: %v", err)
		}
		if err := r.agent.Reinitialize(t.Context(), true, true); err != nil {
			t.Errorf("with force: %v", err)
		}
		r.until("the copy", func() bool { return r.pg.called("clone") == 1 })
	})
}

// TestStateFollowsNoLink: the state directory belongs to the server's user, who
// must not lead an agent that runs as root to another file.
func TestStateFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	other, path := filepath.Join(dir, "other"), filepath.Join(dir, "scheduled_restart.json")
	if err := errors.Join(os.WriteFile(other, []byte("kept"), 0o600), os.Symlink(other, path+".tmp")); err != nil {
		t.Fatal(err)
	}
	if err := writeState(path, 1); err == nil {
		t.Error("written through a link")
	}
	if text, _ := os.ReadFile(other); string(text) != "kept" {
		t.Errorf("the other file holds %q", text)
	}
}
