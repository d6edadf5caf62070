package agent

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/memory"
	"github.com/matriarch-ha/matriarch/postgres"
	"github.com/matriarch-ha/matriarch/postgres/control"
)

// alone starts the agent of a one-member cluster and waits until it leads.
func alone(r *rig) {
	r.start()
	r.until("a leader", func() bool { return r.leads() && r.view().Initialize.SystemID == "4711" })
}

func TestFromNothingToLeading(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		alone(r)
		v := r.view()
		if v.Initialize.Owner != "" || !v.Config.Present || v.Leader.Name != "a" {
			t.Errorf("left behind: %+v", v)
		}
		if !r.guard().isArmed() {
			t.Error("leads without a guard")
		}
	})
}

func TestStoreAwayAndBack(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		alone(r)
		r.store.Cut(true)
		r.until("the clean stop at the soft deadline", func() bool { return r.pg.Observe(t.Context()).Process == postgres.ProcStopped })
		if r.agent.Lease().Live(r.clock.Now()) || r.pg.called("kill") != 0 {
			t.Errorf("stopped early, or killed: %v", r.pg.calls)
		}
		time.Sleep(time.Minute)
		if f := r.pg.Observe(t.Context()); f.Process == postgres.ProcRunning && f.Role == postgres.RolePrimary {
			t.Error("writable without the store")
		}
		r.store.Cut(false)
		r.until("a leader again", r.leads)
	})
}

// The clean stop hangs: at the hard deadline the server is fenced, whether or
// not the guard does its duty.
func TestStopThatHangsEndsInAFence(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		alone(r)
		r.pg.hook("stop", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		r.store.Cut(true)
		r.until("the fence", func() bool { return r.pg.called("mark-standby") > 0 })
		if f := r.pg.Observe(t.Context()); f.Process != postgres.ProcStopped {
			t.Errorf("the server survived: %+v", f)
		}
	})
}

func TestStopHandsTheLeaseOver(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		alone(r)
		r.agent.Stop("told to")
		var exit *ErrExit
		if err := <-r.ended; !errors.As(err, &exit) || exit.Code != 0 {
			t.Fatalf("ended with %v", err)
		}
		v := r.view()
		if v.Leader.Held() || len(v.Members) != 0 || v.Handover.LSN != 0x3000000 {
			t.Errorf("left behind: %+v", v)
		}
		if f := r.pg.Observe(t.Context()); f.Process != postgres.ProcStopped || r.pg.called("kill") != 0 {
			t.Errorf("not stopped cleanly: %+v, %v", f, r.pg.calls)
		}
		if !r.guard().closed || r.guard().isArmed() {
			t.Error("the guard was not let go")
		}
	})
}

// Told to stop, whatever is going on: the agent ends in bounded time.
func TestStopInEveryState(t *testing.T) {
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, set := range map[string]func(r *rig){
		"bootstrapping": func(r *rig) { r.pg.hook("bootstrap", hang) },
		"cloning": func(r *rig) {
			r.lead("b")
			r.pg.hook("clone", hang)
		},
		"starting": func(r *rig) {
			r.lead("b")
			r.pg.set(stopped(control.ShutDownRecovery))
			r.pg.hook("start-standby", hang)
		},
		"following": func(r *rig) {
			r.lead("b")
			r.pg.set(standby())
		},
		"waiting for data": func(r *rig) { r.put("initialize", "4711") },
		"no store":         func(r *rig) { r.store.Cut(true); r.pg.set(standby()) },
		"paused":           func(r *rig) { r.put("config", `{"pause":true}`); r.pg.set(primary()) },
		"running a primary that nobody knows": func(r *rig) {
			r.pg.set(primary())
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				set(r)
				r.start()
				time.Sleep(3 * time.Second)
				r.agent.Stop("told to")
				select {
				case err := <-r.ended:
					var exit *ErrExit
					if !errors.As(err, &exit) || exit.Code != 0 {
						t.Errorf("ended with %v", err)
					}
				case <-time.After(time.Minute):
					s := r.agent.Snapshot()
					t.Errorf("does not end: %s (%s), task %+v", s.Decision.Why, s.Decision.Rule, s.Observation.Task)
				}
				if f := r.pg.Observe(t.Context()); name != "paused" && f.Process != postgres.ProcStopped {
					t.Errorf("the server was left %s", f.Process)
				}
			})
		})
	}
}

// lead makes another member the leader in the store.
func (r *rig) lead(name string) {
	r.put("initialize", "4711")
	other := r.server.Connect()
	s, err := other.Open(r.t.Context(), time.Hour)
	if err != nil {
		r.t.Fatal(err)
	}
	for key, value := range map[string]string{"leader": name, "members/" + name: `{"conn_url":"postgres://` + name + `:5432/postgres",` +
		`"api_url":"http://` + name + `:8008/patroni","state":"running","role":"primary","timeline":1,"xlog_location":50331648}`} {
		if _, err := s.Put(r.t.Context(), key, value, dcs.Always()); err != nil {
			r.t.Fatal(err)
		}
	}
}

