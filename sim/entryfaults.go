package sim

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Faults of the entrypoint and its links.
const (
	EntryCutStore  FaultKind = "entrypoint-cut-store"
	EntryCutMember FaultKind = "entrypoint-cut-member"
	EntryStop      FaultKind = "entrypoint-stop" // stopped, and continued
	// EntryStutter: stopped while a question to the leader is under way, and cut off
	// from the store until a while after it goes on.
	EntryStutter FaultKind = "entrypoint-stutter"
)

// entryFaults draws from a source of its own; three quarters of the worlds have
// none.
func entryFaults(seed uint64, cfg worldConfig, focus []FaultKind) (out []Fault) {
	r := rand.New(rand.NewPCG(seed, 8))
	if focus == nil && r.IntN(4) > 0 {
		return nil
	}
	all := []FaultKind{EntryCutStore, EntryCutMember, EntryStop}
	for range 1 + r.IntN(3) {
		f := Fault{At: time.Duration(r.Int64N(int64(cfg.safety))), Kind: all[r.IntN(len(all))], A: r.IntN(cfg.members), N: 1 + r.IntN(5),
			Lasts: 100*time.Millisecond + time.Duration(r.Int64N(int64(40*time.Second)))}
		if r.IntN(2) == 0 {
			f.A = -1
		}
		if focus == nil || slices.Contains(focus, f.Kind) {
			out = append(out, f)
		}
	}
	return out
}

// entryStutters draws from a source of its own, as entryFaults does.
func entryStutters(seed uint64, cfg worldConfig, opt Options) (out []Fault) {
	r := rand.New(rand.NewPCG(seed, 0x73747574746572))
	if opt.Plain || opt.Focus == nil && r.IntN(8) > 0 || opt.Focus != nil && !opt.focuses(EntryStutter) {
		return nil
	}
	for range 1 + r.IntN(2) {
		out = append(out, Fault{At: time.Duration(r.Int64N(int64(cfg.safety))), Kind: EntryStutter, A: -1,
			Lasts: 100*time.Millisecond + time.Duration(r.Int64N(int64(60*time.Second)))})
	}
	return out
}

// stutter lets a fault strike that waits for a question to whom the entrypoint
// serves. The answer and the end of its patience both await it when it goes on.
func (e *entrypoint) stutter(asked *member) {
	if len(e.stutters) == 0 || e.target != asked {
		return
	}
	fn := e.stutters[0]
	e.stutters = e.stutters[1:]
	e.w.after(0, fn)
}

// misled: a person ended the member's session, so that its lease was over before the
// time that it had told; and the entrypoint stood still since, hears nothing from the
// store, and has not asked again yet. limits.md tells of what it serves then.
func (e *entrypoint) misled(m *member) bool {
	return m.robbed > 0 && e.resumed > 0 && e.w.now < e.resumed+e.pace.Interval+e.pace.Timeout
}

// hesitate stops the entrypoint and cuts it off from the store.
func (e *entrypoint) hesitate(d time.Duration) {
	w := e.w
	if w.ceased > 0 || e.stopped {
		return
	}
	w.tracef("entrypoint: stopped for %s with a question to %s under way", d, e.open.Backend.Member)
	e.stopped = true
	w.after(d, func() {
		if w.ceased == 0 {
			w.tracef("entrypoint: goes on")
			e.resumed = w.now
			e.goOn()
		}
	})
	w.net.cut(w.store.node, e.node, 1)
	w.net.cut(e.node, w.store.node, 1)
	w.after(d+w.cfg.settings.TTL*3/2, func() {
		if w.ceased == 0 {
			w.net.cut(w.store.node, e.node, -1)
			w.net.cut(e.node, w.store.node, -1)
		}
	})
}

// strikeEntry makes one of them happen; it reports whether f is one.
func (w *world) strikeEntry(f Fault, m *member, heal func(func())) bool {
	e := w.entry
	cut := func(i int) {
		w.net.cut(i, e.node, 1)
		w.net.cut(e.node, i, 1)
		heal(func() {
			w.net.cut(i, e.node, -1)
			w.net.cut(e.node, i, -1)
		})
	}
	switch f.Kind {
	case EntryCutStore:
		cut(w.store.node)
	case EntryCutMember:
		cut(m.index)
	case EntryStop:
		e.stopped = true
		heal(e.goOn)
	case EntryStutter:
		e.stutters = append(e.stutters, func() { e.hesitate(f.Lasts) })
	default:
		return false
	}
	return true
}

// goOn continues a stopped entrypoint. Nobody can say what it does first.
func (e *entrypoint) goOn() {
	e.stopped = false
	inbox := e.inbox
	e.inbox = nil
	e.rng.Shuffle(len(inbox), func(i, j int) { inbox[i], inbox[j] = inbox[j], inbox[i] })
	for _, fn := range inbox {
		e.in(fn)
	}
}

// in runs fn in the entrypoint's process, or when it goes on.
func (e *entrypoint) in(fn func()) {
	if e.stopped {
		e.inbox = append(e.inbox, fn)
		return
	}
	fn()
}
