package guard

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/internal/clock"
)

// inProcess is a guard of a directory without a server, driven by hand.
func inProcess(t *testing.T) *child {
	k, err := newKiller(t.TempDir(), clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.close)
	c := &child{killer: k, clock: clock.Real{}, sock: -1, kern: -1, releases: releases{access: -1, wake: -1, done: make(chan error, 16)}}
	n := now()
	c.watch.Armed, c.watch.Soft, c.watch.Hard = true, n.Add(time.Hour), n.Add(time.Hour)
	return c
}

// The server is down already when the guard wants to ask it: the next start is a
// standby's before anything else follows, whenever the one that asks comes to it.
func TestServerThatIsDownAlreadyIsMarked(t *testing.T) {
	c := inProcess(t)
	c.watch.Alone, c.watch.Asked = true, true
	if !c.stopped() {
		t.Fatal("a server runs there")
	}
	if _, err := os.Stat(filepath.Join(c.killer.dir, "standby.signal")); err != nil {
		t.Error(err)
	}
}

// A disk held the one up that asks for the shutdown, and the guard has ended the
// server without it: what runs there now is another lease's.
func TestShutdownThatIsNotWantedAnyMore(t *testing.T) {
	c := inProcess(t)
	c.asking = new(atomic.Bool)
	c.asking.Store(true)
	c.disarm()
	askShutdown(c.killer.dir, c.asking)
	if _, err := os.Stat(filepath.Join(c.killer.dir, "standby.signal")); err == nil {
		t.Error("it went on")
	}
}

// The disk hangs on which the note lies, and the guard is armed again when a helper
// ends: it goes on to watch its deadline.
func TestNoteOnADiskThatHangs(t *testing.T) {
	c := inProcess(t)
	root := t.TempDir()
	c.note = filepath.Join(root, "note")
	// Opening it waits for a reader.
	if err := unix.Mkfifo(c.note+".tmp", 0o600); err != nil {
		t.Fatal(err)
	}
	c.program = Program{Helper: []string{"release"}, Env: []string{envHelper + "=" + root}}
	access, err := seal([]byte(testAccess))
	if err != nil {
		t.Fatal(err)
	}
	defer access.Close()
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	c.releases.access, c.releases.wake = int(access.Fd()), wake
	written := make(chan struct{})
	close(written)
	c.release([]byte(testHandle), Note{}, written)
	ended := func() bool {
		text, _ := os.ReadFile(filepath.Join(root, "released"))
		return strings.HasSuffix(string(text), "\n") && !slices.ContainsFunc(children(t), func(p process) bool { return p.ppid == os.Getpid() && !p.ended() })
	}
	for !ended() {
		time.Sleep(10 * time.Millisecond)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50 {
			c.hearReleases()
			time.Sleep(10 * time.Millisecond)
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("the guard waits for the disk")
	}
	fifo, err := os.OpenFile(c.note+".tmp", os.O_RDWR, 0) // the disk answers
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	<-done
	for c.releases.running > 0 {
		c.hearReleases()
		time.Sleep(10 * time.Millisecond)
	}
}

func children(t *testing.T) []process {
	all, err := processes(make([]byte, statBufBytes))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// An acknowledgement that the guard owes to the former agent is none for this one.
func TestHeirCountsItsOwnWords(t *testing.T) {
	conn, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	i := inherit(&heir{pid: os.Getpid(), fd: -1}, conn, []message{{kind: kindHello}}, slog.New(slog.DiscardHandler), clock.Real{})
	answer := make(chan error, 1)
	go func() { answer <- i.Arm(t.Context(), long(), nil) }()
	var buf [maxMessage]byte
	n, err := theirs.Read(buf[:])
	if err != nil {
		t.Fatal(err)
	}
	m, err := decode(buf[:n])
	if err != nil {
		t.Fatal(err)
	}
	send1(int(theirs.Fd()), message{kind: kindAck, nonce: 1})
	if m.nonce < 1<<20 {
		t.Errorf("word %d may be one of the former agent's", m.nonce)
	}
	send1(int(theirs.Fd()), message{kind: kindAck, nonce: m.nonce})
	if err := <-answer; err != nil {
		t.Error(err)
	}
}
