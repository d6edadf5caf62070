package postmaster

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// stat is what /proc/<pid>/stat says.
type stat struct {
	state byte
	ppid  int
	ticks uint64 // start time in clock ticks since boot
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(text))
}

// parseStat reads past the command, which may itself contain parentheses.
func parseStat(text string) (stat, error) {
	i := strings.LastIndexByte(text, ')')
	if i < 0 {
		return stat{}, fmt.Errorf("process status has no command")
	}
	f := strings.Fields(text[i+1:])
	if len(f) < 20 {
		return stat{}, fmt.Errorf("process status has %d fields after the command, want 20", len(f))
	}
	ppid, err1 := strconv.Atoi(f[1])
	ticks, err2 := strconv.ParseUint(f[19], 10, 64)
	if err1 != nil || err2 != nil {
		return stat{}, fmt.Errorf("process status is not numeric")
	}
	return stat{state: f[0][0], ppid: ppid, ticks: ticks}, nil
}

// ticksPerSecond is USER_HZ, which is 100 on every Linux architecture we build for.
const ticksPerSecond = 100

// startTime converts ticks since boot into wall time, as postmaster.pid has it.
func startTime(ticks uint64) (time.Time, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}, err
	}
	for _, line := range strings.Split(string(text), "\n") {
		if v, ok := strings.CutPrefix(line, "btime "); ok {
			boot, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return time.Unix(boot+int64(ticks/ticksPerSecond), 0), err
		}
	}
	return time.Time{}, fmt.Errorf("/proc/stat has no btime line")
}

// Child is one child process of a postmaster.
type Child struct {
	PID   int
	Title string // the process title, such as "postgres: checkpointer "
}

// IsChild reports whether a process lives and is a direct child of another.
func IsChild(pid, parent int) bool {
	st, err := readStat(pid)
	return err == nil && st.ppid == parent && st.state != 'Z'
}

// Children lists the living direct children of a process. It looks at every
// process, because the kernel's own list of children may miss some while others
// exit, and a missed one would pass for ended.
func Children(pid int) []Child {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []Child
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		st, err := readStat(n)
		if err != nil || st.ppid != pid || st.state == 'Z' {
			continue
		}
		out = append(out, Child{PID: n, Title: title(n)})
	}
	return out
}

func title(pid int) string {
	text, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	return strings.TrimRight(strings.ReplaceAll(string(text), "\x00", " "), " ")
}
