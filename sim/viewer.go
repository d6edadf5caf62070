package sim

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
)

// How an agent makes its view of the cluster from what the store's client says,
// as package agent's viewer does: the watch and readings run at the same time,
// what is overtaken is passed over, and what seems to go back is read again.

// storeSeen is what a member keeps on disk, to notice another store after its
// agent has been restarted.
type storeSeen struct {
	id   string
	rev  int64
	at   time.Duration
	life int           // of the store: not known to the member
	ttl  time.Duration // the longest that may be in force
	// unsure: it may be another store than that of the member's data; lost: it was seen
	// to be another one than before, less than a ttl ago.
	unsure, lost bool
	handover     cluster.Version // the record that was there when it was seen
}

// knows takes note of the life of the store that an answer came from, as the
// client of a store does (see package dcs/etcd): whatever an older life says
// counts for nothing, and sessions that were opened in it have ended for good,
// also when the store that answers knows them.
func (a *agent) knows(life int) bool {
	if life < a.storeLife {
		return false
	}
	a.storeLife = life
	if k := &a.keeper; k.session != "" && k.life < life {
		k.gone()
		k.tick(0)
	}
	return true
}

// watched is a snapshot that the watch delivers.
func (a *agent) watched(x *snapshot, at boot.Instant) {
	if !a.knows(x.life) {
		return
	}
	if old := a.snap; old != nil && old.view.StoreID == x.view.StoreID && x.view.Revision < old.view.Revision {
		// Either it was overtaken, or the store went back: only a reading tells.
		if a.m.w.opt.Plain {
			return
		}
		a.m.w.stats.Overtaken++
		a.load(func(*snapshot, error) {})
		return
	}
	a.see(x, at, 0)
}

// see makes a snapshot the current view. One that is older than what is known
// was overtaken, unless it is older than floor: what was known when the reading
// began that it came from.
func (a *agent) see(x *snapshot, at boot.Instant, floor int64) {
	old := a.snap
	if old != nil && old.view.StoreID == x.view.StoreID && x.view.Revision < old.view.Revision && x.view.Revision >= floor {
		return
	}
	news := old == nil || matters(old, x)
	a.noticeAnother(x, news)
	if old != nil && old.settings.Paused && !x.settings.Paused {
		a.m.grace = max(a.m.grace, a.m.w.now+4*time.Second)
		a.m.pauseGrace, a.cut = a.m.grace, 0
	}
	a.snap, a.seen, a.storeErr = x, max(a.seen, at), ""
	if l := x.view.Leader; l.Held() {
		a.led = l.Name
	}
	a.keeper.observed(&x.view)
	if news {
		a.wake()
	}
}

// noticeAnother compares the store with what was known of it.
func (a *agent) noticeAnother(x *snapshot, news bool) {
	w, disk := a.m.w, &a.m.storeSeen
	was := *disk
	if w.opt.Mutant == ForgetStore {
		was = storeSeen{}
	}
	if a.snap == nil {
		a.longestTTL = was.ttl
		if was.lost {
			a.newSince, a.newHandover, a.m.noticed = a.now(), was.handover, w.now
		}
		if disk.id == "" || disk.unsure {
			disk.unsure, a.firstSeen = true, a.now()
		}
		if dir := a.observeServer().Dir; disk.id == "" && (dir == ha.DirEmpty || dir == ha.DirUnfinished) {
			a.m.newcomer = x.life
		}
	} else {
		was.id, was.rev, was.life = a.snap.view.StoreID, a.snap.view.Revision, a.snap.life
	}
	lost := false
	if was.id != "" && (was.id != x.view.StoreID || x.view.Revision < was.rev) {
		a.newSince, a.newHandover = a.now(), x.view.Handover.Version
		disk.handover = a.newHandover
		disk.lost, lost = true, true // also to an agent that is started meanwhile
		w.stats.NewStores++
		a.m.noticed = w.now
		w.tracef("%s: the store is another one than before: %s at %d, known was %s at %d", a.m.name, x.view.StoreID, x.view.Revision, was.id, was.rev)
	}
	if was.life < x.life && was.id == x.view.StoreID && x.view.Revision >= was.rev {
		a.m.blind = x.life
	}
	if lost || was.id == "" || news || w.now-disk.at > time.Minute {
		*disk = storeSeen{x.view.StoreID, x.view.Revision, w.now, x.life, disk.ttl, disk.unsure, disk.lost, disk.handover}
	}
}

// lookAgain reads the store once under each session before the leader key is
// taken: the session may have been opened in another store than the view is of.
func (a *agent) lookAgain(done func(ok bool)) {
	since, store := a.newSince, a.snap.view.StoreID
	same := func() bool { return a.newSince == since && a.snap.view.StoreID == store }
	id := a.keeper.session
	if id == a.readUnder || a.m.w.opt.Plain {
		done(same())
		return
	}
	a.load(func(_ *snapshot, err error) {
		if err == nil {
			a.readUnder = id
		}
		done(err == nil && same())
	})
}
