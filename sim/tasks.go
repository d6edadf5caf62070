package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/ha"
)

func errf(format string, args ...any) error { return fmt.Errorf(format, args...) }

var errCancelled = errors.New("cancelled")

// task is the long action that runs beside the agent's turns.
type task struct {
	kind  ha.TaskKind
	since boot.Instant
	last  ha.TaskResult
	id    int
	stop  func() // what a cancel, or the agent's death, does to it
}

// cancel ends the task, as far as it can be ended.
func (t *task) cancel() {
	if t.stop != nil {
		t.stop()
	}
}

// agentGone: children of the agent die with it.
func (t *task) agentGone() {
	if t.stop != nil && (t.kind == ha.Clone || t.kind == ha.Rewind || t.kind == ha.Bootstrap) {
		t.stop()
	}
}

// begin starts a task; it fails while another runs.
func (a *agent) begin(x ha.Action) bool {
	if a.task.kind != "" || x.Session != "" && x.Session != a.keeper.session {
		return false
	}
	a.task.kind, a.task.since, a.task.stop = x.Kind, a.now(), nil
	a.task.id++
	id, epoch, ended := a.task.id, a.epoch, false
	end := func(err error) {
		if ended {
			return
		}
		ended = true
		a.in(epoch, func() {
			if a.task.id == id {
				a.ended(x.Kind, err)
			}
		})
	}
	a.m.w.traceTask(a, x)
	switch x.Kind {
	case ha.Bootstrap:
		a.bootstrap(x, end)
	case ha.Clone:
		a.copy(x, end)
	case ha.Rewind:
		a.rewind(x, end)
	case ha.StartReplica:
		a.m.server.start(ha.ServerStandby, x.Upstream, end)
	case ha.StartPrimary:
		a.startPrimary(end)
	case ha.Promote:
		a.promote(x, end)
	case ha.Stop:
		a.stopServer(x, end)
	case ha.Checkpoint:
		a.checkpoint(end)
	}
	return true
}

func (a *agent) ended(kind ha.TaskKind, err error) {
	a.task.kind, a.task.stop = "", nil
	a.task.last = ha.TaskResult{Seq: a.task.last.Seq + 1, Kind: kind, At: a.now()}
	a.told = ""
	if err != nil {
		a.task.last.Error = err.Error()
		a.told = err.Error()
	}
	a.m.w.traceAs(told, "%s: %s ended: %v", a.m.name, kind, err)
	a.wake()
}

// live: the lease allows to write now and a guard watches over it.
func (a *agent) live() bool {
	return a.keeper.held && a.keeper.term.Until().Live(a.now()) && a.guardOK && a.keeper.armed != 0
}

// work runs a child process of the agent for d; killed says what is left when
// it is ended before.
func (a *agent) work(d time.Duration, killed func(), end func(error), fn func()) {
	over := false
	id := a.task.id
	a.task.stop = func() {
		if !over {
			over = true
			if killed != nil {
				killed()
			}
			end(errCancelled)
		}
	}
	a.m.w.after(d, func() { a.worked(id, &over, fn) })
}

// worked is the end of a child's work, once it has a processor and a disk.
func (a *agent) worked(id int, over *bool, fn func()) {
	switch {
	case *over || a.task.id != id:
	case a.m.host.stuck:
		a.m.w.after(time.Second, func() { a.worked(id, over, fn) })
	case a.m.host.frozen:
		a.m.host.thawed(func() {
			if !*over {
				*over = true
				fn()
			}
		})
	default:
		*over = true
		fn()
	}
}

func (a *agent) bootstrap(x ha.Action, end func(error)) {
	w, s := a.m.w, a.m.server
	if s.dir != ha.DirEmpty || s.proc != ha.ProcessStopped {
		end(errf("the data directory is not empty"))
		return
	}
	a.work(500*time.Millisecond+w.upTo(time.Second)+s.slow(), nil, end, func() {
		w.systems++
		s.claim = x.Version
		s.dir, s.sysID = ha.DirUnfinished, fmt.Sprintf("70000000000%d", w.systems)
		s.branch = w.newBranch(s.sysID)
		s.branch.timeline, s.branch.end, s.end = 1, 1<<24, 1<<24
		s.knownTL, s.ckptTL, s.role, s.clean, s.hasCRC = 1, 1, ha.ServerPrimary, true, true
		end(nil)
	})
}

// startPrimary starts the stopped server writable where it stands.
func (a *agent) startPrimary(end func(error)) {
	if !a.live() && a.m.w.opt.Mutant != StartBlind {
		end(errf("the lease is not live"))
		return
	}
	a.m.server.start(ha.ServerPrimary, ha.Upstream{}, end)
}

