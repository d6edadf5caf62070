package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// AccessFD is the descriptor on which a guard finds, and its helper is given,
// what the store needs to be reached: a sealed memory file.
const AccessFD = 4

// helperAccessFD is where a helper finds it.
const helperAccessFD = 3

const (
	// ReleaseWait is how long a helper works on the release of a session at most.
	ReleaseWait = 10 * time.Second
	// helperWait is when it is killed, should it hang.
	helperWait = ReleaseWait + 2*time.Second
)

// releases are the helpers at work.
type releases struct {
	access  int // -1: the store cannot be reached from here
	wake    int // readable when one has ended
	running int
	done    chan error
}

func newReleases() releases {
	r := releases{access: -1, wake: -1, done: make(chan error, 16)}
	if isSealed(AccessFD) {
		unix.CloseOnExec(AccessFD)
		r.access = AccessFD
	}
	if fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
		r.wake = fd
	}
	return r
}

// use replaces the access to the store by what an agent passed.
func (r *releases) use(fd int) {
	if fd < 0 {
		return
	}
	if !isSealed(fd) {
		unix.Close(fd)
		return
	}
	if r.access >= 0 {
		unix.Close(r.access)
	}
	r.access = fd
}

const sealed = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL

func isSealed(fd int) bool {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	return err == nil && seals&sealed == sealed
}

// releasable: when the server is gone, its session can be ended.
func (c *child) releasable() bool {
	return len(c.session) > 0 && len(c.program.Helper) > 0 && c.releases.access >= 0 && c.releases.wake >= 0
}

// release has the session ended, by a process of its own: this one has neither
// the memory nor the time for it. Only after the proof that nothing of the server
// runs. What became of it is added to the note n, by the helper's own goroutine:
// the disk may hang, and the guard may be armed again by then. Not before the note
// is written.
func (c *child) release(session []byte, n Note, written <-chan struct{}) {
	r := &c.releases
	if len(session) == 0 || len(c.program.Helper) == 0 || r.access < 0 || r.wake < 0 || r.running >= cap(r.done) {
		return
	}
	// A descriptor of its own: an agent that takes over may replace the other.
	access, err := unix.FcntlInt(uintptr(r.access), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	r.running++
	handle, note := slices.Clone(session), c.note
	go func() {
		err := c.program.help(handle, os.NewFile(uintptr(access), "access"))
		n.Released, n.Trouble = err == nil, errText(err)
		<-written
		leave(note, n)
		r.done <- err
		_, _ = unix.Write(r.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}()
}

// hearReleases tells what became of the sessions.
func (c *child) hearReleases() {
	r := &c.releases
	if r.running == 0 {
		return
	}
	var buf [8]byte
	_, _ = unix.Read(r.wake, buf[:]) // before the results: none is overlooked
	for {
		select {
		case err := <-r.done:
			r.running--
			m := message{kind: kindReleased, text: errText(err)}
			if err == nil {
				m.flags = 1
			}
			c.say(m)
		default:
			return
		}
	}
}

// help runs one helper: the handle goes by pipe, the access by descriptor.
func (p Program) help(handle []byte, access *os.File) error {
	defer access.Close()
	defer clear(handle)
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	ctx, cancel := context.WithTimeout(context.Background(), helperWait)
	defer cancel()
	// Its own program, even if the file was replaced by another release since.
	cmd := exec.CommandContext(ctx, "/proc/self/exe", p.Helper...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append([]string{"GOMAXPROCS=2"}, p.Env...)
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stderr = in, os.Stderr
	cmd.ExtraFiles = []*os.File{access} // becomes helperAccessFD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		out.Close()
		return fmt.Errorf("start the helper that ends the session: %w", err)
	}
	// It fits into the pipe: nobody waits for a reader.
	_, err = out.Write(handle)
	err = errors.Join(err, out.Close())
	if werr := cmd.Wait(); werr != nil {
		return fmt.Errorf("the helper that ends the session: %w", errors.Join(werr, err))
	}
	return nil
}

// ReadRelease is the beginning of a helper's life: what its guard gave it, the
// handle of the session and the access to the store. The helper gives back the
// protections that it inherited: it is no more than an ordinary process.
func ReadRelease() (handle, access []byte, err error) {
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0)
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 0)
	if handle, err = io.ReadAll(io.LimitReader(os.Stdin, maxText+1)); err != nil {
		return nil, nil, fmt.Errorf("read the session's handle: %w (this is started by the guard, not by hand)", err)
	}
	if len(handle) == 0 || len(handle) > maxText || !isSealed(helperAccessFD) {
		return nil, nil, errors.New("no session's handle, or no access to the store: this is started by the guard, not by hand")
	}
	f := os.NewFile(helperAccessFD, "access")
	defer f.Close()
	// The offset is shared with the guard's descriptor, and with earlier helpers.
	access, err = io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		return nil, nil, fmt.Errorf("read the access to the store: %w", err)
	}
	return handle, access, nil
}

// seal puts text into a memory file that nobody can change any more.
func seal(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("access", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("guard: make a memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "access")
	if _, err = f.Write(text); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, sealed)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("guard: fill a memory file: %w", err)
	}
	return f, nil
}

// passed returns the descriptor that came with a message, -1 for none.
func passed(oob []byte) int {
	if len(oob) == 0 {
		return -1
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	got := -1
	for _, m := range msgs {
		fds, ferr := unix.ParseUnixRights(&m)
		if err != nil || ferr != nil {
			continue
		}
		for _, fd := range fds {
			if got >= 0 {
				unix.Close(fd)
				continue
			}
			got = fd
		}
	}
	return got
}
