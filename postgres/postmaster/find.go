package postmaster

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Find looks for the running postmaster of a data directory. ok is false when
// there is none; foreign is the number of a living process that is not the
// postmaster but is named by a stale postmaster.pid (0: none). binary is the
// base name of the configured server program.
func Find(dataDir, binary string) (p *Process, file PIDFile, foreign int, err error) {
	file, err = ReadPIDFile(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, PIDFile{}, 0, nil
	}
	if err != nil {
		// Half-written while a server starts, or garbage: nobody we can name.
		return nil, PIDFile{}, 0, nil
	}
	pid := max(file.PID, -file.PID)
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return nil, file, 0, nil
	}
	if !isPostmaster(pid, file, dataDir, binary) {
		return nil, file, pid, nil
	}
	p, err = Adopt(pid)
	if errors.Is(err, ErrGone) {
		return nil, file, 0, nil
	}
	return p, file, 0, err
}

// isPostmaster decides whether pid is the server that wrote the file.
func isPostmaster(pid int, file PIDFile, dataDir, binary string) bool {
	st, err := readStat(pid)
	if err != nil || st.state == 'Z' || pid == os.Getpid() || pid == os.Getppid() {
		return false
	}
	cwd, cwdErr := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	if cwdErr == nil && !sameDir(cwd, dataDir) {
		return false // a living process elsewhere, whatever its times are
	}
	if started, err := startTime(st.ticks); err == nil && !file.Start.IsZero() {
		if d := started.Sub(file.Start); d > -3e9 && d < 3e9 {
			return true
		}
	}
	exe, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	if err != nil {
		return false
	}
	base := filepath.Base(exe)
	return base == binary || base == "postmaster" || base == "postgres" || base == binary+" (deleted)" || base == "postgres (deleted)"
}

func sameDir(a, b string) bool {
	ra, err1 := filepath.EvalSymlinks(a)
	rb, err2 := filepath.EvalSymlinks(b)
	return err1 == nil && err2 == nil && ra == rb
}
