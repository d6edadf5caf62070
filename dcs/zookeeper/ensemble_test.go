package zookeeper

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/dcstest"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// follower returns the index of a server that is not the leader.
func follower(t *testing.T, e *dcstest.ZooKeeper) int {
	t.Helper()
	for i, h := range e.Hosts {
		if dcstest.ZooKeeperMode(h) == "follower" {
			return i
		}
	}
	t.Fatal("the ensemble has no follower")
	return -1
}

// TestConfirmationSurvivesItsFollower: a follower that dies right after it
// confirmed a renewal takes along what it had not told the leader yet. The
// session must still live for what the renewal promised: both where Renew could
// wait for a proof and where it had no time to.
func TestConfirmationSurvivesItsFollower(t *testing.T) {
	e := dcstest.StartZooKeeperEnsemble(t, 3)
	f := follower(t, e)
	through := e.Hosts[f]
	others := append(append([]string(nil), e.Hosts[:f]...), e.Hosts[f+1:]...)
	observer := connect(t, "/t/a", others...)
	defer observer.Close()
	st := connect(t, "/t/a", through)
	defer st.Close()

	const length = 6 * time.Second
	names := []string{"patient", "hurried"}
	sessions := map[string]dcs.Session{}
	for _, name := range names {
		n, err := st.Open(t.Context(), length)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Put(t.Context(), name, "x", dcs.Absent()); err != nil {
			t.Fatal(err)
		}
		sessions[name] = n
	}
	// Let the opening grow old, so that a wrong proof would be wrong by much.
	time.Sleep(length / 3)
	promised := map[string]dcs.Confirmation{}
	renew := func(name string, ctx context.Context) {
		c, err := sessions[name].Renew(ctx)
		if err != nil {
			t.Fatal(err)
		}
		promised[name] = c
	}
	renew("patient", t.Context())
	hurry, cancel := context.WithTimeout(t.Context(), dcstest.ZooKeeperTick)
	defer cancel()
	renew("hurried", hurry)
	e.Servers[f].Kill()
	killed := clock.Real{}.Now()

	if age := killed.Sub(promised["patient"].Sent); age > length/3 {
		t.Errorf("Renew had time for a fresh proof, and gave one %v old", age)
	}
	if promised["hurried"].Sent != sessions["hurried"].Opened().Sent {
		t.Error("without time for a proof the opening is all that is proven")
	}
	for len(promised) > 0 {
		snap, err := observer.Load(t.Context())
		if err != nil {
			continue // the ensemble is busy with its loss
		}
		now := clock.Real{}.Now()
		there := map[string]bool{}
		for _, kv := range snap.Keys {
			there[kv.Key] = true
		}
		for name, c := range promised {
			end := c.Sent.Add(c.Granted - sessions[name].Slack())
			if !there[name] && now < end {
				t.Errorf("%s: the session ended at least %v before its time", name, end.Sub(now))
			}
			if !there[name] {
				t.Logf("%s: gone at most %v after its end", name, now.Sub(end))
				delete(promised, name)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestHungServer: a server that answers nobody costs a moment, not the lease.
func TestHungServer(t *testing.T) {
	e := dcstest.StartZooKeeperEnsemble(t, 3)
	f := follower(t, e)
	hosts := append([]string{e.Hosts[f]}, append(append([]string(nil), e.Hosts[:f]...), e.Hosts[f+1:]...)...)
	st := connect(t, "/t/hung", hosts...)
	defer st.Close()
	n, err := st.Open(t.Context(), 40*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Put(t.Context(), "leader", "n1", dcs.Absent()); err != nil {
		t.Fatal(err)
	}
	if err := e.Servers[f].Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer e.Servers[f].Signal(syscall.SIGCONT)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, c := range []struct {
		name string
		call func() error
	}{
		{"load", func() error { _, err := st.Load(ctx); return err }},
		{"renew", func() error { _, err := n.Renew(ctx); return err }},
		{"put", func() error { _, err := st.Put(ctx, "status", "{}", dcs.Always()); return err }},
		{"session put", func() error { _, err := n.Put(ctx, "members/n1", "{}", dcs.Always()); return err }},
	} {
		begun := time.Now()
		if err := c.call(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		t.Logf("%s took %v", c.name, time.Since(begun))
	}
	if snap, err := st.Load(ctx); err != nil || len(snap.Keys) != 3 {
		t.Errorf("afterwards: %+v %v", snap.Keys, err)
	}
}
