package up

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// needed are programs of PostgreSQL without which no member starts.
var needed = []string{"postgres", "initdb", "pg_basebackup"}

// findPrograms checks that PostgreSQL is installed, before anything starts. The
// agents choose for themselves which of several versions they use.
func findPrograms(bin string) error {
	dirs := []string{bin}
	if bin == "" {
		dirs = filepath.SplitList(os.Getenv("PATH"))
		for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin"} {
			found, _ := filepath.Glob(pattern)
			dirs = append(dirs, found...)
		}
	}
	for _, d := range dirs {
		if complete(d) {
			return nil
		}
	}
	if bin != "" {
		hint := ""
		if below := filepath.Join(bin, "bin"); complete(below) {
			hint = "; " + below + " does"
		}
		return fmt.Errorf("--pg-bin %s does not hold PostgreSQL's programs (%s)%s", bin, strings.Join(needed, ", "), hint)
	}
	return fmt.Errorf("PostgreSQL's programs (%s) were not found in PATH or the usual places: install the server "+
		"(on Debian: apt-get install postgresql), or say with --pg-bin where they are", strings.Join(needed, ", "))
}

func complete(dir string) bool {
	for _, name := range needed {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// postmaster returns the number of the server's first process, 0 when none
// runs on this directory. Its working directory tells it from a stranger with
// a number read from an old file.
func postmaster(data string) int {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 1 {
		return 0
	}
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil || cwd != data {
		return 0
	}
	return pid
}

// killServer ends a server whose agent was killed: an immediate shutdown, which
// loses no commit and costs a crash recovery at the next start.
func killServer(data string, patience time.Duration) {
	pid := postmaster(data)
	if pid == 0 {
		return
	}
	p := &process{pid: pid, ended: make(chan struct{})}
	if p.open() != nil || postmaster(data) != pid {
		return
	}
	go func() {
		defer close(p.ended)
		p.await()
	}()
	p.signal(unix.SIGQUIT)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.signal(unix.SIGKILL)
	}
}
