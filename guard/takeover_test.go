package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// Another agent takes guard and server over while a client goes on to write;
// from then on the guard obeys the new one.
func TestTakeOver(t *testing.T) {
	s := newSite(t)
	c := s.guard(time.Minute, time.Second)
	s.arm(c, long())
	conn := s.connect()
	_ = c.Close()
	i := s.mustClaim()
	if i.State().PID != c.State().PID || i.Version != "test" || string(i.Session) != testHandle || i.Postmaster != s.pid() || i.StartTicks == 0 {
		t.Errorf("inherited %+v, of guard %d and server %d", i, c.State().PID, s.pid())
	}
	st, _ := os.Stat(s.socket)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("handover socket: %v", st.Mode())
	}
	// A second agent finds it taken.
	if _, err := s.claim(); !errors.Is(err, ErrServes) {
		t.Errorf("two agents at once: %v", err)
	}
	if err := i.Pass([]byte(testAccess)); err != nil {
		t.Fatal(err)
	}
	s.arm(i.Client, long())
	if _, err := conn.Exec(context.Background(), "create table t (i int)"); err != nil {
		t.Fatal(err)
	}
	s.arm(i.Client, within(time.Second))
	awaitFence(t, i.Client)
	s.mustBeFenced()
	s.awaitReleased()
	// And it serves on, for the next lease.
	if err := i.Disarm(context.Background()); err != nil {
		t.Error(err)
	}
	if err := i.Close(); err != nil { // waits for its end
		t.Error(err)
	}
	if _, err := s.claim(); !errors.Is(err, ErrNoGuard) {
		t.Errorf("after the end of the guard: %v", err)
	}
	if _, err := os.Stat(s.socket); err == nil {
		t.Error("the socket was left behind")
	}
}

// Nobody comes: the server is shut down after the grace, long before the
// deadline, and then the session is ended.
func TestNobodyTakesOver(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	busy(t, s.server)
	c := s.guard(time.Second, 30*time.Second)
	d := long()
	s.arm(c, d)
	gone := now()
	_ = c.Close()
	s.awaitEnd()
	if now() > d.Soft || now().Sub(gone) < time.Second {
		t.Errorf("stopped %v after the agent was gone, want the grace of 1s", now().Sub(gone))
	}
	<-c.Done()
	s.mustBeFenced()
	if got := s.clusterState(); got != "shut down" {
		t.Errorf("cluster state %q, want a clean shutdown", got)
	}
	s.mustHaveReleased(1)
	if n := note(t, s.dir); !n.Shutdown || !n.Released || n.Trouble != "" {
		t.Errorf("note %+v", n)
	}
}

// A shutdown that hangs is ended by a kill after its budget.
func TestNobodyTakesOverAndTheShutdownHangs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	stop(t, busy(t, s.server)) // a stopped backend holds every shutdown
	c := s.guard(0, 500*time.Millisecond)
	d := long()
	s.arm(c, d)
	_ = c.Close()
	s.awaitEnd()
	if now() > d.Soft {
		t.Error("the kill came only at the deadline")
	}
	<-c.Done()
	s.mustBeFenced()
	s.mustHaveReleased(1)
	if n := note(t, s.dir); n.Shutdown || n.Proof.Processes == 0 || !n.Released {
		t.Errorf("note %+v", n)
	}
}

// Where the session cannot be ended, a server without an agent works for as long
// as the lease lasts.
func TestNoReleaseNoEarlyStop(t *testing.T) {
	for name, change := range map[string]func(*Options, *[]byte){
		"no access": func(o *Options, _ *[]byte) { o.Access = nil },
		"no handle": func(_ *Options, h *[]byte) { *h = nil },
		"an agent of an older release": func(o *Options, _ *[]byte) {
			o.Env = append(o.Env, envHand+"=-1s 0s "+o.Handover)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			o, handle := s.options(0, 100*time.Millisecond), []byte(testHandle)
			change(&o, &handle)
			c, err := Start(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Kill)
			n := now()
			d := fence.Deadlines{Sent: n, Soft: n.Add(3 * time.Second), Hard: n.Add(time.Minute)}
			if err := c.Arm(context.Background(), d, handle); err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
			s.awaitEnd()
			if now() < d.Soft {
				t.Error("stopped although nobody can lead before the lease has run out")
			}
			<-c.Done()
			if name == "an agent of an older release" {
				return // its session is ended, only not early
			}
			s.mustHaveReleased(0)
		})
	}
}

