package lease

import (
	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/dcs"
)

// entrusted is the session whose handle the guard has, and the deadline at which
// the guard may fence and have that session ended: the earliest that it may know.
// It lasts over holdings, until the guard is disarmed, ends, or the deadline comes.
type entrusted struct {
	session dcs.Session
	until   boot.Instant // 0: the guard is not armed
}

// entrust notes the word that is about to be sent to the guard; k.mu is held. It may
// be heard although it is not acknowledged, so an earlier deadline counts at once,
// a later one when it is acknowledged.
func (k *Keeper) entrust(hard boot.Instant) {
	e := &k.entrusted
	if e.until == 0 || hard < e.until {
		e.until = hard
	}
	e.session = k.session
	k.term.Handing(hard)
}

// overdue gives up the session that the guard may be having ended, where no lease
// is held any more; k.mu is held. A lease that is taken under it would end when
// that helper comes.
func (k *Keeper) overdue(now boot.Instant) {
	e := k.entrusted
	if k.held || e.until == 0 || now < e.until {
		return
	}
	k.entrusted = entrusted{}
	if k.session != nil && k.session == e.session {
		k.abandon()
	}
}
