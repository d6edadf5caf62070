package etcdembed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestTwoLostDirectoriesRefuseUntilAPersonRecovers(t *testing.T) {
	t.Parallel()
	h := newHerd(t, 3)
	h.start(h.nodes...)
	h.ready(h.nodes...)
	h.put("/k", "v")
	h.want(h.nodes[0], "/k", "v")
	for _, n := range h.nodes[1:] {
		h.kill(n)
		if err := os.RemoveAll(n.cfg.DataDir); err != nil {
			t.Fatal(err)
		}
	}
	h.start(h.nodes[1:]...)
	for _, n := range h.nodes[1:] {
		st := h.wait(n, Refused)
		mustContain(t, st.Message, "matriarch store recover", "will not start as a new store")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.nodes[1].sup.Ready(ctx); !errors.Is(err, ErrNoMajority) {
		t.Errorf("Ready: %v, want ErrNoMajority", err)
	}

	// The person's decision, on the node that has kept its directory.
	before, revision := h.nodes[0].store(t), h.revision(h.nodes[0])
	h.stop(h.nodes[0])
	h.nodes[0].mustDecide(t, "recover")
	h.start(h.nodes[0])
	h.ready(h.nodes...)
	h.want(h.nodes[2], "/k", "v")
	for _, n := range h.nodes {
		if id := n.store(t); id == before || id.Generation() != 2 || id != h.nodes[0].store(t) {
			t.Errorf("%s is of store %s after the recovery of %s", n.cfg.Name, id, before)
		}
	}
	if now := h.revision(h.nodes[1]); now <= revision+revisionBump/2 {
		t.Errorf("revision %d after %d: a former one may name two writes", now, revision)
	}
}

// revision is the store's, as a serializable reading through one node tells.
func (h *herd) revision(n *node) int64 {
	h.t.Helper()
	r, err := h.through(n).Get(h.deadline(), "/k", serializable)
	if err != nil {
		h.t.Fatal(err)
	}
	return r.Header.Revision
}

// splitStore recovers n1 while the two others, with their old directories, are down.
func splitStore(t *testing.T) (h *herd, former Identity) {
	t.Helper()
	h = newHerd(t, 3)
	h.start(h.nodes...)
	h.ready(h.nodes...)
	h.put("/k", "v")
	h.want(h.nodes[0], "/k", "v")
	former = h.nodes[0].store(t)
	for _, n := range h.nodes {
		h.stop(n)
	}
	h.nodes[0].mustDecide(t, "recover")
	return h, former
}

func TestAnOldVoteIsRecognisedAndToldWhatToDo(t *testing.T) {
	t.Parallel()
	h, former := splitStore(t)
	h.start(h.nodes[0])
	h.ready(h.nodes[0])
	h.start(h.nodes[1:]...)
	for _, n := range h.nodes[1:] {
		st := h.wait(n, Refused)
		mustContain(t, st.Message, former.text(), h.nodes[0].store(t).text(), "move the store's directory aside")
	}
	n := h.nodes[1]
	if out, err := n.decide(t, "recover"); err == nil {
		t.Errorf("recovered beside the later store: %s", out)
	}
	h.stop(n)
	if out, err := n.decide(t, "recover"); err == nil {
		t.Errorf("recovered beside the later store: %s", out)
	}
	// The remedy works.
	if err := os.Rename(n.cfg.DataDir, n.cfg.DataDir+".old"); err != nil {
		t.Fatal(err)
	}
	h.start(n)
	h.ready(n)
	h.want(n, "/k", "v")
	if n.store(t) != h.nodes[0].store(t) {
		t.Errorf("it is of store %s, not of %s", n.store(t), h.nodes[0].store(t))
	}
	// The old directory, put back, is of a former store by this node's own record.
	h.stop(h.nodes[0])
	h.stop(n)
	if err := errors.Join(os.Rename(n.cfg.DataDir, n.cfg.DataDir+".new"), os.Rename(n.cfg.DataDir+".old", n.cfg.DataDir)); err != nil {
		t.Fatal(err)
	}
	h.start(n)
	mustContain(t, h.wait(n, Refused).Message, former.text(), "move the store's directory aside")
}

// The old majority comes back while the recovered member is down: it cannot know.
// As soon as they meet, it ends.
func TestTheOldMajorityEndsWhenItMeetsTheRecoveredStore(t *testing.T) {
	t.Parallel()
	h, former := splitStore(t)
	h.start(h.nodes[1:]...)
	h.ready(h.nodes[1:]...)
	h.start(h.nodes[0])
	h.ready(h.nodes[0])
	for _, n := range h.nodes[1:] {
		mustContain(t, h.wait(n, Refused).Message, former.text(), "move the store's directory aside")
	}
	h.want(h.nodes[0], "/k", "v")
}

// Two stores of one generation, by two decisions: neither goes on beside the other.
func TestTwoRecoveriesOfOneStoreStandStill(t *testing.T) {
	t.Parallel()
	h, _ := splitStore(t)
	h.nodes[1].mustDecide(t, "recover")
	if a, b := h.nodes[0].store(t), h.nodes[1].store(t); a == b || a.Generation() != b.Generation() {
		t.Fatalf("stores %s and %s", a, b)
	}
	h.start(h.nodes[0])
	h.ready(h.nodes[0])
	h.start(h.nodes[1])
	mustContain(t, h.wait(h.nodes[1], Refused).Message, "founded apart", h.nodes[0].store(t).text())
	h.ready(h.nodes[0]) // the one that works is not disturbed by one that does not
}

func TestRecoverySurvivesAKillAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"copied", "restored", "prepared", "moved", "renamed"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			h := newHerd(t, 3)
			h.start(h.nodes...)
			h.ready(h.nodes...)
			h.put("/k", "v")
			h.want(h.nodes[0], "/k", "v") // this member has it, not only the majority
			former := h.nodes[0].store(t)
			for _, n := range h.nodes {
				h.kill(n)
			}
			h.nodes[1].loseDisk(t)
			h.nodes[2].loseDisk(t)
			n := h.nodes[0]
			ended := n.endOnce(t, at)
			if out, err := n.decide(t, "recover"); err == nil || !ended() {
				t.Fatalf("not killed: %v %s", err, out)
			}
			decided := at == "moved" || at == "renamed"
			h.start(n)
			if decided { // the decision was carried out, and is completed
				h.ready(n)
			} else { // nothing has happened: the old store waits for its majority
				h.wait(n, Waiting)
				if n.store(t) != former {
					t.Errorf("it is of store %s now", n.store(t))
				}
				h.stop(n)
				n.mustDecide(t, "recover")
				h.start(n)
				h.ready(n)
			}
			h.start(h.nodes[1:]...)
			h.ready(h.nodes...)
			h.want(h.nodes[2], "/k", "v")
			if g := n.store(t).Generation(); g != 2 {
				t.Errorf("generation %d, want 2", g)
			}
			left, err := filepath.Glob(filepath.Join(n.cfg.DataDir, "recover*"))
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

func TestJoiningSurvivesAKillAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"aside", "removed", "added", "recorded", "started"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			h := newHerd(t, 3)
			h.start(h.nodes...)
			h.ready(h.nodes...)
			h.put("/k", "v")
			n := h.nodes[1]
			h.kill(n)
			n.loseDisk(t)
			ended := n.endOnce(t, at)
			h.start(n)
			h.ready(n)
			if !ended() {
				t.Error("the process never came to that point")
			}
			h.want(n, "/k", "v")
			r, err := h.client().MemberList(h.deadline())
			if err != nil || len(r.Members) != 3 {
				t.Fatalf("members: %v, %v", r, err)
			}
			for _, m := range r.Members {
				if m.IsLearner {
					t.Errorf("%s is still a learner", m.Name)
				}
			}
		})
	}
}

