package sim

import "time"

// What a disk does that is full, or that does not answer.

// fails are the tasks of a member that will not succeed, by number.
type fails struct{ starts, promotes, rewinds, clones int }

// use reports whether this one is to fail.
func use(n *int) bool {
	if *n == 0 {
		return false
	}
	*n--
	return true
}

var errFull = errf("No space left on device")

// stick: nothing that touches the disk goes on, the agent's turns neither when it
// happens to look at the data directory. The lease keeper and the guard go on.
func (h *host) stick(agentToo bool) {
	h.stuck, h.hung = true, agentToo
	h.m.w.voters.changed()
	h.m.minds()
}

// unarmed: a host that could do nothing goes on, and no turn of its agent has armed
// the guard since a pause of the cluster.
func (m *member) unarmed() {
	if a := m.agent; a != nil && a.alive && a.keeper.unguarded {
		m.grace = max(m.grace, m.w.now+4*time.Second)
		m.pauseGrace = m.grace
	}
}

func (h *host) unstick() {
	if !h.stuck {
		return
	}
	h.stuck, h.hung = false, false
	h.m.w.voters.changed()
	h.m.unarmed()
	h.m.minds()
	if s := h.m.server; s.doomed {
		s.doomed = false
		s.stopped(false)
	}
	h.release()
}

// still: no process of the server runs an instruction now.
func (s *server) still() bool { return s.m.host.frozen || s.m.host.stuck || s.paused }

// hindered: the server can be neither asked nor stopped as usual.
func (s *server) hindered() bool {
	return s.still() || s.deaf || s.m.slowStop > 0 || s.m.host.full
}

// pause stops processes of the server by SIGSTOP: all of them, or the postmaster
// alone, which then neither ends nor reads its configuration.
func (s *server) pause(all bool) {
	if s.proc == "stopped" {
		return
	}
	s.paused, s.deaf = s.paused || all, true
	s.m.w.stats.Seen.ServerPauses++
}

func (s *server) goOn() {
	s.deaf = false
	if !s.paused {
		return
	}
	s.paused = false
	s.m.host.release()
}

// unheard is how long the agent waits for a server that does not obey.
func (s *server) unheard() time.Duration {
	if s.deaf || s.still() {
		return s.m.w.cfg.requestTimeout
	}
	return 0
}

// kill sends SIGKILL to every process. One that waits for its disk is not gone,
// but runs no more code either: it acknowledges nothing and sends nothing.
func (s *server) kill() {
	if s.m.w.opt.Mutant == PostmasterOnly && !s.m.host.stuck {
		s.killLeavesBackends()
		return
	}
	if !s.m.host.stuck || s.proc == "stopped" {
		s.die()
		return
	}
	if s.doomed {
		return
	}
	s.doomed = true
	s.m.w.stats.Seen.Doomed++
	s.reign, s.waiters, s.promote = 0, nil, false
	s.dropReceiver()
	for _, c := range s.tx {
		c.senderGone()
	}
	s.tx = nil
	s.set("stopping")
}

// noSpace: a write of WAL failed. PostgreSQL panics.
func (s *server) noSpace() bool {
	if !s.m.host.full || s.m.w.more.IntN(2) == 0 { // there may be room in the segment
		return false
	}
	s.m.w.stats.Seen.Panics++
	s.m.w.tracef("%s: PANIC: could not write to the WAL: no space left on device", s.m.name)
	s.die()
	return true
}
