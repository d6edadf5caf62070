package agent

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/postgres"
)

// clockTolerance is how far clocks may differ or jump before it is worth a word.
// Leases are counted on the boot clock, and confirmed anew after a step (package
// lease). Logs, certificates and recovery targets go by the wall clock.
const clockTolerance = 5 * time.Second

// clocks remembers both clocks of the turn before.
type clocks struct {
	boot boot.Instant
	wall time.Time
}

// watch tells of what goes wrong beside the decisions.
func (a *Agent) watch(f postgres.Facts) {
	now := clocks{a.opt.Clock.Now(), a.opt.Clock.Wall()}
	if was := a.clocks; !was.wall.IsZero() {
		if by := now.wall.Round(0).Sub(was.wall) - now.boot.Sub(was.boot); by.Abs() > clockTolerance {
			a.log.Warn(fmt.Sprintf("the clock of this host was stepped by %s: leases are counted on another and are confirmed anew, but times in logs and certificates are wrong by as much; see that it is synchronised (chrony, systemd-timesyncd)",
				by.Round(time.Second)))
		}
	}
	a.clocks = clocks{now.boot, now.wall.Round(0)}
	a.tellReceiver(f)
	a.tellArchiver(f)
}

// tellReceiver: why a standby does not stream from its upstream.
func (a *Agent) tellReceiver(f postgres.Facts) {
	up := f.Upstream.Host + ":" + f.Upstream.Port
	switch {
	case f.ReceiverError != "":
		a.broken("streaming", "the server does not stream from "+up, errors.New(f.ReceiverError))
	case f.Receiver.Status == "streaming":
		a.works("streaming", "the server streams from "+up)
	}
}

// tellArchiver: that WAL piles up because archive_command fails.
func (a *Agent) tellArchiver(f postgres.Facts) {
	if f.Archive.Failures == 0 {
		a.works("archiving", "WAL is archived again")
		return
	}
	// Its count grows with every attempt: the file tells one trouble from the next.
	a.broken("archiving", fmt.Sprintf("archive_command fails (%d times, the last success was %s ago) and WAL piles up: correct it, see the server's log",
		f.Archive.Failures, a.opt.Clock.Wall().Sub(f.Archive.Since).Round(time.Second)), errors.New("waiting: "+f.Archive.File))
}

// compareClock tells once of a peer whose clock is far from ours.
func (p *peers) compareClock(name string, h http.Header) {
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil || p.opt.Clock == nil {
		return
	}
	// The header has whole seconds, and the answer was under way.
	off := theirs.Sub(p.opt.Clock.Wall())
	if off.Abs() <= clockTolerance {
		return
	}
	p.mu.Lock()
	told := p.clockTold[name]
	p.clockTold[name] = true
	p.mu.Unlock()
	if !told {
		p.opt.Logger.Warn(fmt.Sprintf("the clocks of %s and of this host differ by %s: synchronise them (chrony, systemd-timesyncd)", name, off.Abs().Round(time.Second)))
	}
}
