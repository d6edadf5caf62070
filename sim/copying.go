package sim

import (
	"errors"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
)

// Tasks that copy from another member.

// source is the member to copy from, if it can be reached and runs.
func (a *agent) source(up ha.Upstream) (*server, error) {
	m := a.m.w.member(up.Name)
	switch {
	case m == nil || m == a.m:
		return nil, errf("no member %q to copy from", up.Name)
	case !a.m.w.net.both(a.m.index, m.index) || !m.host.up || m.server.still() || m.server.deaf || m.closed():
		return nil, errf("%s cannot be reached", up.Name)
	case m.server.proc != ha.ProcessRunning:
		return nil, errf("the server of %s is %s", up.Name, m.server.proc)
	}
	return m.server, nil
}

// copy is a base backup beside the directory, whose place it takes when it is
// complete; the old one is kept aside. One that breaks off changes nothing.
func (a *agent) copy(x ha.Action, end func(error)) {
	w, s := a.m.w, a.m.server
	from, err := a.source(x.Upstream)
	if err != nil || s.proc != ha.ProcessStopped {
		end(errors.Join(err, stillRuns(s)))
		return
	}
	w.stats.Clones++
	life := from.life
	d, fails := 500*time.Millisecond+w.upTo(w.cfg.copying)+s.slow(), use(&a.m.fails.clones)
	a.work(d, nil, end, func() {
		if from, err = a.source(x.Upstream); err != nil || from.life != life || fails || a.m.host.full {
			w.stats.Seen.Refused++
			end(errors.Join(err, errf("the copy from %s broke off", x.Upstream.Name)))
			return
		}
		s.keepAside()
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
	d, fails := 500*time.Millisecond+w.upTo(w.cfg.copying)+s.slow(), use(&a.m.fails.rewinds)
	a.work(d, func() { s.halfRewound(from) }, end, func() {
		if from, err = a.source(x.Upstream); err != nil || from.life != life || fails || a.m.host.full {
			w.stats.Seen.Refused++
			s.halfRewound(from)
			end(errors.Join(err, errf("pg_rewind from %s broke off", x.Upstream.Name)))
			return
		}
		s.branch, s.end = from.branch.at(from.end), from.end
		s.knownTL, s.ckptTL, s.oldest = max(s.knownTL, from.knownTL), s.branch.timeline, from.end
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
