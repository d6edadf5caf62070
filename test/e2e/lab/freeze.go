package lab

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Freeze stops every process of the host and returns when all stand still, as
// when a container is paused. Its kernel goes on: timers run, packets are taken.
func (h *Host) Freeze() {
	h.net.t.Helper()
	Until(h.net.t, 10*time.Second, "a host that stands still", func() string {
		var moving []string
		for _, pid := range h.pids() {
			if s := state(pid); s != "T" && s != "Z" && s != "" {
				_ = syscall.Kill(pid, syscall.SIGSTOP)
				moving = append(moving, fmt.Sprint(pid, " ", s))
			}
		}
		return strings.Join(moving, ", ")
	})
}

// Continue lets processes of the host go on.
func (h *Host) Continue(pids ...int) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}

// Postgres and Rest divide the processes of the host: those of the database
// server, and all others but the given.
func (h *Host) Postgres() []int {
	var out []int
	for _, pid := range h.pids() {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && strings.HasSuffix(exe, "/postgres") {
			out = append(out, pid)
		}
	}
	return out
}

// Rest are the processes of the host but the given.
func (h *Host) Rest(but ...int) []int {
	return slices.DeleteFunc(h.pids(), func(pid int) bool { return slices.Contains(but, pid) })
}

// state is the letter of a process's state, empty when it is gone.
func state(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return after[:min(1, len(after))]
}
