package guard

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is one line of the process table, from /proc/PID/stat alone.
type process struct {
	pid, ppid int
	state     byte
	flags     uint64 // PF_*
	pending   uint64 // signals pending for the main thread, bit n-1 for signal n
	start     uint64 // clock ticks after boot: with pid it names a process for good
	postgres  bool   // its name says so: a hint only, anybody can take a name
}

const (
	pfExiting    = 0x4
	pfKthread    = 0x200000
	sigkillBit   = 1 << (unix.SIGKILL - 1)
	statBufBytes = 2048
)

// done reports whether the process runs no more instructions of its program:
// it is a zombie, on its way out, or has SIGKILL pending. The kernel marks
// SIGKILL as pending on every thread of the process, so the main thread's set
// suffices.
func (p process) done() bool { return p.ended() || p.dying() }

func (p process) ended() bool { return p.state == 'Z' || p.state == 'X' || p.state == 'x' }

func (p process) dying() bool { return p.flags&pfExiting != 0 || p.pending&sigkillBit != 0 }

func (p process) stopped() bool { return p.state == 'T' || p.state == 't' }

var errStat = errors.New("malformed process status")

// parseStat reads the text of /proc/PID/stat. The program's name, in
// parentheses, may hold anything, spaces and parentheses too.
func parseStat(b []byte) (process, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 2 || b[open-1] != ' ' || end < open {
		return process{}, errStat
	}
	var p process
	pid, err := strconv.Atoi(string(b[:open-1]))
	if err != nil || pid <= 0 {
		return process{}, errStat
	}
	p.pid = pid
	p.postgres = string(b[open+1:end]) == "postgres" || string(b[open+1:end]) == "edb-postgres"
	rest := b[end+1:]
	// Field 3 of proc(5) is the first one after the name.
	for field := 3; field <= 31; field++ {
		rest = bytes.TrimLeft(rest, " ")
		i := bytes.IndexByte(rest, ' ')
		if i < 0 {
			i = len(rest)
		}
		word := rest[:i]
		if len(word) == 0 {
			return process{}, errStat
		}
		rest = rest[i:]
		switch field {
		case 3:
			if p.state = word[0]; p.state < 'A' || p.state > 'z' {
				return process{}, errStat
			}
		case 4:
			p.ppid, err = strconv.Atoi(string(word))
		case 9:
			p.flags, err = strconv.ParseUint(string(word), 10, 64)
		case 22:
			p.start, err = strconv.ParseUint(string(word), 10, 64)
		case 31:
			p.pending, err = strconv.ParseUint(string(word), 10, 64)
		}
		if err != nil {
			return process{}, errStat
		}
	}
	return p, nil
}

// procPath returns /proc/PID/name.
func procPath(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

// readProcess reads one process; ok is false when it is gone.
func readProcess(pid int, buf []byte) (p process, ok bool) {
	fd, err := unix.Open(procPath(pid, "stat"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return process{}, false
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buf)
	if err != nil || n <= 0 {
		return process{}, false
	}
	p, err = parseStat(buf[:n])
	return p, err == nil
}

// processes lists all user processes of the host that have not ended.
func processes(buf []byte) ([]process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	out := make([]process, 0, len(names))
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		p, ok := readProcess(pid, buf)
		if ok && !p.ended() && p.flags&pfKthread == 0 {
			out = append(out, p)
		}
	}
	return out, nil
}

// runsPostgres reports whether the process executes the server's program. An
// upgraded package leaves " (deleted)" behind the name.
func runsPostgres(pid int) bool {
	exe, err := os.Readlink(procPath(pid, "exe"))
	if err != nil {
		return false
	}
	exe = strings.TrimSuffix(exe, " (deleted)")
	base := exe[strings.LastIndexByte(exe, '/')+1:]
	return base == "postgres" || base == "edb-postgres"
}

// fileID names a directory whatever path leads to it.
type fileID struct {
	major, minor uint32
	inode        uint64
}

// identify returns the identity of the file at path, and its owner, without
// waiting for a network file system.
func identify(path string) (id fileID, own owner, err error) {
	var st unix.Statx_t
	err = unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC, unix.STATX_INO|unix.STATX_UID|unix.STATX_GID, &st)
	if err != nil {
		return fileID{}, owner{}, err
	}
	return fileID{st.Dev_major, st.Dev_minor, st.Ino}, owner{int(st.Uid), int(st.Gid)}, nil
}

// owner is whom a file or process belongs to.
type owner struct{ uid, gid int }

// asOwner runs f with the owner's rights to look into processes. Root without
// CAP_SYS_PTRACE (the default in containers) may not read another user's links
// in /proc, but may take that user's file system identity, per thread.
func asOwner(o owner, f func() error) error {
	if o.uid == 0 || unix.Geteuid() != 0 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, _ = unix.SetfsgidRetGid(o.gid)
	_, _ = unix.SetfsuidRetUid(o.uid)
	defer func() {
		_, _ = unix.SetfsuidRetUid(0)
		_, _ = unix.SetfsgidRetGid(unix.Getegid())
	}()
	return f()
}

// send sends sig to exactly the process that p describes, never to another that
// got its number meanwhile. A process that is gone is no error.
func send(p process, sig unix.Signal, buf []byte) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil
	case err != nil:
		fd = -1 // Linux before 5.3: the check below leaves a window of microseconds.
	default:
		defer unix.Close(fd)
	}
	now, ok := readProcess(p.pid, buf)
	if !ok || now.start != p.start {
		return nil
	}
	if fd >= 0 {
		err = unix.PidfdSendSignal(fd, sig, nil, 0)
	} else {
		err = unix.Kill(p.pid, sig)
	}
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// nap sleeps in the kernel on this very thread. Go's own timers would hand the
// goroutine over by way of a thread of ordinary priority, which a busy host
// lets wait.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil) // a signal only shortens it
}
