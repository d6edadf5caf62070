package hand

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Spec is all that made a process, as the kernel remembers it. Its environment
// may hold passwords: it is never printed, and is not put on a command line.
type Spec struct {
	Exe    string        `json:"exe"`
	Argv   []string      `json:"argv"`
	Env    []string      `json:"env"`
	Dir    string        `json:"dir"`
	UID    uint32        `json:"uid"`
	GID    uint32        `json:"gid"`
	Groups []uint32      `json:"groups"`
	Umask  int           `json:"umask"`
	Limits []unix.Rlimit `json:"limits"` // by their number
	Out    *output       `json:"out,omitempty"`
	Err    *output       `json:"err,omitempty"`
}

// output is a file that a process writes to; the numbers tell it from a later
// one of the name.
type output struct {
	Path string `json:"path"`
	Dev  uint64 `json:"dev"`
	Ino  uint64 `json:"ino"`
}

// limits is how many resource limits there are: RLIMIT_RTTIME is the last.
const limits = unix.RLIMIT_RTTIME + 1

// mostEnv bounds an environment, so that what is said stays within MaxLine also
// when it is quoted twice.
const mostEnv = 256 << 10

// specOf remembers a process, or says why one like it cannot be started.
func specOf(pid int) (*Spec, error) {
	s := &Spec{}
	var err error
	at := fmt.Sprintf("/proc/%d/", pid)
	if s.Exe, err = os.Readlink(at + "exe"); err != nil {
		return nil, err
	}
	if strings.HasSuffix(s.Exe, deleted) {
		return nil, errors.New("its program was replaced since it was started: restart the agent first")
	}
	if s.Dir, err = os.Readlink(at + "cwd"); err != nil {
		return nil, err
	}
	if strings.HasSuffix(s.Dir, deleted) {
		return nil, errors.New("its working directory was removed: restart the agent first")
	}
	text, err := os.ReadFile(at + "environ")
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(text) || len(text) > mostEnv {
		return nil, errors.New("its environment is too large, or no UTF-8")
	}
	if len(text) > 0 {
		s.Env = strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	}
	cmdline, err := os.ReadFile(at + "cmdline")
	if err != nil {
		return nil, err
	}
	if len(cmdline) == 0 || !utf8.Valid(cmdline) {
		return nil, errors.New("its command line is empty, or no UTF-8")
	}
	s.Argv = strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	if err := s.identity(pid); err != nil {
		return nil, err
	}
	s.Limits = make([]unix.Rlimit, limits)
	for i := range s.Limits {
		if err := unix.Prlimit(pid, i, nil, &s.Limits[i]); err != nil {
			return nil, fmt.Errorf("its limits: %w", err)
		}
	}
	s.Out, s.Err = outputOf(at+"fd/1"), outputOf(at+"fd/2")
	return s, nil
}

// identity is whose the process is.
func (s *Spec) identity(pid int) error {
	status, err := statusOf(pid)
	if err != nil {
		return err
	}
	ids := func(key string) (out []uint32, err error) {
		for _, text := range status[key] {
			n, err := strconv.ParseUint(text, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("%s of process %d: %w", key, pid, err)
			}
			out = append(out, uint32(n))
		}
		return out, nil
	}
	uids, err := ids("Uid")
	if err != nil {
		return err
	}
	gids, err := ids("Gid")
	if err != nil {
		return err
	}
	if s.Groups, err = ids("Groups"); err != nil {
		return err
	}
	if len(slices.Compact(uids)) != 1 || len(slices.Compact(gids)) != 1 {
		return errors.New("it runs as two users or groups at once")
	}
	s.UID, s.GID = uids[0], gids[0]
	if len(status["Umask"]) != 1 {
		return errors.New("its umask is not known")
	}
	umask, err := strconv.ParseInt(status["Umask"][0], 8, 32)
	s.Umask = int(umask)
	if me := os.Geteuid(); err == nil && me != 0 && uint32(me) != s.UID {
		return errors.New("it is another user's: let the way of --reach be that of root, or of the agent's user")
	}
	return err
}

// outputOf is the file that a descriptor leads to, nil where it is none.
func outputOf(fd string) *output {
	path, err := os.Readlink(fd)
	var st unix.Stat_t
	if err != nil || unix.Stat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || strings.HasSuffix(path, deleted) {
		return nil
	}
	return &output{path, st.Dev, st.Ino}
}

// open opens it to be appended to; nil where it is not there any more.
func (o *output) open() io.WriteCloser {
	if o == nil {
		return nil
	}
	// Not through a link: we may be root, and the directory somebody else's.
	fd, err := unix.Open(o.Path, unix.O_WRONLY|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Dev != o.Dev || st.Ino != o.Ino {
		unix.Close(fd)
		return nil
	}
	return os.NewFile(uintptr(fd), o.Path)
}

// start starts the very same again, in a session of its own.
func (s *Spec) start() (<-chan string, error) {
	cmd := &exec.Cmd{Path: s.Exe, Args: s.Argv, Env: s.Env, Dir: s.Dir, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would mean ours
	}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.UID, Gid: s.GID, Groups: s.Groups}
	}
	if out := s.Out.open(); out != nil {
		defer out.Close()
		cmd.Stdout = out
	}
	if out := s.Err.open(); out != nil {
		defer out.Close()
		cmd.Stderr = out
	}
	unix.Umask(s.Umask) // of this process, which does nothing else
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the agent: %w", err)
	}
	for i, l := range s.Limits {
		if err := unix.Prlimit(cmd.Process.Pid, i, &l, nil); err != nil {
			// Those that we may not raise are as they are here. It runs, which is
			// worth more.
			continue
		}
	}
	ended := make(chan string, 1)
	go func() {
		_ = cmd.Wait() // how it ended says more
		ended <- cmd.ProcessState.String()
	}()
	return ended, nil
}
