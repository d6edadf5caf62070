package sim

import (
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

// moreUpTo draws as upTo does, from the source of the newer faults.
func (w *world) moreUpTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.more.Int64N(int64(d) + 1))
}

// allOff is a power cut of everything, the store included; each host comes back
// when it does.
func (w *world) allOff(f Fault) {
	w.store.fail()
	w.after(w.moreUpTo(f.Lasts), func() {
		if w.ceased == 0 {
			w.store.recover()
		}
	})
	for _, m := range w.members {
		m.host.powerOff()
		w.after(w.moreUpTo(f.Lasts), func() {
			if w.ceased == 0 && !m.gone {
				m.host.powerOn()
			}
		})
	}
}

// flap cuts links and mends them again and again.
func (w *world) flap(f Fault, m *member) {
	var others []int
	switch f.N {
	case 1, 2:
		others = []int{w.store.node}
	case 3:
		others = []int{f.B}
	default:
		for i := range w.net.size {
			others = append(others, i)
		}
	}
	end, cut := w.now+f.Lasts, 0
	var turn func()
	turn = func() {
		if w.ceased > 0 {
			return
		}
		by := 1 - 2*cut
		if cut == 0 && w.now >= end {
			return
		}
		cut += by
		for _, o := range others {
			if o != m.index {
				w.net.cut(m.index, o, by)
				if f.N%2 == 1 {
					w.net.cut(o, m.index, by)
				}
			}
		}
		w.after(50*time.Millisecond+w.moreUpTo(2*time.Second), turn)
	}
	turn()
}

// foreignDisk: the host comes up with the disk of another cluster's member, and
// later with its own.
func (w *world) foreignDisk(m *member, heal func(func())) {
	if !m.host.up || m.foreign != nil || m.server.dir != ha.DirPresent || w.store.view.Initialize.SystemID == "" {
		return
	}
	w.stats.Seen.ForeignDisks++
	m.host.powerOff()
	own := m.server.disk
	m.foreign = &own
	w.systems++
	b := w.newBranch(foreignSystem)
	b.timeline, b.end = 1+wal.Timeline(w.more.IntN(4)), 1<<24+wal.LSN(w.more.IntN(1<<20))
	m.server.disk = disk{dir: ha.DirPresent, sysID: foreignSystem, branch: b, end: b.end, role: ha.ServerPrimary,
		clean: w.more.IntN(2) == 0, knownTL: b.timeline, ckptTL: b.timeline, hasCRC: true,
		aside: append(slices.Clone(own.aside), copyOf{own.branch, own.end})}
	if w.more.IntN(2) == 0 {
		m.server.disk.role = ha.ServerStandby
	}
	m.host.powerOn()
	heal(m.ownDisk)
}

const foreignSystem = "6900000000000000001"

// ownDisk puts the member's own disk back in its place.
func (m *member) ownDisk() {
	if m.foreign == nil {
		return
	}
	kept := m.server.sysID == foreignSystem
	for _, k := range m.server.aside {
		kept = kept || k.branch.sysID == foreignSystem
	}
	if !kept {
		m.w.check.violate("I8", "%s destroyed the data directory of another cluster that was mounted", m.name)
	}
	m.host.powerOff()
	m.server.disk, m.foreign = *m.foreign, nil
	m.host.powerOn()
}

// remove takes a member away for good, as a person does who looks first: not the
// leader, not one that the cluster waits for, and not the last but one.
func (w *world) remove(m *member) {
	v := &w.store.view
	lead := w.member(v.Leader.Name)
	left := 0
	for _, o := range w.members {
		if !o.gone && o.tags.MayLead() {
			left++
		}
	}
	if lead == nil || lead == m || left < 3 || !lead.server.writable() || v.Sync.Active() || w.store.settings.SyncMode != "off" ||
		v.Handover.Present() || v.Failover.Requested() || w.store.down {
		return
	}
	w.stats.Seen.Removed++
	w.tracef("%s is removed for good", m.name)
	m.gone = true
	m.host.powerOff()
	w.voters.changed()
	m.scheduled.At = time.Time{}
	w.store.forget(m.name)
}

// adopt makes the members of some worlds ones that had a cluster before, of which
// the store knows nothing: one was its primary, the others its standbys or empty.
func (w *world) adopt() {
	if !w.cfg.wide.adopted {
		return
	}
	w.systems++
	w.stats.Seen.Adopted++
	old := w.newBranch("7000000000009")
	old.timeline, old.end = 1, 1<<24+wal.LSN(w.more.IntN(1<<20))
	tl := 1 + wal.Timeline(w.more.IntN(3))
	for b := old; b.timeline < tl; {
		n := w.promoted(b, b.end, b.timeline+1)
		n.end += wal.LSN(w.more.IntN(1 << 16))
		b, old = n, n
	}
	old.acked, old.ever = old.end, old.end
	first := w.more.IntN(min(2, len(w.members)))
	for i, m := range w.members {
		d := disk{dir: ha.DirPresent, sysID: old.sysID, branch: old, end: old.end, role: ha.ServerStandby,
			knownTL: old.timeline, ckptTL: old.timeline, hasCRC: true, clean: w.more.IntN(2) == 0}
		switch {
		case i == first:
			d.role, old.writer = ha.ServerPrimary, m.server
		case w.more.IntN(4) == 0:
			continue
		case w.more.IntN(2) == 0:
			d.end -= wal.LSN(w.more.IntN(int(min(d.end-old.from, 5000)))) // a lagging one
		}
		m.server.disk = d
	}
}

// join starts a member's agent for the first time: the last one later, perhaps;
// and where a cluster is adopted, those without data when its database is known,
// as the documents demand: the first of them would make another.
func (w *world) join(m *member, d time.Duration) {
	if w.cfg.wide.adopted && m.server.dir == ha.DirEmpty && w.store.view.Initialize.SystemID == "" {
		w.after(time.Second, func() { w.join(m, d) })
		return
	}
	if m.index > 0 && m.index == len(w.members)-1 {
		d = max(d, w.cfg.wide.late-w.now)
	}
	w.after(d, func() {
		m.joined = true
		m.agent.startAfter(0)
	})
}

// cutPower takes a host away in a while, and gives it back.
func (w *world) cutPower(m *member, in, lasts time.Duration) {
	w.after(in, func() {
		if w.ceased > 0 {
			return
		}
		m.host.powerOff()
		w.after(lasts, func() {
			if w.ceased == 0 {
				m.host.powerOn()
			}
		})
	})
}
