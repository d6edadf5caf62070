package proxy

import (
	"fmt"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/route"
)

// whyEnded says by what a lease ended that a word had stated. The caller holds
// the lock.
func (t *table) whyEnded(name string, now boot.Instant) string {
	w := t.words[name]
	switch {
	case w.Name != "" && w.Name != name:
		return fmt.Sprintf("%s answers at the address of %s", w.Name, name)
	case w.Role != cluster.RolePrimary:
		return fmt.Sprintf("%s says that its server is %s", name, w.Role)
	case w.Authority(route.TTL(t.view)).IsZero():
		return name + " says that it has no live lease"
	}
	text := fmt.Sprintf("the time is over for which %s could be relied on when it answered last, %s ago", name, now.Sub(w.Asked).Round(time.Millisecond))
	if f := t.failures[name]; f != "" {
		text += " (" + f + ")"
	}
	return text
}

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
