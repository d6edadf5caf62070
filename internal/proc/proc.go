// Package proc finds processes of this host and signals them, and never a later
// process that has the same number by now: a Record tells them apart, and a
// signal goes through a pidfd that was compared with it.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Record tells a process from a later one of the same number, and from one
// before the machine was started anew.
type Record struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time"` // clock ticks since boot
	BootID    string `json:"boot_id"`
}

// Of reads what tells a running process from others.
func Of(pid int) (Record, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", os.ErrProcessDone, err)
	}
	started, err := startTime(string(stat))
	return Record{PID: pid, StartTime: started, BootID: bootID()}, err
}

// Alive reports whether the process still runs; it takes nothing over.
func (r Record) Alive() bool {
	now, err := Of(r.PID)
	return r.PID > 0 && err == nil && now == r
}

// Pin opens a pidfd of the process, or says that it runs no more.
func (r Record) Pin() (*os.File, error) {
	if r.PID <= 0 || r.BootID != bootID() {
		return nil, os.ErrProcessDone
	}
	fd, err := unix.PidfdOpen(r.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, os.ErrProcessDone
	} else if err != nil {
		return nil, fmt.Errorf("look at process %d: %w", r.PID, err)
	}
	// Only now is the number pinned: compare what it belongs to.
	if !r.Alive() {
		unix.Close(fd)
		return nil, os.ErrProcessDone
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// Send signals the process, and no later one of the same number.
func (r Record) Send(sig unix.Signal) error {
	f, err := r.Pin()
	if err != nil {
		return err
	}
	defer f.Close()
	switch err := unix.PidfdSendSignal(int(f.Fd()), sig, nil, 0); {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("process %d belongs to another user: run the drill as that user, or as root", r.PID)
	case errors.Is(err, unix.ESRCH):
		return os.ErrProcessDone
	default:
		return err
	}
}

// AwaitEnd waits until the process has ended.
func (r Record) AwaitEnd(ctx context.Context) error {
	f, err := r.Pin()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	for {
		fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
		// In pieces, since a poll knows of no context.
		n, err := unix.Poll(fds, 100)
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("wait for process %d: %w", r.PID, err)
		case n > 0:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("process %d has not ended yet: %w", r.PID, ctx.Err())
		}
	}
}

// All are the numbers of all processes.
func All() []int {
	entries, _ := filepath.Glob("/proc/[0-9]*")
	var out []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(filepath.Base(e)); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// Name is the short name of a process, which is cut off after 15 characters.
func Name(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(b))
}

// Argv is the command line of a process.
func Argv(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}

// Descendants are the children of a process now, and theirs.
func Descendants(of Record) []Record {
	if !of.Alive() {
		return nil
	}
	parents := map[int]int{}
	for _, pid := range All() {
		parents[pid] = Parent(pid)
	}
	var out []Record
	for pid := range parents {
		above := parents[pid]
		for depth := 0; above > 1 && above != of.PID && depth < 64; depth++ {
			above = parents[above]
		}
		if r, err := Of(pid); above == of.PID && err == nil {
			out = append(out, r)
		}
	}
	return out
}

// Parent is the number of a process's parent, 0 where it is not known.
func Parent(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(fields[1])
	return n
}

// InServer are the processes of the server on a data directory: all of them
// stand in it.
func InServer(data string) []Record {
	var out []Record
	for _, pid := range All() {
		cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		if err != nil || cwd != data || !strings.HasPrefix(Name(pid), "postgres") {
			continue
		}
		if r, err := Of(pid); err == nil {
			out = append(out, r)
		}
	}
	return out
}

// startTime is the 22nd field of a process's stat file. The program's name, the
// 2nd, may hold anything, so the last parenthesis is looked for. A zombie has
// ended as far as we are concerned.
func startTime(stat string) (uint64, error) {
	i := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[i+1:])
	if i < 0 || len(fields) < 20 {
		return 0, fmt.Errorf("unexpected contents of a process's stat file: %q", stat)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, os.ErrProcessDone
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}
