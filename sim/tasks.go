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
	a.m.w.tracef("%s: %s ended: %v", a.m.name, kind, err)
	a.wake()
}

// live: the lease allows to write now and a guard watches over it.
func (a *agent) live() bool {
	return a.keeper.held && a.keeper.until().Live(a.now()) && a.guardOK && a.keeper.armed != 0
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
	a.m.w.after(d, func() {
		if over || a.task.id != id {
			return
		}
		if a.m.host.frozen {
			a.m.host.thawed(func() {
				if !over {
					over = true
					fn()
				}
			})
			return
		}
		over = true
		fn()
	})
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

// source is the member to copy from, if it can be reached and runs.
func (a *agent) source(up ha.Upstream) (*server, error) {
	m := a.m.w.member(up.Name)
	switch {
	case m == nil || m == a.m:
		return nil, errf("no member %q to copy from", up.Name)
	case !a.m.w.net.both(a.m.index, m.index) || !m.host.up || m.host.frozen:
		return nil, errf("%s cannot be reached", up.Name)
	case m.server.proc != ha.ProcessRunning:
		return nil, errf("the server of %s is %s", up.Name, m.server.proc)
	}
	return m.server, nil
}

// copy is a base backup into a new directory; the old one is kept aside.
func (a *agent) copy(x ha.Action, end func(error)) {
	w, s := a.m.w, a.m.server
	from, err := a.source(x.Upstream)
	if err != nil || s.proc != ha.ProcessStopped {
		end(errors.Join(err, stillRuns(s)))
		return
	}
	w.stats.Clones++
	life := from.life
	s.keepAside()
	a.work(500*time.Millisecond+w.upTo(w.cfg.copying)+s.slow(), nil, end, func() {
		if from, err = a.source(x.Upstream); err != nil || from.life != life {
			end(errors.Join(err, errf("the copy from %s broke off", x.Upstream.Name)))
			return
		}
		s.copyFrom(from)
		end(nil)
	})
}

func stillRuns(s *server) error {
	if s.proc != ha.ProcessStopped {
		return errf("the server is %s", s.proc)
	}
	return nil
}

// rewind is pg_rewind: it believes timeline numbers. Until it is done the
// directory must not be started.
func (a *agent) rewind(x ha.Action, end func(error)) {
	w, s := a.m.w, a.m.server
	from, err := a.source(x.Upstream)
	if err != nil || s.proc != ha.ProcessStopped || s.branch == nil {
		end(errors.Join(err, stillRuns(s), errf("nothing to rewind")))
		return
	}
	if from.ckptTL == s.branch.at(s.end).timeline && !s.rewinding {
		end(nil) // "no rewind required", whatever the branches are
		return
	}
	w.stats.Rewinds++
	s.rewinding = true
	if w.opt.Mutant != CloneDestroys {
		s.aside = append(s.aside, copyOf{s.branch, s.end})
	}
	life := from.life
	a.work(500*time.Millisecond+w.upTo(w.cfg.copying)+s.slow(), func() { s.halfRewound(from) }, end, func() {
		if from, err = a.source(x.Upstream); err != nil || from.life != life {
			s.halfRewound(from)
			end(errors.Join(err, errf("pg_rewind from %s broke off", x.Upstream.Name)))
			return
		}
		s.branch, s.end = from.branch.at(from.end), from.end
		s.knownTL, s.ckptTL = max(s.knownTL, from.knownTL), s.branch.timeline
		s.role, s.clean, s.rewinding, s.unproven = ha.ServerStandby, true, false, true
		end(nil)
	})
}

// halfRewound is what a rewind that was broken off leaves: files of both, and
// nobody can say which line the WAL at hand seems to be of.
func (s *server) halfRewound(from *server) {
	if from != nil && from.branch != nil && s.m.w.rng.IntN(2) == 0 {
		s.branch, s.end = from.branch.at(from.end), from.end
		s.role, s.clean = ha.ServerStandby, true
	}
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
	a.later(time.Millisecond, func() {
		if s.life != life {
			end(errf("the server is gone"))
			return
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
	serving := w.upTo(200*time.Millisecond) + s.slow()
	if !primary {
		serving = 0
	}
	s.onDeath(life, func() { end(errf("the server died while it was stopped")) })
	s.later(serving, life, func() {
		s.proc, s.waiters, s.reign = ha.ProcessStopping, nil, 0
		s.later(50*time.Millisecond+w.upTo(200*time.Millisecond), life, func() {
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
		s.ckptTL = s.branch.timeline
		end(nil)
	})
	s.onDeath(life, func() { end(errf("the server died")) })
}
