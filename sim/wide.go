package sim

import (
	"math/rand/v2"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
)

// wide is what only some of the worlds have: more members, unlike intervals, all
// tags, slow or lossy networks, slow disks, the kernel-timed fence, WAL that is
// removed, data older than the store. Its draws come from a source of their own,
// so that the other worlds stay what they are.
type wide struct {
	on bool

	latency time.Duration // added to every message, up to
	loss    int           // of a thousand messages, so many are lost
	disk    time.Duration // what each disk adds to what touches it, up to

	kernelFence bool // the kernel closes the port of a server whose lease has passed
	orphaned    bool // faults may take agent and guard of one host at once

	walKeep uint64 // WAL that a checkpoint leaves, whatever slots say; 0: all is kept
	cancels int    // one of so many commits that wait for a standby is cancelled by its client
	replays bool   // a started standby replays first what it has

	late    time.Duration // when the last member joins; 0: with the others
	adopted bool          // the members have data and the store knows nothing
}

// widen makes a drawn world a wide one.
func widen(c *worldConfig, r *rand.Rand) {
	pick := func(ds ...time.Duration) time.Duration { return ds[r.IntN(len(ds))] }
	s, x := &c.settings, &c.wide
	x.on = true
	c.members = []int{1, 2, 3, 3, 4, 5, 6, 7}[r.IntN(8)]
	s.LoopWait = max(time.Second, min(pick(time.Second, 2*time.Second, 5*time.Second, 10*time.Second), s.TTL/3))
	s.RetryTimeout = max(time.Second, min(pick(time.Second, 3*time.Second, 10*time.Second), (s.TTL-s.LoopWait)/2))
	s.UseSlots = r.IntN(4) > 0
	s.SlotsTTL = pick(0, 10*time.Second, 30*time.Minute)
	s.PrimaryStallTimeout = pick(0, 4*time.Second, 12*time.Second)
	s.MaxHistory = []int{0, 0, 1, 3}[r.IntN(4)]
	s.RecloneOnDivergence = r.IntN(3) > 0
	x.latency = pick(0, 0, 20*time.Millisecond, 150*time.Millisecond)
	x.loss = []int{0, 0, 5, 30}[r.IntN(4)]
	x.disk = pick(0, 0, 20*time.Millisecond, 200*time.Millisecond)
	x.kernelFence = r.IntN(2) == 0
	x.orphaned = r.IntN(2) == 0
	x.walKeep = []uint64{0, 2000, 50000, 1 << 20}[r.IntN(4)]
	x.cancels = []int{0, 5, 50}[r.IntN(3)]
	x.replays = r.IntN(2) == 0
	if c.members > 2 && r.IntN(4) == 0 {
		x.late = 20*time.Second + time.Duration(r.IntN(40))*time.Second
	}
	x.adopted = r.IntN(6) == 0
}

// loses: the network of a wide world loses some messages.
func (w *world) loses() bool {
	return w.cfg.wide.loss > 0 && w.ceased == 0 && w.more.IntN(1000) < w.cfg.wide.loss
}

// wideTags gives members any of the tags; the first two may always lead.
func wideTags(r *rand.Rand, i int) cluster.Tags {
	var t cluster.Tags
	some := func() bool { return r.IntN(6) == 0 }
	n := func() *int { v := r.IntN(4); return &v }
	t.NoLoadBalance, t.CloneFrom = some(), some()
	if some() {
		t.SyncPriority = n()
	}
	if some() {
		t.FailoverPriority = n()
	}
	if i < 2 {
		if t.FailoverPriority != nil {
			*t.FailoverPriority++
		}
		return t
	}
	t.NoFailover, t.NoSync = some(), some()
	if some() {
		t.ReplicateFrom = names[r.IntN(i)] // never in a circle
	}
	return t
}
