package sim

import "time"

func (w *world) strikeNet(f Fault, m *member, heal func(func())) {
	type pair struct{ from, to int }
	var pairs []pair
	store, clients := w.store.node, w.clients.node
	switch f.Kind {
	case CutPair:
		pairs = []pair{{m.index, f.B}, {f.B, m.index}}
	case CutOneWay:
		pairs = []pair{{m.index, f.B}}
		if f.N == 1 {
			pairs = []pair{{m.index, store}}
		} else if f.N == 2 {
			pairs = []pair{{store, m.index}}
		}
	case CutStore:
		pairs = []pair{{m.index, store}, {store, m.index}}
	case Isolate:
		for i := range w.net.size {
			if i != m.index && !(i == clients && f.N > 2) {
				pairs = append(pairs, pair{m.index, i}, pair{i, m.index})
			}
		}
	case SlowNet:
		for i := range w.net.size {
			w.net.link(m.index, i).extra = time.Duration(f.N) * time.Second
			w.net.link(i, m.index).extra = time.Duration(f.N) * time.Second
		}
		heal(func() {
			for i := range w.net.size {
				w.net.link(m.index, i).extra, w.net.link(i, m.index).extra = 0, 0
			}
		})
		return
	}
	for _, p := range pairs {
		w.net.cut(p.from, p.to, 1)
	}
	heal(func() {
		for _, p := range pairs {
			w.net.cut(p.from, p.to, -1)
		}
	})
}
