package up

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/internal/proc"
)

func sleeper(t *testing.T, script string) command {
	dir := t.TempDir()
	return command{name: "sleeper", program: "/bin/sh", args: []string{"-c", script}, dir: dir,
		log: filepath.Join(dir, "log"), pid: filepath.Join(dir, "pid")}
}

func TestAProcessIsFoundAgain(t *testing.T) {
	c := sleeper(t, "echo hello; exec sleep 1000")
	mine, err := launch(c)
	if err != nil {
		t.Fatal(err)
	}
	defer mine.signal(syscall.SIGKILL)
	private(t, c.pid)
	if sid, _, _ := syscall.Syscall(syscall.SYS_GETSID, uintptr(mine.pid), 0, 0); int(sid) != mine.pid {
		t.Errorf("the process is in session %d, not its own: the terminal's signals reach it", sid)
	}
	found, err := find(c.pid)
	if err != nil || found == nil || found.pid != mine.pid || !found.found {
		t.Fatalf("not found again: %+v %v", found, err)
	}
	if err := found.stop(t.Context()); err != nil {
		t.Error(err)
	}
	<-mine.ended
	if p, err := find(c.pid); p != nil || err != nil {
		t.Errorf("found after its end: %+v %v", p, err)
	}
	if runs(c.pid) {
		t.Error("runs after its end")
	}
}

func TestALaterProcessOfTheSameNumberIsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	self, err := proc.Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for what, r := range map[string]pidRecord{
		"started at another time": {PID: self.PID, StartTime: self.StartTime + 1, BootID: self.BootID},
		"of another boot":         {PID: self.PID, StartTime: self.StartTime, BootID: "another"},
		"no process":              {PID: 0, StartTime: 0, BootID: self.BootID},
		"everybody":               {PID: -1, StartTime: 0, BootID: self.BootID},
	} {
		if err := writeJSON(path, r); err != nil {
			t.Fatal(err)
		}
		if p, err := find(path); p != nil || err != nil {
			t.Errorf("%s: found %+v %v", what, p, err)
		}
	}
	for _, text := range []string{"", "{", "17"} {
		os.WriteFile(path, []byte(text), 0o600)
		if p, err := find(path); p != nil || err != nil {
			t.Errorf("a file with %q: found %+v %v", text, p, err)
		}
	}
}

func TestStopKillsWhatDoesNotEnd(t *testing.T) {
	c := sleeper(t, "trap '' TERM; echo ready; while :; do sleep 1000; done")
	p, err := launch(c)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(-p.pid, syscall.SIGKILL) // its child
	await(t, func() bool { return lastLine(c.log) == "ready" })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.stop(ctx); err == nil {
		t.Error("nobody was told of the kill")
	}
}

func TestAKeeperStartsAgainAndTakesOver(t *testing.T) {
	c := sleeper(t, "echo begun >>begun; exec sleep 1000")
	said := make(chan string, 10)
	say := func(format string, values ...any) { said <- fmt.Sprintf(format, values...) }
	k := &keeper{command: c, say: say}
	k.start(nil)
	await(t, func() bool { return runs(c.pid) && lines(filepath.Join(c.dir, "begun")) == 1 })
	kill(t, c.pid)
	if text := <-said; !strings.Contains(text, "starting it again") {
		t.Errorf("said %q", text)
	}
	await(t, func() bool { return runs(c.pid) && lines(filepath.Join(c.dir, "begun")) == 2 })
	// Its keeper dies, the process lives on, and another keeper comes.
	k.cancel()
	<-k.done
	other := &keeper{command: c, say: say}
	other.start(nil)
	if text := <-said; !strings.Contains(text, "taken over") {
		t.Errorf("said %q", text)
	}
	if err := other.stop(t.Context()); err != nil {
		t.Error(err)
	}
	if runs(c.pid) || lines(filepath.Join(c.dir, "begun")) != 2 {
		t.Error("the process runs on, or another was started")
	}
}

func kill(t *testing.T, pidFile string) {
	t.Helper()
	p, err := find(pidFile)
	if err != nil || p == nil {
		t.Fatalf("%s: %v", pidFile, err)
	}
	p.signal(syscall.SIGKILL)
	<-p.ended
}

func lines(path string) int {
	text, _ := os.ReadFile(path)
	return strings.Count(string(text), "\n")
}

// await polls for a condition that somebody else brings about.
func await(t *testing.T, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

func TestPostmasterOfAStranger(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"", "x\n", "1\n", "-5\n", fmt.Sprintf("%d\n", os.Getpid())} {
		os.WriteFile(filepath.Join(dir, "postmaster.pid"), []byte(text), 0o600)
		if pid := postmaster(dir); pid != 0 {
			t.Errorf("%q: process %d was taken for this directory's server", text, pid)
		}
	}
}
