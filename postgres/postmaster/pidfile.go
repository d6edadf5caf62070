package postmaster

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// PIDFile is the content of postmaster.pid.
type PIDFile struct {
	PID       int // negative: a single-user server
	DataDir   string
	Start     time.Time
	Port      int
	SocketDir string
	Listen    string
	Memory    Memory
	// Status is "starting", "stopping", "ready" (accepts sessions) or "standby"
	// (in recovery, accepts none); empty before the server wrote it.
	Status string
}

// ReadPIDFile reads postmaster.pid; a missing file gives an error that is
// os.ErrNotExist.
func ReadPIDFile(dataDir string) (PIDFile, error) {
	path := filepath.Join(dataDir, "postmaster.pid")
	text, err := os.ReadFile(path)
	if err != nil {
		return PIDFile{}, err
	}
	p, err := ParsePIDFile(string(text))
	if err != nil {
		return PIDFile{}, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// ParsePIDFile reads the lines; later ones may be missing while a server
// starts.
func ParsePIDFile(text string) (PIDFile, error) {
	lines := strings.Split(text, "\n")
	line := func(i int) string {
		if i < len(lines) {
			return strings.TrimSpace(lines[i])
		}
		return ""
	}
	pid, err := strconv.Atoi(line(0))
	if err != nil || pid == 0 {
		return PIDFile{}, fmt.Errorf("first line %q is no process number", line(0))
	}
	p := PIDFile{PID: pid, DataDir: line(1), SocketDir: line(4), Listen: line(5), Status: line(7)}
	if n, err := strconv.ParseInt(line(2), 10, 64); err == nil {
		p.Start = time.Unix(n, 0)
	}
	p.Port, _ = strconv.Atoi(line(3))
	p.Memory = parseMemory(line(6))
	return p, nil
}