// promote checks, gives the order, and waits. Between the check and the order
// the process can be stopped; the guard stands against that.
func (a *agent) promote(x ha.Action, end func(error)) {
	w, s := a.m.w, a.m.server
	claimed := w.opt.Mutant == NoClaim
	switch {
	case !a.live() && w.opt.Mutant != Unlocked:
		end(errf("the lease is not live"))
		return
	case s.proc != ha.ProcessRunning || s.role != ha.ServerStandby:
		end(errf("the server is no running standby"))
		return
	case !claimed && max(s.knownTL, s.branch.timeline) >= x.Timeline:
		end(errf("the server would not take timeline %d", x.Timeline))
		return
	}
	life := s.life
	fails := use(&a.m.fails.promotes)
	a.later(time.Millisecond, func() {
		switch {
		case s.life != life:
			end(errf("the server is gone"))
			return
		case fails && w.more.IntN(2) == 0 || s.deaf:
			// The order cannot be taken back, so a server that does not follow it is ended.
			w.stats.Seen.Refused++
			a.later(2*time.Second, func() {
				if s.life == life {
					s.kill()
				}
				end(errf("the server does not promote"))
			})
			return
		}
		if fails || a.m.host.full { // no history file can be written
			s.later(50*time.Millisecond, life, s.die)
		}
		if !claimed {
			s.knownTL = x.Timeline - 1 // placeholders up to the claimed number
		}
		s.promote = true
		s.dropReceiver()
		s.later(50*time.Millisecond+w.upTo(w.cfg.promote)+s.slow(), life, func() {
			s.promote = false
			s.turnPrimary()
			end(nil)
		})
		s.onDeath(life, func() { end(errf("the server died while it was promoted")) })
	})
}

// stopServer is a clean shutdown: a primary writes a checkpoint while it still
// serves, then a last record, and waits until the named standbys have it.
func (a *agent) stopServer(x ha.Action, end func(error)) {
	w, s := a.m.w, a.m.server
	if s.proc == ha.ProcessStopped {
		end(nil)
		return
	}
	life, primary := s.life, s.writable()
	if s.stopAs = nil; primary && x.EndArchiver {
		s.stopAs, s.stopFor = s.branch, a.mem.Restart.ID
	}
	serving := w.upTo(200*time.Millisecond) + s.slow() + w.moreUpTo(a.m.slowStop)
	if !primary {
		serving = 0
	}
	a.m.stopping = w.now + serving
	s.onDeath(life, func() { end(errf("the server died while it was stopped")) })
	s.later(serving, life, func() { a.obeyed(s, life, primary, x, end) })
}

// obeyed: the postmaster has read the signal.
func (a *agent) obeyed(s *server, life int, primary bool, x ha.Action, end func(error)) {
	w := a.m.w
	if s.deaf {
		s.later(500*time.Millisecond, life, func() { a.obeyed(s, life, primary, x, end) })
		return
	}
	s.proc, s.waiters, s.reign = ha.ProcessStopping, nil, 0
	s.later(50*time.Millisecond+w.upTo(200*time.Millisecond), life, func() {
		if a.m.host.full && primary {
			w.stats.Seen.Panics++
			s.die() // the shutdown checkpoint cannot be written
			return
		}
		if primary && s.role == ha.ServerPrimary {
			s.append(record)
			s.shutDown = true
			a.m.agent.serverChanged()
		}
		archive := w.cfg.archive
		if x.EndArchiver && w.rng.IntN(8) > 0 { // else it cannot even be killed
			archive = 0
		}
		a.waitForLast(s, life, x.Names, archive, 0, end)
	})
}

// waitForLast lets the walsenders send the last record.
func (a *agent) waitForLast(s *server, life int, names []string, archiver time.Duration, tries int, end func(error)) {
	all := true
	for _, c := range s.tx {
		if c.to.end < s.end && slices.Contains(names, c.to.m.name) {
			all = false
		}
	}
	if all || tries >= 40 || s.role != ha.ServerPrimary {
		archive := time.Duration(0)
		if s.role == ha.ServerPrimary {
			archive = a.m.w.upTo(archiver)
		}
		s.later(archive, life, func() {
			s.stopped(true)
			end(nil)
		})
		return
	}
	s.later(50*time.Millisecond, life, func() { a.waitForLast(s, life, names, archiver, tries+1, end) })
}

func (a *agent) checkpoint(end func(error)) {
	s := a.m.server
	if !s.writable() {
		end(errf("no running primary"))
		return
	}
	life := s.life
	a.task.stop = func() { end(errCancelled) }
	s.later(20*time.Millisecond+s.slow(), life, func() {
		if a.m.host.full {
			end(errFull)
			return
		}
		s.ckptTL = s.branch.timeline
		end(nil)
	})
	s.onDeath(life, func() { end(errf("the server died")) })
}
