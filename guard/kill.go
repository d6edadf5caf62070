package guard

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// Proof says that no process of a server can commit any more.
type Proof struct {
	// Processes is how many were alive and were sent SIGKILL.
	Processes int
	// Dying is how many of them had not left the process table when the proof
	// was complete; they run no more instructions of the server.
	Dying int
	Began boot.Instant
	Took  time.Duration
}

// Kill kills every process of the server in dataDir and returns when none can
// run any more. A server that does not run gives a Proof with no processes.
// The error tells why there is no proof: ctx ended, or a signal was refused.
func Kill(ctx context.Context, dataDir string, c clock.Clock) (Proof, error) {
	k, err := newKiller(dataDir, c)
	if err != nil {
		return Proof{}, err
	}
	defer k.close()
	return k.kill(ctx)
}

// Alive returns the pids of the server's processes that still can run.
func Alive(dataDir string) ([]int, error) {
	k, err := newKiller(dataDir, clock.Real{})
	if err != nil {
		return nil, err
	}
	defer k.close()
	found, err := k.find()
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, m := range found {
		if !m.done() {
			pids = append(pids, m.pid)
		}
	}
	return pids, nil
}

// killer finds and kills the processes of one server.
type killer struct {
	dir   string
	clock clock.Clock
	buf   []byte
	// pinned is the data directory as it was when the killer was made. The
	// descriptor keeps its identity from being given to another directory.
	pinned fileID
	owner  owner
	fd     int
}

func newKiller(dataDir string, c clock.Clock) (*killer, error) {
	dir, err := filepath.Abs(dataDir)
	if err != nil {
		return nil, fmt.Errorf("guard: data directory %q: %w", dataDir, err)
	}
	k := &killer{dir: dir, clock: c, buf: make([]byte, statBufBytes), fd: -1}
	k.pin()
	return k, nil
}

// pin remembers which directory the path leads to now. A path that leads
// nowhere is no error: the server's processes may exist in a directory that was
// moved, and a data directory may be created later.
func (k *killer) pin() {
	fd, err := unix.Open(k.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	k.close()
	k.fd = fd
	k.pinned, k.owner, _ = identify(k.dir)
}

func (k *killer) close() {
	if k.fd >= 0 {
		unix.Close(k.fd)
	}
	k.fd, k.pinned = -1, fileID{}
}

// member is a process of the server; a root has no parent among them: the
// postmaster, or a backend that outlived it.
type member struct {
	process
	root bool
}

// find lists the server's processes that have not ended. It fails when there is
// a process that could be one but may not be looked into: not seeing is no proof.
func (k *killer) find() (out []member, err error) {
	all, err := processes(k.buf)
	if err != nil {
		return nil, fmt.Errorf("guard: list processes: %w", err)
	}
	err = asOwner(k.owner, func() error {
		out, err = k.choose(all)
		return err
	})
	return out, err
}

// choose returns those of all processes that belong to the server.
func (k *killer) choose(all []process) ([]member, error) {
	now, _, _ := identify(k.dir)
	is := make(map[int]bool)
	for _, p := range all {
		cwd, _, err := identify(procPath(p.pid, "cwd"))
		switch {
		case err == nil && (cwd == now || cwd == k.pinned) && runsPostgres(p.pid):
			is[p.pid] = true
		case p.postgres && !p.done() && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) && k.owns(p):
			return nil, fmt.Errorf("guard: may not look into process %d, which could be the server in %s: "+
				"run as the owner of the data directory, or as root", p.pid, k.dir)
		}
	}
	// A procedural language may have changed a backend's working directory.
	for _, p := range all {
		if !is[p.pid] && is[p.ppid] && runsPostgres(p.pid) {
			is[p.pid] = true
		}
	}
	var out []member
	for _, p := range all {
		if is[p.pid] {
			out = append(out, member{process: p, root: !is[p.ppid]})
		}
	}
	return out, nil
}

// owns reports whether a process belongs to the owner of the data directory,
// or the directory's owner is not known.
func (k *killer) owns(p process) bool {
	_, own, err := identify(procPath(p.pid, "."))
	return err == nil && (k.pinned == fileID{} || own.uid == k.owner.uid)
}

// stopWait bounds the wait for a postmaster to stop. One that sleeps in the
// kernel cannot be waited for; it is killed with the rest, and the search goes
// on until nothing new appears.
const stopWait = 100 * time.Millisecond

// kill does the work: stop the roots, so that nothing new is forked, kill the
// children until none is left, then the roots, and search again until nothing
// can run.
func (k *killer) kill(ctx context.Context) (Proof, error) {
	proof := Proof{Began: k.clock.Now()}
	killed := make(map[int]uint64)
	var refused error
	strike := func(ms []member, roots bool) (left int) {
		for _, m := range ms {
			if m.done() || (m.root && !roots) {
				continue
			}
			left++
			if err := send(m.process, unix.SIGKILL, k.buf); err != nil {
				refused = fmt.Errorf("guard: kill process %d of the server in %s: %w", m.pid, k.dir, err)
				continue
			}
			killed[m.pid] = m.start
		}
		return left
	}
	finish := func(err error) (Proof, error) {
		proof.Processes = len(killed)
		proof.Took = k.clock.Now().Sub(proof.Began)
		return proof, err
	}

	roots := false
	for round := 0; ; round++ {
		ms, err := k.find()
		if err != nil {
			return finish(err)
		}
		if round == 0 {
			k.stopRoots(ms)
			continue
		}
		refused = nil
		left := strike(ms, roots)
		switch {
		case left == 0 && roots:
			proof.Dying = len(ms)
			return finish(nil)
		case left == 0:
			roots = true
			continue
		}
		if ctx.Err() != nil {
			return finish(errors.Join(fmt.Errorf("guard: %d processes of the server in %s still run: %w",
				left, k.dir, context.Cause(ctx)), refused))
		}
		if round > 3 {
			// Only signals that are refused or a flood of new processes lead here.
			nap(time.Millisecond)
		}
	}
}

// stopRoots sends SIGSTOP to the roots and waits until they stand.
func (k *killer) stopRoots(ms []member) {
	until := k.clock.Now().Add(stopWait)
	for _, m := range ms {
		if m.root && !m.done() {
			_ = send(m.process, unix.SIGSTOP, k.buf) // a refusal shows at SIGKILL
		}
	}
	for _, m := range ms {
		for m.root && k.clock.Now() < until {
			p, ok := readProcess(m.pid, k.buf)
			if !ok || p.start != m.start || p.done() || p.stopped() {
				break
			}
			nap(100 * time.Microsecond)
		}
	}
}

// signalRoots sends sig to the postmaster and reports how many processes of
// the server can still run. Backends that outlived a postmaster get it too: for
// them SIGINT cancels the query.
func (k *killer) signalRoots(sig unix.Signal) (alive int, err error) {
	ms, err := k.find()
	for _, m := range ms {
		if m.done() {
			continue
		}
		alive++
		if m.root && sig != 0 {
			err = errors.Join(err, send(m.process, sig, k.buf))
		}
	}
	return alive, err
}
