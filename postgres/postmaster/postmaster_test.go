package postmaster

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func start(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func TestAdoptedProcessTellsItsEnd(t *testing.T) {
	cmd := start(t)
	p, err := Adopt(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Alive() {
		t.Fatal("a living process passes for dead")
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.Wait(ctx); err != nil { // although nobody has reaped it
		t.Fatal(err)
	}
	if p.Alive() {
		t.Error("a zombie passes for alive")
	}
}

func TestReleaseLeavesTheProcess(t *testing.T) {
	cmd := start(t)
	p, err := Adopt(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	p.Release()
	p.Release()
	select {
	case <-p.Done():
		t.Error("a released process passes for ended")
	default:
	}
	if syscall.Kill(cmd.Process.Pid, 0) != nil {
		t.Error("the released process is gone")
	}
}

func TestFindDistrustsStrangers(t *testing.T) {
	dir := t.TempDir()
	write := func(pid int) {
		text := strconv.Itoa(pid) + "\n" + dir + "\n" + strconv.FormatInt(time.Now().Unix(), 10) + "\n5432\n"
		if err := os.WriteFile(filepath.Join(dir, "postmaster.pid"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if p, _, _, err := Find(dir, "postgres"); p != nil || err != nil {
		t.Errorf("without a file: %v %v", p, err)
	}
	cmd := start(t)
	write(cmd.Process.Pid)
	if p, _, foreign, err := Find(dir, "postgres"); p != nil || foreign != cmd.Process.Pid || err != nil {
		t.Errorf("a stranger's number: %v %d %v", p, foreign, err)
	}
	write(os.Getpid())
	if p, _, _, _ := Find(dir, "postgres"); p != nil {
		t.Error("our own number passed for the postmaster")
	}
}

func FuzzParsePIDFile(f *testing.F) {
	f.Add("123\n/data\n1700000000\n5432\n/tmp\nlocalhost\n  5432001   1\nready   \n")
	f.Add("-7\n")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePIDFile(s); err == nil && p.PID == 0 {
			t.Error("process 0 was accepted")
		}
	})
}

func FuzzParseStat(f *testing.F) {
	f.Add("1 (a) b)) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 1")
	f.Fuzz(func(t *testing.T, s string) { _, _ = parseStat(s) })
}
