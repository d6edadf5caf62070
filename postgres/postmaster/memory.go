package postmaster

import (
	"fmt"
	"os"
	"strings"
)

// Memory names the block of System V shared memory by which a server tells that
// processes of its predecessor are left: each of its processes is attached to it,
// whatever shared_memory_type is. The key is made from the data directory.
type Memory struct{ Key, ID int64 }

// parseMemory reads the line of postmaster.pid; a server that has none yet gives zero.
func parseMemory(line string) Memory {
	var m Memory
	if _, err := fmt.Sscan(line, &m.Key, &m.ID); err != nil {
		return Memory{}
	}
	return m
}

// Attached is how many processes have the block, as the kernel counts them: a server
// refuses to start where there is one. An unknown or removed block has none.
func (m Memory) Attached() int {
	if m == (Memory{}) {
		return 0
	}
	table, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		return 0 // the server itself will look
	}
	return m.attachedIn(string(table))
}

func (m Memory) attachedIn(table string) int {
	for line := range strings.Lines(table) {
		var found Memory
		var mode, size, creator, last, attached int64
		_, err := fmt.Sscan(line, &found.Key, &found.ID, &mode, &size, &creator, &last, &attached)
		if err == nil && found == m {
			return int(attached)
		}
	}
	return 0
}
