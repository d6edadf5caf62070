package sim

import (
	"slices"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/ha"
)

// ask sends a question to each peer's agent.
func (a *agent) ask(names []string) {
	for _, name := range names {
		if m := a.m.w.member(name); m != nil && m != a.m {
			a.askOne(m)
		}
	}
}

func (a *agent) askOne(m *member) {
	w, sent := a.m.w, a.now()
	p := a.peer(m.name)
	p.Asked, p.Error, p.ServerSilent = sent, "", false
	a.later(w.cfg.peerTimeout, func() {
		if p := a.peer(m.name); p.Asked == sent && p.AnswerTo != sent {
			p.Error = "no answer in time"
			a.wake()
		}
	})
	epoch := a.epoch
	w.net.send(a.m.index, m.index, func() {
		if !m.agent.alive || !m.host.up {
			w.net.send(m.index, a.m.index, func() { a.in(epoch, func() { a.failed(m.name, sent, "connection refused", false) }) })
			return
		}
		m.agent.in(m.agent.epoch, func() {
			switch {
			case m.server.still():
				return // the agent waits for its server, longer than it is waited for
			case m.server.proc != ha.ProcessRunning:
				w.net.send(m.index, a.m.index, func() { a.in(epoch, func() { a.failed(m.name, sent, "its server did not answer it", true) }) })
				return
			}
			word := m.agent.word()
			w.net.send(m.index, a.m.index, func() { a.in(epoch, func() { a.heard(word, sent) }) })
		})
	})
}

// peer returns the entry of that name, made if it was not there.
func (a *agent) peer(name string) *ha.Peer {
	for i := range a.peers {
		if a.peers[i].Name == name {
			return &a.peers[i]
		}
	}
	a.peers = append(a.peers, ha.Peer{Name: name})
	slices.SortFunc(a.peers, func(x, y ha.Peer) int {
		if x.Name < y.Name {
			return -1
		}
		return 1
	})
	return a.peer(name)
}

// failed notes that a question came to nothing.
func (a *agent) failed(name string, sent boot.Instant, why string, server bool) {
	if p := a.peer(name); p.Asked == sent {
		p.Error, p.ServerSilent = why, server
		a.wake()
	}
}

func (a *agent) heard(word ha.Peer, sent boot.Instant) {
	p := a.peer(word.Name)
	if sent <= p.AnswerTo {
		return
	}
	word.Asked, word.AnswerTo, word.Answered = p.Asked, sent, a.now()
	*p = word
	a.wake()
}

// word is what the agent says of its member when it is asked.
func (a *agent) word() ha.Peer {
	s := a.m.server
	p := ha.Peer{Name: a.m.name, InRecovery: !s.writable(), Tags: a.m.tags,
		EligibleKnown: true, Eligible: a.mem.Eligible,
		Voting: a.mem.Promised && (s.rx == nil && s.upstream.IsZero() || a.m.w.opt.Mutant == VoterStreams)}
	if p.Voting && a.m.voted != a.m.w.store.lapses {
		a.m.voted, a.m.votedAt = a.m.w.store.lapses, a.m.w.now
	}
	if p.InRecovery {
		p.Position = s.seen()
	}
	return p
}
