package etcdembed

import (
	"os"
	"testing"
)

func TestFoundingWaitsForAllMembers(t *testing.T) {
	t.Parallel()
	h := newHerd(t, 3)
	h.start(h.nodes[0], h.nodes[2])
	for _, n := range []*node{h.nodes[0], h.nodes[2]} {
		st, err := n.sup.Wait(h.deadline(), func(s State) bool { return s.Phase == Waiting && s.Up == 2 })
		if err != nil {
			t.Fatal(err)
		}
		mustContain(t, st.Message, "2 of 3", "n2", "matriarch store found")
		if logExists(n.cfg) {
			t.Errorf("%s has a log before all members were there", n.cfg.Name)
		}
	}
	h.start(h.nodes[1])
	h.ready(h.nodes...)
}

// One vote's host loses its whole disk, a second is down, and a third, of which
// nothing is known either, answers: the two new ones do not found a store.
func TestTwoEmptyMembersNeverFoundWithoutTheThird(t *testing.T) {
	t.Parallel()
	h := newHerd(t, 3)
	h.start(h.nodes...)
	h.ready(h.nodes...)
	h.put("/k", "v")
	h.want(h.nodes[2], "/k", "v")
	for _, n := range h.nodes {
		h.kill(n)
	}
	h.nodes[0].loseDisk(t)
	h.nodes[1].loseDisk(t)
	h.start(h.nodes[:2]...)
	for _, n := range h.nodes[:2] {
		if _, err := n.sup.Wait(h.deadline(), func(s State) bool { return s.Phase == Waiting && s.Up == 2 }); err != nil {
			t.Fatal(err)
		}
	}
	// The third has its directory, and alone no majority: all of them wait.
	h.start(h.nodes[2])
	for _, n := range h.nodes[:2] {
		st, err := n.sup.Wait(h.deadline(), func(s State) bool { return s.Phase == Waiting && s.Up == 3 })
		if err != nil {
			t.Fatal(err)
		}
		mustContain(t, st.Message, "the store exists")
	}
	h.stop(h.nodes[2])
	h.nodes[2].mustDecide(t, "recover")
	h.start(h.nodes[2])
	h.ready(h.nodes...)
	h.want(h.nodes[0], "/k", "v")
}

// A process that is killed between any two steps of the founding is started
// again, and the store is founded once.
func TestFoundingSurvivesAKillAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at   string
		node int
	}{
		{"offer", 0}, {"pledge", 1}, {"pledge", 2}, {"agree", 0}, {"agree", 1}, {"recorded", 0}, {"recorded", 2}, {"started", 0}, {"started", 1},
	} {
		t.Run(c.at+" of "+[]string{"n1", "n2", "n3"}[c.node], func(t *testing.T) {
			t.Parallel()
			h := newHerd(t, 3)
			ended := h.nodes[c.node].endOnce(t, c.at)
			h.start(h.nodes...)
			h.ready(h.nodes...)
			if !ended() {
				t.Error("the process never came to that point")
			}
			for _, n := range h.nodes {
				if n.store(t) != h.nodes[0].store(t) {
					t.Errorf("%s is of store %s, %s of %s", n.cfg.Name, n.store(t), h.nodes[0].cfg.Name, h.nodes[0].store(t))
				}
			}
		})
	}
}

// A lone member is killed right after etcd made its log, before anything was
// written to it: it must not be stuck with a log that has no members.
func TestALoneFoundingSurvivesAKillAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"offer", "agree", "recorded", "started"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			h := newHerd(t, 1)
			ended := h.nodes[0].endOnce(t, at)
			h.start(h.nodes[0])
			h.ready(h.nodes[0])
			if !ended() {
				t.Error("the process never came to that point")
			}
		})
	}
}

// All members are killed after the agreement, and one loses its disk: the others
// go on with the same founding, and it joins as a new vote.
func TestAMemberThatLosesItsDiskAfterTheAgreementJoins(t *testing.T) {
	t.Parallel()
	h := newHerd(t, 3)
	ended := h.nodes[2].endOnce(t, "agree")
	h.start(h.nodes...)
	h.ready(h.nodes[0], h.nodes[1])
	h.ready(h.nodes[2])
	if !ended() {
		t.Fatal("the process never came to that point")
	}
	h.kill(h.nodes[2])
	before := h.nodes[0].store(t)
	h.nodes[2].loseDisk(t)
	h.start(h.nodes[2])
	h.ready(h.nodes[2])
	if now := h.nodes[2].store(t); now != before {
		t.Errorf("it is of store %s, not of %s", now, before)
	}
}

func TestNobodyFoundsOverAPostgresDataDirectory(t *testing.T) {
	t.Parallel()
	h := newHerd(t, 3)
	h.nodes[0].cfg.HasData = true
	h.start(h.nodes[0])
	h.wait(h.nodes[0], Refused)
	h.start(h.nodes[1:]...)
	for _, n := range h.nodes {
		h.wait(n, Refused)
	}
	out, err := h.nodes[0].decide(t, "found")
	if err == nil {
		t.Fatal("decided beside the running process")
	}
	mustContain(t, out, "stop the agent")
	h.stop(h.nodes[0])
	h.nodes[0].mustDecide(t, "found")
	h.start(h.nodes[0])
	h.ready(h.nodes...)
}

func TestAPersonFoundsTheStoreWithOneMember(t *testing.T) {
	t.Parallel()
	h := newHerd(t, 3)
	n := h.nodes[1]
	n.mustDecide(t, "found")
	h.start(n)
	h.ready(n)
	if g := n.store(t).Generation(); g != 1 {
		t.Errorf("generation %d, want 1", g)
	}
	h.start(h.nodes[0])
	h.ready(h.nodes[0])
	h.start(h.nodes[2])
	h.ready(h.nodes[2])
	h.stop(n)
	out, err := n.decide(t, "found")
	if err == nil {
		t.Fatal("a store that works was founded anew")
	}
	mustContain(t, out, "majority")
}

// The record of a founding must not be used once its log was there and is gone.
func TestALostLogIsNotStartedAgainFromItsFounding(t *testing.T) {
	t.Parallel()
	h := newHerd(t, 3)
	h.start(h.nodes...)
	h.ready(h.nodes...)
	n := h.nodes[1]
	before := n.sup.State().MemberID
	h.kill(n)
	if err := os.RemoveAll(n.cfg.memberDir()); err != nil {
		t.Fatal(err)
	}
	h.start(n)
	h.ready(n)
	if n.sup.State().MemberID == before {
		t.Error("the member came back under the number that had voted")
	}
}