// What a member had confirmed right before it was killed is in the log only.
func TestARecoveryKeepsTheLastConfirmedWrites(t *testing.T) {
	t.Parallel()
	h := newHerd(t, 1)
	n := h.nodes[0]
	h.start(n)
	h.ready(n)
	h.put("/k", "old")
	h.put("/k", "last")
	h.kill(n)
	n.mustDecide(t, "recover")
	h.start(n)
	h.ready(n)
	h.want(n, "/k", "last")
}

func TestBelonging(t *testing.T) {
	dir := t.TempDir()
	b := NewBelonging(filepath.Join(dir, "store"), "")
	first, other, later := Identity(1<<56|1), Identity(1<<56|2), Identity(2<<56|3)
	want := func(id Identity, ok bool) {
		t.Helper()
		if err := b.Check(uint64(id)); (err == nil) != ok {
			t.Errorf("%s: %v", id, err)
		}
	}
	want(first, true)
	want(other, false)
	want(later, true)
	want(first, false)
	c := Config{DataDir: filepath.Join(dir, "store")}
	if err := record(c, other); err != nil {
		t.Fatal(err)
	}
	want(other, true)
	want(later, false) // the vote beside it has not changed over
	if err := record(c, later); err != nil {
		t.Fatal(err)
	}
	want(later, true)
	if err := os.WriteFile(c.beside(".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(later, false)
}
