package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// OwnBinary gives the member a copy of the program for itself, so that what its
// processes share is shared on this host only, as on a machine of its own.
func (m *Member) OwnBinary() {
	m.c.t.Helper()
	own := filepath.Join(m.Dir(), "matriarch")
	copyFile(m.c.t, Binary(m.c.t), own, 0o755)
	m.argv = []string{own, "agent", m.File()}
}

// Usage is what a process of the program uses.
type Usage struct {
	Role string // its first argument: agent, guard, store, proxy
	PSS  int    // kB: its memory, with what it shares divided by those who share it
	Anon int    // kB: of that, what is not the program's file
	CPU  time.Duration
}

// Usage returns what the host's processes of the program use now; PostgreSQL's
// are left out. CPU is since their start.
func (h *Host) Usage() []Usage {
	var out []Usage
	for _, pid := range h.pids() {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue
		}
		args := strings.Split(string(line), "\x00")
		if len(args) < 2 || !strings.Contains(filepath.Base(args[0]), "matriarch") && !strings.HasPrefix(args[0], "/proc/") && args[0] != Binary(h.net.t) {
			continue
		}
		out = append(out, Usage{Role: args[1], PSS: rollup(pid, "Pss"), Anon: rollup(pid, "Pss_Anon"), CPU: cpu(pid)})
	}
	return out
}

// rollup is a line of the kernel's sum over a process's memory, in kB.
func rollup(pid int, name string) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kb int
		if n, _ := fmt.Sscanf(line, name+": %d kB", &kb); n == 1 {
			return kb
		}
	}
	return 0
}

// cpu is the time that a process has run, which the kernel counts in hundredths
// of a second.
func cpu(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	var user, system int64
	fmt.Sscan(f[11], &user)
	fmt.Sscan(f[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond
}