// A pause is what one restarts agents in: the running primary is not touched,
// and gets its lease again.
func TestPausedPrimarySurvivesTheRestartOfItsAgent(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.put("initialize", "4711")
		r.put("config", `{"pause":true}`)
		r.pg.set(primary())
		r.start()
		r.until("the lease", func() bool { return r.agent.Lease().Held })
		time.Sleep(time.Minute)
		if r.pg.called("kill")+r.pg.called("stop") != 0 || r.guard().isArmed() {
			t.Errorf("calls %v, armed %v", r.pg.calls, r.guard().isArmed())
		}
	})
}

func TestPrimaryWithoutALeaseIsFencedAtOnce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.lead("b")
		r.pg.set(primary())
		r.start()
		if r.pg.called("mark-standby") != 1 {
			t.Errorf("calls %v", r.pg.calls)
		}
	})
}

// What cannot be written must not keep loop and store busy.
func TestNoBusyLoop(t *testing.T) {
	for name, fault := range map[string]memory.Fault{"refused": memory.FaultUnavailable, "unanswered": memory.FaultLoseRequest} {
		for _, key := range []string{"leader", "config", "timelines", "members/a", "status"} {
			t.Run(name+" "+key, func(t *testing.T) {
				var loads atomic.Int64
				inBubble(t, nil, func(t *testing.T, r *rig) {
					r.pg.set(stopped(control.ShutDown))
					r.put("initialize", "4711")
					r.store.SetHook(func(c memory.Call) memory.Fault {
						if c.Op == memory.OpLoad {
							loads.Add(1)
						}
						if c.Op == memory.OpPut && c.Key == key {
							return fault
						}
						return memory.FaultNone
					})
					r.start()
					time.Sleep(time.Minute)
					if n := loads.Load(); n > 60*15 { // one try in 200 ms, each with a look at what came of it
						s := r.agent.Snapshot()
						t.Errorf("%d readings in a minute: %s (%s)", n, s.Decision.Why, s.Decision.Rule)
					}
				})
			})
		}
	}
}

// Rubbish in the store neither ends the agent nor keeps it busy, and the leader
// goes on leading.
func TestRubbishInTheStore(t *testing.T) {
	for key, values := range map[string][]string{
		"config":     {"", "null", "[]", "bad", `{"ttl":`, `"pause"`},
		"failover":   {"{", `{"leader":"x","member":"y"}`, `{"member":"nobody"}`, ":", `{"scheduled_at":"never"}`},
		"history":    {"{}", `[["a"]]`, `[[9,1,"x"]]`, `[[4294967294,1,"x"]]`},
		"timelines":  {"[]", `{"claims":1}`, "null"},
		"status":     {"[]", "x", `{"optime":"x","slots":[]}`, `{"optime":18446744073709551615}`},
		"sync":       {"[]", `{"leader":"ghost","sync_standby":"x"}`},
		"handover":   {"1", `{"leader":"a","lsn":18446744073709551615}`},
		"members/b":  {"[", `{"role":7,"state":[],"conn_url":{},"api_url":"::","tags":"x"}`, "null"},
		"members/a/": {"x"},
		"failsafe":   {"[]"},
		"leader":     {"ghost"},
	} {
		for _, value := range values {
			t.Run(key+" "+value, func(t *testing.T) {
				inBubble(t, nil, func(t *testing.T, r *rig) {
					alone(r)
					var loads atomic.Int64
					r.store.SetHook(func(c memory.Call) memory.Fault {
						if c.Op == memory.OpLoad {
							loads.Add(1)
						}
						return memory.FaultNone
					})
					if key == "leader" { // deleted by hand, and put again by hand
						r.server.Do(func(c *memory.Core) { _ = c.Delete("leader", dcs.Always()) })
						r.until("a leader again", r.leads)
						return
					}
					r.put(key, value)
					time.Sleep(5 * time.Minute)
					synctest.Wait()
					if !r.leads() || r.pg.called("kill") != 0 {
						t.Errorf("does not lead any more: %s, calls %v", r.agent.Snapshot().Decision.Why, r.pg.calls)
					}
					if n := loads.Load(); n > 300 {
						t.Errorf("%d readings in five minutes: %s", n, r.agent.Snapshot().Decision.Why)
					}
					if v := r.view(); v.Failover.Requested() || !v.Config.Present || v.Status.Optime != 0x3000000 {
						t.Errorf("the rubbish stays: %+v %+v %+v", v.Failover, v.Config, v.Status)
					}
				})
			})
		}
	}
}

func TestConfigurationThatCannotBeUsed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		r.pg.set(standby())
		r.put("config", `{"pause":true}`)
		r.agent.viewer.refresh(t.Context())
		r.agent.observe(t.Context())
		r.put("config", "bad")
		r.agent.config.json = `{"pause":true}`
		r.agent.viewer.mu.Lock()
		r.agent.viewer.state.View.Config = cluster.Config{Present: true, JSON: "bad"}
		r.agent.viewer.mu.Unlock()
		if o := r.agent.observe(t.Context()); !o.Settings.Paused {
			t.Error("the former configuration is not in force any more")
		}
		// The server changes its role under a document that cannot be used.
		r.pg.set(primary())
		r.agent.observe(t.Context())
		r.agent.observe(t.Context())
		if r.pg.conf.CustomConf != "primary" || r.agent.config.json != `{"pause":true}` {
			t.Errorf("the server has the settings of a %s; in force: %s", r.pg.conf.CustomConf, r.agent.config.json)
		}
	})
}
