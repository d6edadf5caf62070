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
