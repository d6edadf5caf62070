package agent

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
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
	a.tellWeakCommits(f)
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

// tellWeakCommits: that in synchronous mode some commits are acknowledged before a
// standby has them, because somebody set that for a role, a database, or all.
func (a *Agent) tellWeakCommits(f postgres.Facts) {
	const name = "weak-commits"
	if mode := a.config.settings.SyncMode; mode != cluster.SyncOn && mode != cluster.SyncQuorum || f.Role == postgres.RoleStandby {
		delete(a.told.broken, name) // nothing is promised here, and nothing was mended
		return
	}
	if f.Role != postgres.RolePrimary || f.ServerVersion == 0 {
		return // it was not asked
	}
	weak := weakCommits(f)
	if len(weak) == 0 {
		a.works(name, "no setting of the server, a role or a database weakens synchronous_commit any more")
		return
	}
	a.broken(name, "synchronous_mode does not protect every commit: less than synchronous_commit = on is set for some", errors.New(strings.Join(weak, "; ")))
}

// maxWeakCommits is how many settings are named in a line.
const maxWeakCommits = 5

// weakCommits names each setting with what takes it back.
func weakCommits(f postgres.Facts) []string {
	var out []string
	switch f.SyncCommit {
	case "off", "local", "remote_write":
		out = append(out, f.SyncCommit+" for all, in the server's configuration: take synchronous_commit out of it, or ALTER SYSTEM RESET synchronous_commit")
	}
	for i, w := range f.WeakCommits {
		if i == maxWeakCommits {
			return append(out, fmt.Sprintf("and %d more, see pg_db_role_setting", len(f.WeakCommits)-i))
		}
		out = append(out, w.String())
	}
	return out
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
