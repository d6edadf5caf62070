package guard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// patience is until when a server without an agent goes on working. Stopping it
// before its lease is about to end makes sense only where the lease can be ended
// with it. An agent that has taken over and does not know yet whether it can go
// on has the time that the lease has.
func (c *child) patience() boot.Instant {
	if c.claimed || c.duty.Grace < 0 || !c.releasable() {
		return c.soft
	}
	return min(c.alone.Add(c.duty.Grace), c.soft)
}

// actAlone is act for an armed guard that has no agent, or one that has not
// decided yet: patience, a fast shutdown, and the release of the session when
// the server is gone.
func (c *child) actAlone(now boot.Instant) boot.Instant {
	if !c.asked {
		if until := c.patience(); now < until {
			return until
		}
		c.asked, c.killAt = true, c.hard
		if c.duty.CleanStop > 0 && c.releasable() {
			c.killAt = min(now.Add(c.duty.CleanStop), c.hard)
		}
		go askShutdown(c.killer.dir)
	}
	if alive, err := c.killer.signalRoots(0); err == nil && alive == 0 {
		c.stopped()
		return 0
	}
	return min(now.Add(goneCheck), c.killAt)
}

// stopped: the server has ended as it was asked to.
func (c *child) stopped() {
	at := c.clock.Now()
	if !c.killAgain() {
		return // it is looked at again
	}
	session := append([]byte(nil), c.session...)
	defer clear(session)
	c.disarm()
	c.lift()
	c.say(message{kind: kindFenced, flags: 1, a: int64(at)})
	c.ended(Note{Shutdown: true, Proof: Proof{Began: at}}, session, true)
}

// ended does what follows the end of the server: the session is released if it
// is proven that nothing of the server runs, and the note is written.
func (c *child) ended(n Note, session []byte, proven bool) {
	c.asked, c.claimed, c.killAt = false, false, 0
	n.Wall, n.BootID = c.clock.Wall(), bootID()
	if proven {
		c.release(session, n)
	}
	c.leave(n)
}

// askShutdown asks for a fast shutdown, once a later start is sure to be
// read-only. It runs beside the guard's own thread: a disk that hangs here must
// not hold up the kill at the hard deadline.
func askShutdown(dataDir string) {
	k, err := newKiller(dataDir, clock.Real{})
	if err != nil {
		return
	}
	defer k.close()
	_ = placeStandbySignal(dataDir)
	_, _ = k.signalRoots(unix.SIGINT)
}

// placeStandbySignal makes the next start of the server come up read-only. The
// file belongs to the directory's owner; an existing one is left alone.
func placeStandbySignal(dataDir string) error {
	st, err := os.Stat(dataDir)
	if err != nil {
		return fmt.Errorf("place standby.signal: %w", err)
	}
	path := filepath.Join(dataDir, "standby.signal")
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("place %s: %w", path, err)
	}
	defer unix.Close(fd)
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		_ = unix.Fchown(fd, int(sys.Uid), int(sys.Gid))
	}
	return nil
}
