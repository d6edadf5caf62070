package guard

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/ha/fence"
)

// agentMain is an agent with one guard: it arms it, says so, and hangs.
func agentMain(dir string) int {
	o := guardOptions(dir)
	if hand := os.Getenv(envHand); hand != "" {
		o.Env = append(o.Env, envHand+"="+hand)
	}
	c, err := Start(context.Background(), o)
	if err == nil {
		n := now()
		err = c.Arm(context.Background(), fence.Deadlines{Sent: n, Soft: n.Add(2 * time.Second), Hard: n.Add(30 * time.Second)}, nil)
		if os.Getenv("TEST_AGENT_LONG") != "" {
			err = c.Arm(context.Background(), long(), []byte(testHandle))
		}
		if os.Getenv("TEST_AGENT_HARD") != "" {
			err = c.Arm(context.Background(), within(2*time.Second), nil)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("armed", c.State().PID)
	if os.Getenv("TEST_AGENT_VOID") != "" {
		n := now()
		_, _ = c.conn.Write(message{kind: kindArm, nonce: 99, a: int64(n), b: int64(n)}.encode(c.out[:]))
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}
	select {}
}

// startAgent starts an agent process and returns when its guard is armed.
func startAgent(t *testing.T, dir string, env ...string) (cmd *exec.Cmd, guardPID int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(exe)
	cmd.Env = append([]string{envAgent + "=" + dir}, env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("agent: %v", err)
	}
	if _, err := fmt.Sscanf(line, "armed %d", &guardPID); err != nil {
		t.Fatalf("agent said %q", line)
	}
	return cmd, guardPID
}

func (s *server) awaitEnd() {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(time.Minute):
		s.t.Fatal("the server was not stopped")
	}
}

func awaitGone(t *testing.T, pid int) {
	t.Helper()
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if p, ok := readProcess(pid, make([]byte, statBufBytes)); !ok || p.ended() {
			return
		}
	}
	t.Errorf("guard %d does not end", pid)
}

func TestStoppedAgentIsFenced(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	busy(t, s)
	agent, guard := startAgent(t, s.dir, "TEST_AGENT_HARD=1")
	stop(t, agent.Process.Pid)
	s.awaitEnd()
	awaitSignalFile(s)
	s.mustBeFenced()
	if got := s.clusterState(); got != "in production" {
		t.Errorf("cluster state %q: it was to be killed, not shut down", got)
	}
	_ = agent.Process.Kill()
	awaitGone(t, guard)
	if n := note(t, s.dir); n.Shutdown || n.Proof.Processes == 0 || n.Proof.Began == 0 || n.Proof.Took <= 0 {
		t.Errorf("the note of a fence: %+v", n)
	}
}

// A lease that is lost before its deadline: the guard has the word, and the agent
// stands still right after it.
func TestAgentStoppedAtAnEarlyLoss(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	busy(t, s)
	began := now()
	agent, guard := startAgent(t, s.dir, "TEST_AGENT_LONG=1", "TEST_AGENT_VOID=1")
	s.awaitEnd()
	if took := now().Sub(began); took > 30*time.Second {
		t.Errorf("the server wrote for %s, as if the lease went on", took)
	}
	s.mustBeFenced()
	_ = agent.Process.Kill()
	awaitGone(t, guard)
}

// note reads what the guard left, which must be of now.
func note(t *testing.T, dir string) Note {
	t.Helper()
	n, err := ReadNote(dir + ".note")
	if err != nil || !n.Current() || time.Since(n.Wall).Abs() > 10*time.Minute {
		t.Fatalf("note %+v: %v", n, err)
	}
	return n
}

// awaitSignalFile waits for the last act of a fence.
func awaitSignalFile(s *server) {
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(s.dir, "standby.signal")); err == nil {
			return
		}
	}
}

func TestKilledAgentGetsAFastShutdownAtSoft(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	busy(t, s)
	agent, guard := startAgent(t, s.dir)
	_ = agent.Process.Kill()
	_ = agent.Wait()
	s.connect().Close(context.Background()) // the lease still lives: so does the service
	s.awaitEnd()
	awaitGone(t, guard)
	s.mustBeFenced()
	if got := s.clusterState(); got != "shut down" {
		t.Errorf("cluster state %q, want a clean shutdown", got)
	}
	if n := note(t, s.dir); !n.Shutdown || n.Proof.Processes != 0 || n.Proof.Began == 0 {
		t.Errorf("the note of a shutdown: %+v", n)
	}
}

// A fast shutdown that hangs ends at the hard deadline.
func TestKilledAgentAndHangingShutdown(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	stop(t, busy(t, s)) // a stopped backend holds every shutdown
	c := startGuard(t, s.dir)
	arm(t, c, within(2*time.Second))
	pid := c.State().PID
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	s.awaitEnd()
	awaitGone(t, pid)
	s.mustBeFenced()
}
