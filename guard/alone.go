package guard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// alone is how this guard behaves without an agent.
func (c *child) alone() fence.Alone {
	return fence.Alone{Grace: c.duty.Grace, CleanStop: c.duty.CleanStop, Releasable: c.releasable()}
}

// stopped: the server has ended as it was asked to. Without the proof it is looked
// at again.
func (c *child) stopped() bool {
	at := c.clock.Now()
	if !c.killAgain() {
		return false
	}
	session := slices.Clone(c.session)
	defer clear(session)
	c.disarm()
	c.say(message{kind: kindFenced, flags: 1, a: int64(at)})
	// The one that asked may not have come to it yet: a server that was down already
	// is seen at once. From here on the disk is touched, which may hang.
	proof := Proof{Began: at}
	if err := placeStandbySignal(c.killer.dir); err != nil {
		c.report(proof, err)
	}
	proven := c.killAgain()
	c.lift()
	c.ended(Note{Shutdown: true, Proof: proof}, session, proven)
	return true
}

// ended does what follows the end of the server: the session is released if it
// is proven that nothing of the server runs, and the note is written.
func (c *child) ended(n Note, session []byte, proven bool) {
	n.Wall, n.BootID = c.clock.Wall(), bootID()
	written := make(chan struct{})
	defer close(written)
	if proven {
		c.release(session, n, written)
	}
	leave(c.note, n)
}

// askShutdown asks for a fast shutdown, once a later start is sure to be
// read-only. It runs beside the guard's own thread: a disk that hangs here must
// not hold up the kill at the hard deadline. One that comes to it only after that,
// when the guard may serve another lease, is not wanted any more.
func askShutdown(dataDir string, wanted *atomic.Bool) {
	k, err := newKiller(dataDir, clock.Real{})
	if err != nil {
		return
	}
	defer k.close()
	if wanted.Load() {
		_ = placeStandbySignal(dataDir) // tried again when the server is gone
	}
	if wanted.Load() {
		_, _ = k.signalRoots(unix.SIGINT)
	}
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