// A failed, or a hanging, helper harms nothing: the lease runs out.
func TestHelperFails(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if err := os.WriteFile(filepath.Join(s.root, "fail"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := s.guard(0, time.Minute)
	s.arm(c, long())
	_ = c.Close()
	<-c.Done()
	s.mustBeFenced()
	s.mustHaveReleased(1)
	if n := note(t, s.dir); !n.Shutdown || n.Released || n.Trouble == "" {
		t.Errorf("note %+v", n)
	}
}

// An agent that stands still while the guard fences is told when it goes on, and
// its session is ended meanwhile. The guard then serves it as before.
func TestReleaseAfterTheHardDeadline(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.guard(time.Minute, time.Minute)
	s.arm(c, within(500*time.Millisecond))
	awaitFence(t, c)
	s.mustBeFenced()
	s.awaitReleased()
	if err := os.Remove(filepath.Join(s.dir, "standby.signal")); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.arm(c, long())
	s.connect().Close(context.Background())
}

// An agent that comes while the server is being stopped waits for the end of
// that, and finds neither server nor guard.
func TestTooLate(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	hold := filepath.Join(s.root, "hold")
	if err := os.WriteFile(hold, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := s.guard(0, time.Minute)
	s.arm(c, long())
	_ = c.Close()
	s.awaitEnd()
	answer := make(chan error, 1)
	go func() {
		_, err := Claim(context.Background(), s.socket, slog.New(slog.DiscardHandler), clock.Real{})
		answer <- err
	}()
	select {
	case err := <-answer:
		t.Errorf("did not wait for the helper: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	_ = os.Remove(hold)
	if err := <-answer; !errors.Is(err, ErrStopping) {
		t.Error(err)
	}
	awaitGone(t, c.State().PID)
}

// What was inherited does not fit: the server is killed, the session ended.
func TestEndOfWhatWasInherited(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	busy(t, s.server)
	c := s.guard(time.Minute, time.Minute)
	s.arm(c, long())
	_ = c.Close()
	if err := s.mustClaim().End(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.mustBeFenced()
	s.mustHaveReleased(1)
	if n := note(t, s.dir); !n.Ended || n.Proof.Processes == 0 || !n.Released {
		t.Errorf("note %+v", n)
	}
	awaitGone(t, c.State().PID)
}

// An agent that took over and dies before it has armed, again and again, is as if
// none had come; one that hangs gets what the lease has.
func TestTwoDeathsOfAgents(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.guard(time.Second, time.Minute)
	n := now()
	d := fence.Deadlines{Sent: n, Soft: n.Add(5 * time.Second), Hard: n.Add(time.Minute)}
	s.arm(c, d)
	_ = c.Close()
	first := s.mustClaim()
	time.Sleep(1500 * time.Millisecond) // longer than the grace: it has an agent
	s.connect().Close(context.Background())
	_ = first.conn.Close()
	second := s.mustClaim()
	s.awaitEnd() // it does not arm
	if now() < d.Soft {
		t.Error("stopped before the soft deadline although an agent was there")
	}
	if p := awaitFence(t, second.Client); p.Processes != 0 {
		t.Errorf("it was to be shut down: %+v", p)
	}
	if err := second.Arm(context.Background(), long(), []byte(testHandle)); err != nil {
		t.Error(err) // a new lease, of another session
	}
	_ = second.Disarm(context.Background())
	_ = second.conn.Close()
	<-c.Done()
	s.mustBeFenced()
	s.mustHaveReleased(1)
}

// A guard that stands still cannot be taken over: that is seen, and it can be
// ended once its server is dead.
func TestMuteGuard(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.guard(time.Minute, time.Minute)
	s.arm(c, long())
	stop(t, c.State().PID)
	_ = c.conn.Close()
	_, err := s.claim()
	var mute *MuteError
	if !errors.As(err, &mute) || mute.PID != c.State().PID {
		t.Fatal(err)
	}
	s.connect().Close(context.Background())
	if _, err := Kill(context.Background(), s.dir, clock.Real{}); err != nil {
		t.Fatal(err)
	}
	mute.Kill()
	awaitGone(t, c.State().PID)
	if _, err := s.claim(); !errors.Is(err, ErrNoGuard) {
		t.Errorf("a socket without a guard: %v", err)
	}
}

// The guard is killed while it waits for an agent: the next agent finds none,
// and the server as it was, to be fenced by it.
func TestGuardKilledInTheGrace(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.guard(time.Minute, time.Minute)
	s.arm(c, long())
	_ = c.conn.Close()
	c.Kill()
	if _, err := s.claim(); !errors.Is(err, ErrNoGuard) {
		t.Errorf("%v", err)
	}
	s.connect().Close(context.Background())
	s.mustHaveReleased(0)
	// The next guard binds the socket anew, and takes it away at its end.
	next := s.guard(time.Minute, time.Minute)
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.socket); err == nil {
		t.Error("the socket was left behind")
	}
}

// The helper outlives the guard that is killed while it is at work.
func TestGuardKilledDuringTheRelease(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	hold := filepath.Join(s.root, "hold")
	if err := os.WriteFile(hold, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := s.guard(0, time.Minute)
	s.arm(c, long())
	_ = c.Close()
	s.awaitReleased()
	var pid int
	if _, err := fmt.Sscanf(s.released()[0], "%d", &pid); err != nil {
		t.Fatal(err)
	}
	c.Kill()
	if p, ok := readProcess(pid, make([]byte, statBufBytes)); !ok || p.ended() {
		t.Error("the helper ended with its guard")
	}
	_ = os.Remove(hold)
	awaitGone(t, pid)
	s.mustHaveReleased(1)
}

// The real death of an agent process: SIGKILL closes its end at once.
func TestKilledAgentIsReplaced(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	agent, pid := startAgent(t, s.dir, envHand+"=1m 1m "+s.socket, "TEST_AGENT_LONG=1")
	conn := s.connect()
	deliver(t, agent.Process.Pid, syscall.SIGSTOP)
	if _, err := s.claim(); !errors.Is(err, ErrServes) {
		t.Errorf("its agent is only stopped: %v", err)
	}
	_ = agent.Process.Kill()
	_ = agent.Wait()
	i := s.mustClaim()
	if i.State().PID != pid {
		t.Errorf("guard %d, want %d", i.State().PID, pid)
	}
	s.arm(i.Client, long())
	if _, err := conn.Exec(context.Background(), "create table t (i int)"); err != nil {
		t.Error(err)
	}
	// An agent that gives up in order disarms it; it ends.
	if err := i.Disarm(context.Background()); err != nil {
		t.Error(err)
	}
	_ = i.Close()
	awaitGone(t, pid)
}
