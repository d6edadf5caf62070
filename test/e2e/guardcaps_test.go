package e2e

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestGuardWithFileCapabilities: in a container nobody is root and limits are
// low. There the program's file permits what the guard needs, and the guard makes
// it effective: its memory is locked, on all threads, and it goes before others.
// Without the capability in the file, or where the container is not granted it, the
// same program starts all the same, without that protection.
func TestGuardWithFileCapabilities(t *testing.T) {
	const permitted = 1<<unix.CAP_IPC_LOCK | 1<<unix.CAP_SYS_NICE
	for _, k := range []struct {
		name    string
		file    uint64
		granted bool
		want    bool
	}{
		{"permitted", permitted, true, true},
		{"not granted", permitted, false, false},
		{"not in the file", 0, true, false},
	} {
		t.Run(k.name, func(t *testing.T) {
			bin := withFileCapabilities(t, k.file)
			pid := startGuardAs(t, bin, 65534, k.granted)
			status := procStatus(t, pid)
			if locked := status["VmLck"] != "0 kB"; locked != k.want {
				t.Errorf("memory locked: %v, want %v (VmLck %s)", locked, k.want, status["VmLck"])
			}
			threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
			if err != nil || len(threads) < 2 {
				t.Fatalf("threads %v: %v", threads, err)
			}
			first := false
			for _, task := range threads {
				tid, _ := strconv.Atoi(filepath.Base(filepath.Dir(task)))
				eff, _ := strconv.ParseUint(procStatus(t, tid)["CapEff"], 16, 64)
				if has := eff == permitted; has != k.want {
					t.Errorf("thread %d has the effective capabilities %x", tid, eff)
				}
				policy, _, _ := unix.Syscall(unix.SYS_SCHED_GETSCHEDULER, uintptr(tid), 0, 0)
				nice, _ := unix.Getpriority(unix.PRIO_PROCESS, tid) // the kernel answers 20-nice
				first = first || policy&^unix.SCHED_RESET_ON_FORK == unix.SCHED_RR || nice == 40
			}
			if first != k.want {
				t.Errorf("goes before others: %v, want %v", first, k.want)
			}
		})
	}
}

// withFileCapabilities copies the program and permits its file these capabilities.
func withFileCapabilities(t *testing.T, permitted uint64) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "guardcaps")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program, err := os.ReadFile(lab.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "matriarch")
	if err := os.WriteFile(bin, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if permitted == 0 {
		return bin
	}
	// struct vfs_cap_data, revision 2, not effective: as `setcap …+p` writes it.
	var data [20]byte
	binary.LittleEndian.PutUint32(data[0:], 0x02000000)
	binary.LittleEndian.PutUint32(data[4:], uint32(permitted))
	binary.LittleEndian.PutUint32(data[12:], uint32(permitted>>32))
	if err := unix.Setxattr(bin, "security.capability", data[:], 0); err != nil {
		t.Fatalf("the file system of %s keeps no capabilities: %v", dir, err)
	}
	return bin
}

// startGuardAs starts a guard as a user, with low limits, and returns when it is
// ready. granted false takes all capabilities out of its bounding set.
func startGuardAs(t *testing.T, bin string, uid int, granted bool) int {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	script := `ulimit -l 64; exec "$@"`
	as := []string{"setpriv", "--reuid", strconv.Itoa(uid), "--regid", strconv.Itoa(uid), "--clear-groups"}
	if !granted {
		as = append(as, "--bounding-set=-all")
	}
	arguments := append([]string{"-c", script, "sh"}, as...)
	cmd := exec.Command("sh", append(arguments, bin, "guard", filepath.Dir(bin))...)
	cmd.Env = []string{"GOMAXPROCS=2", "PATH=" + os.Getenv("PATH")}
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); cmd.Wait() }) // a guard without deadline ends with its agent
	word := make([]byte, 512)
	for { // how the kernel's fence stands is said first
		n, err := ours.Read(word)
		if err != nil || n == 0 || word[0] != 'r' && word[0] != 'n' {
			t.Fatalf("the guard said %q: %v", word[:max(n, 0)], err)
		}
		if word[0] == 'r' {
			return cmd.Process.Pid
		}
	}
}

// procStatus reads /proc/PID/status.
func procStatus(t *testing.T, pid int) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		out[name] = strings.TrimSpace(value)
	}
	return out
}
