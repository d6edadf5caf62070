package up

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cutPower kills every process of a member, as close to at once as this can be
// done: what the killed ones have started meanwhile is found in the next round.
// The member is held down, so none of them comes back.
func cutPower(ctx context.Context, m member) error {
	var agent pidRecord
	_ = readJSON(filepath.Join(m.dir, "agent.pid"), &agent) // none: no agent to kill
	children := descendants(agent)
	for round := 0; ; round++ {
		var left []pidRecord
		for _, p := range append([]pidRecord{agent, storeProcess(m)}, append(children, serverProcesses(m.data())...)...) {
			if p.alive() {
				left = append(left, p)
			}
		}
		if len(left) == 0 {
			return nil
		}
		if round > 100 {
			return fmt.Errorf("process %d does not end", left[0].PID)
		}
		for _, p := range left {
			if err := p.send(unix.SIGKILL); err != nil && p.alive() {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// descendants are the children of a process now, and theirs: an agent's guard
// and the programs that it runs.
func descendants(of pidRecord) []pidRecord {
	if !of.alive() {
		return nil
	}
	parents := map[int]int{}
	for _, pid := range processes() {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		if fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])); len(fields) > 1 {
			parents[pid], _ = strconv.Atoi(fields[1])
		}
	}
	var out []pidRecord
	for pid := range parents {
		above := parents[pid]
		for depth := 0; above > 1 && above != of.PID && depth < 64; depth++ {
			above = parents[above]
		}
		if r, err := recordOf(pid); above == of.PID && err == nil {
			out = append(out, r)
		}
	}
	return out
}

// serverProcesses are those of the server on a data directory: all of them stand
// in it.
func serverProcesses(data string) []pidRecord {
	var out []pidRecord
	for _, pid := range processes() {
		cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		if err != nil || cwd != data {
			continue
		}
		if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err != nil || !strings.HasPrefix(string(comm), "postgres") {
			continue
		}
		if r, err := recordOf(pid); err == nil {
			out = append(out, r)
		}
	}
	return out
}

func processes() []int {
	entries, _ := filepath.Glob("/proc/[0-9]*")
	var out []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(filepath.Base(e)); err == nil {
			out = append(out, pid)
		}
	}
	return out
}
