package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

func now() boot.Instant { return clock.Real{}.Now() }

// within returns deadlines that end d from now.
func within(d time.Duration) fence.Deadlines {
	n := now()
	return fence.Deadlines{Sent: n, Soft: n.Add(d / 2), Hard: n.Add(d)}
}

func arm(t testing.TB, c *Client, d fence.Deadlines) {
	t.Helper()
	if err := c.Arm(context.Background(), d, nil); err != nil {
		t.Fatal(err)
	}
}

func deliver(t testing.TB, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

// stop sends SIGSTOP and waits until the process stands.
func stop(t testing.TB, pid int) {
	t.Helper()
	deliver(t, pid, unix.SIGSTOP)
	for {
		p, ok := readProcess(pid, make([]byte, statBufBytes))
		if !ok {
			t.Fatalf("process %d is gone", pid)
		}
		if p.stopped() {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// busy lets a backend compute until it is killed, and waits until it does.
func busy(t testing.TB, s *server) int {
	t.Helper()
	conn, pid := s.backend()
	go func() {
		_, _ = conn.Exec(context.Background(), "select count(*) from generate_series(1, 1000000000000)")
	}()
	watcher := s.connect()
	defer watcher.Close(context.Background())
	for {
		var active bool
		if err := watcher.QueryRow(context.Background(),
			"select state = 'active' from pg_stat_activity where pid = $1", pid).Scan(&active); err != nil {
			t.Fatal(err)
		}
		if active {
			return pid
		}
		time.Sleep(time.Millisecond)
	}
}

func TestDeadlineKillsEveryProcess(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, s *server){
		"idle":               func(*testing.T, *server) {},
		"busy query":         func(t *testing.T, s *server) { busy(t, s) },
		"postmaster stopped": func(t *testing.T, s *server) { busy(t, s); stop(t, s.pid()) },
		"backend stopped":    func(t *testing.T, s *server) { stop(t, busy(t, s)) },
		"backend outlived its postmaster": func(t *testing.T, s *server) {
			stop(t, busy(t, s)) // a stopped backend cannot notice
			deliver(t, s.pid(), unix.SIGKILL)
			<-s.done
		},
		"pid file lost": func(t *testing.T, s *server) {
			busy(t, s)
			if err := os.Remove(filepath.Join(s.dir, "postmaster.pid")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			c := startGuard(t, s.dir)
			prepare(t, s)
			d := within(100 * time.Millisecond)
			// A guard that hears too late fences instead of acknowledging.
			if err := c.Arm(context.Background(), d, nil); err != nil && !errors.Is(err, ErrFenced) {
				t.Fatal(err)
			}
			p := awaitFence(t, c)
			s.mustBeFenced()
			if p.Began < d.Hard {
				t.Errorf("killed %v before the deadline", d.Hard.Sub(p.Began))
			}
			if p.Processes == 0 || c.State().Armed != 0 {
				t.Errorf("proof %+v, state %+v", p, c.State())
			}
			t.Logf("killed %d in %v, begun %v after the deadline", p.Processes, p.Took, p.Began.Sub(d.Hard))
		})
	}
}

// What a client sees: no commit is acknowledged later than deadline and budget.
func TestCommitsStop(t *testing.T) {
	s := startServer(t)
	c := startGuard(t, s.dir)
	conn := s.connect()
	if _, err := conn.Exec(context.Background(), "create table t (i int)"); err != nil {
		t.Fatal(err)
	}
	d := within(time.Second)
	arm(t, c, d)
	var last boot.Instant
	n := 0
	for {
		if _, err := conn.Exec(context.Background(), "insert into t values (1)"); err != nil {
			break
		}
		last = now()
		n++
	}
	awaitFence(t, c)
	if n == 0 || last > d.Hard.Add(fence.DefaultBudget().Fence) {
		t.Errorf("%d commits, the last %v after the deadline", n, last.Sub(d.Hard))
	}
	s.mustBeFenced()
}

func TestArmingAgainExtends(t *testing.T) {
	s := startServer(t)
	c := startGuard(t, s.dir)
	first := within(3 * time.Second)
	arm(t, c, first)
	for now() < first.Hard.Add(100*time.Millisecond) {
		d := within(10 * time.Second)
		arm(t, c, d)
		if st := c.State(); st.Armed != d.Hard || st.Fences != 0 {
			t.Fatalf("state %+v", st)
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.connect().Close(context.Background())
	arm(t, c, within(50*time.Millisecond)) // newer word, earlier deadline: obeyed too
	awaitFence(t, c)
	s.mustBeFenced()

	// A guard that has fenced goes on to guard the next holding.
	if err := os.Remove(filepath.Join(s.dir, "standby.signal")); err != nil {
		t.Fatal(err)
	}
	s.start()
	arm(t, c, within(10*time.Second))
	s.connect().Close(context.Background())
}

func TestDisarmed(t *testing.T) {
	s := startServer(t)
	c := startGuard(t, s.dir)
	d := within(2 * time.Second)
	arm(t, c, d)
	if err := c.Disarm(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		deliver(t, c.State().PID, sig)
	}
	time.Sleep(d.Hard.Sub(now()) + 200*time.Millisecond)
	s.connect().Close(context.Background())
	if st := c.State(); !st.Running || st.Fences != 0 {
		t.Errorf("state %+v", st)
	}
	if err := c.Close(); err != nil { // waits for its end
		t.Error(err)
	}
	if err := c.Arm(context.Background(), d, nil); !errors.Is(err, ErrEnded) {
		t.Errorf("arming an ended guard: %v", err)
	}
	s.connect().Close(context.Background())
}

func TestSecondGuardReplacesTheFirst(t *testing.T) {
	s := startServer(t)
	first, second := startGuard(t, s.dir), startGuard(t, s.dir)
	d := within(2 * time.Second)
	arm(t, first, d)
	stop(t, first.State().PID)
	if err := first.Arm(context.Background(), within(time.Hour), nil); !errors.Is(err, ErrNoAck) {
		t.Fatalf("a stopped guard answered: %v", err)
	}
	first.Kill()
	arm(t, second, within(time.Minute))
	time.Sleep(d.Hard.Sub(now()) + 200*time.Millisecond)
	s.connect().Close(context.Background())
	if err := first.Arm(context.Background(), d, nil); !errors.Is(err, ErrEnded) {
		t.Errorf("first guard: %v", err)
	}
	arm(t, second, within(50*time.Millisecond))
	awaitFence(t, second)
	s.mustBeFenced()
}

func TestForeignProcessesAreLeftAlone(t *testing.T) {
	other := startServer(t)
	dir := t.TempDir()
	// A stale pid file that names a foreign process, another server's postmaster
	// at that, and a shell that stands in the directory.
	shell := exec.Command("sleep", "1000")
	shell.Dir = dir
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = shell.Process.Kill(); _ = shell.Wait() }()
	text := fmt.Sprintf("%d\n%s\n1\n5432\n/tmp\n\n", other.pid(), dir)
	if err := os.WriteFile(filepath.Join(dir, "postmaster.pid"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Kill(context.Background(), dir, clock.Real{})
	if err != nil || p.Processes != 0 {
		t.Errorf("killed %d, %v", p.Processes, err)
	}
	other.connect().Close(context.Background())
	if q, ok := readProcess(shell.Process.Pid, make([]byte, statBufBytes)); !ok || q.done() {
		t.Error("a shell in the data directory was killed")
	}
}

func TestMovedDirectoryIsStillFound(t *testing.T) {
	s := startServer(t)
	c := startGuard(t, s.dir)
	arm(t, c, within(time.Minute))
	if err := os.Rename(s.dir, s.dir+".moved"); err != nil {
		t.Fatal(err)
	}
	_ = os.Mkdir(s.dir, 0o700)
	arm(t, c, within(50*time.Millisecond))
	if p := awaitFence(t, c); p.Processes == 0 {
		t.Errorf("nothing killed: %+v", p)
	}
	s.awaitEnd()
}

// An attempt that runs out of time is no proof.
func TestKillWithoutTimeGivesNoProof(t *testing.T) {
	s := startServer(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Kill(ctx, s.dir, clock.Real{}); !errors.Is(err, context.Canceled) {
		t.Errorf("no time, yet %v", err)
	}
}

// The guard must find the server with the rights that it has in a container
// (root without CAP_SYS_PTRACE) and as the data directory's owner; one that may
// not look must never take that for a proof.
func TestGuardWithFewRights(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to give rights up")
	}
	exe := copyOfTest(t)
	for name, rights := range map[string][]string{
		"root without CAP_SYS_PTRACE": {"--bounding-set=-sys_ptrace"},
		"owner":                       {"--reuid=postgres", "--regid=postgres", "--clear-groups"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			busy(t, s)
			o := guardOptions(s.dir)
			o.Executable, o.Args = "/usr/bin/setpriv", append(rights, exe)
			c, err := Start(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Kill)
			arm(t, c, within(time.Second))
			if p := awaitFence(t, c); p.Processes < 5 {
				t.Errorf("killed %d", p.Processes)
			}
			s.mustBeFenced()
			abilitiesAreTold(t, c.State())
		})
	}
	t.Run("stranger", func(t *testing.T) {
		t.Parallel()
		s := startServer(t)
		o := guardOptions(s.dir)
		o.Executable, o.Args = "/usr/bin/setpriv", []string{"--reuid=nobody", "--regid=nogroup", "--clear-groups", exe}
		if c, err := Start(context.Background(), o); err == nil {
			c.Kill()
			t.Error("a guard that cannot see the server claims to be ready")
		}
	})
}

// copyOfTest puts the test binary where every user may run it.
func copyOfTest(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "guard-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "guard.test")
	if out, err := exec.Command("cp", exe, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return to
}

func TestReadiness(t *testing.T) {
	dir := t.TempDir()
	c := startGuard(t, dir)
	s := c.State()
	if !s.Running || s.PID == 0 {
		t.Errorf("state %+v", s)
	}
	abilitiesAreTold(t, s)
	arm(t, c, within(time.Minute))
	all, private := pss(t, s.PID)
	t.Logf("%+v; PSS %d kB, private %d kB", s.Abilities, all, private)
}

// abilitiesAreTold: whatever protection was not granted is told with its remedy,
// and nothing else is; and of its memory the guard tells what the kernel does.
func abilitiesAreTold(t *testing.T, s State) {
	t.Helper()
	for _, a := range []struct {
		granted bool
		what    string
	}{{s.Locked, "lock memory"}, {s.Realtime || s.Nice, "raise priority"}, {s.OOMProtected, "oom_score_adj"}} {
		if a.granted == strings.Contains(s.Refused, a.what) {
			t.Errorf("%s: granted %v, and what is told is %q", a.what, a.granted, s.Refused)
		}
	}
	status, err := os.ReadFile(procPath(s.PID, "status"))
	if err != nil {
		t.Fatal(err)
	}
	_, locked, found := strings.Cut(string(status), "VmLck:")
	if locked, _, _ = strings.Cut(locked, "\n"); !found || s.Locked != (strings.TrimSpace(locked) != "0 kB") {
		t.Errorf("the kernel says that %s are locked, the guard %+v", locked, s.Abilities)
	}
}

func TestStartFailures(t *testing.T) {
	if _, err := Start(context.Background(), Options{Executable: "/nonexistent"}); err == nil {
		t.Error("started a binary that does not exist")
	}
	if _, err := Start(context.Background(), Options{Executable: "/bin/false"}); err == nil {
		t.Error("a guard that ends at once is no guard")
	}
}
