package proxy

import (
	"github.com/matriarch-ha/matriarch/route"
)

// primary names who is behind a gate. The caller holds the lock.
func (t *table) primary(g *gate) served {
	return served{g.backend.Member, g.backend.Addr, t.words[g.backend.Member].Timeline}
}

// forwarded notes that a session with the primary has begun.
func (t *table) forwarded(g *gate) {
	if t.outages.quiet() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leader == g { // else its permission has just ended
		t.outages.forwarded(t.primary(g))
	}
}

// without notes that a writing client finds no primary, and why.
func (t *table) without(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if g := t.leader; g != nil {
		t.outages.lost(t.primary(g), why, int(g.forwards.Load()))
	}
}

// prove notes that the primary that is served could take clients, if there were
// any. The caller holds the lock.
func (t *table) prove(g *gate) {
	if !t.outages.calm.Load() && route.Pick(t.query(route.Policy{Access: route.ReadWrite})).OK {
		t.outages.proved(t.primary(g), t.words[g.backend.Member].Asked)
	}
}
