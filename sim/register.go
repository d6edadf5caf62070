package sim

import (
	"sort"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

// op is one operation on the register, as its client saw it: a write of a value
// that no other write has, or a read.
type op struct {
	call, ret time.Duration // ret is never for an outcome that the client does not know
	write     bool
	value     int // of a write its own number; of a read what it saw, 0 for nothing written yet
}

// never is the end of an operation whose client was never answered.
const never = time.Duration(1<<63 - 1)

// version is a value in a log: the transaction that ends at lsn wrote it.
type version struct {
	lsn   wal.LSN
	value int
	// protected: the wait of its transaction ended when no failover could lose it.
	protected bool
}

// register is one row that clients write and read through the entrypoint, and
// what they saw of it. It must look as if every operation happened at one instant
// between its beginning and its end, over all reigns. A takeover that loses what
// clients had seen, where that is allowed, counts as one more write: of what the
// new primary has, before its first transaction.
type register struct {
	ops    []*op
	resets []reset
}

// reset is a takeover with a loss that is allowed: whoever has the log up to its
// beginning and sees old sees value.
type reset struct {
	branch     *branch
	lsn        wal.LSN
	old, value int
}

func (r *register) begin(now time.Duration, write bool) *op {
	o := &op{call: now, ret: never, write: write}
	r.ops = append(r.ops, o)
	if write {
		o.value = len(r.ops)
	}
	return o
}

func (r *register) end(o *op, now time.Duration) { o.ret = now }

// wrote: the transaction is in the log, and nobody sees it yet.
func (r *register) wrote(x *commit) {
	x.branch.values = append(x.branch.values, version{lsn: x.lsn, value: x.op.value})
}

func (r *register) released(x *commit) {
	if v := x.branch.find(x.lsn); v != nil && v.value == x.op.value {
		v.protected = x.protects
	}
}

// read is a look at the row: what waits for a standby is not visible. The answer
// counts when seen is called.
func (r *register) read(o *op, s *server) (seen func()) {
	end := s.end
	if s.role == ha.ServerStandby {
		end = s.replayed
	}
	for _, x := range s.waiters {
		if x.op != nil {
			end = min(end, x.lsn-1)
		}
	}
	b, v := s.branch.version(end)
	if v == nil {
		o.value = r.as(s, 0)
		return func() {}
	}
	o.value = r.as(s, v.value)
	lsn := v.lsn
	return func() { b.saw(lsn) }
}

// saw: a client knows of the value at lsn. Whether it is protected is asked now: the
// sync key may have gone back with the store while the answer was on its way.
func (b *branch) saw(lsn wal.LSN) {
	b.seen = max(b.seen, lsn)
	if v := b.find(lsn); v != nil && v.protected {
		b.seenSafe = max(b.seenSafe, lsn)
	}
}

// as is the value as the history has it: another write when a loss brought it
// back.
func (r *register) as(s *server, value int) int {
	for i := len(r.resets) - 1; i >= 0; i-- {
		if x := r.resets[i]; x.old == value && s.branch.contains(s.end, x.branch, x.lsn) {
			return x.value
		}
	}
	return value
}

// told: the client of a write was answered.
func (r *register) told(x *commit) { x.branch.saw(x.lsn) }

// takeover accounts for what a new primary lacks of what clients have seen. What
// no failover may lose is not excused, unless a person forced it.
func (r *register) takeover(w *world, s *server, forced bool) {
	lost, excused := false, true
	for _, b := range w.branches {
		if b.sysID != s.sysID {
			continue
		}
		if b.seen > 0 && !s.branch.contains(s.end, b, b.seen) && !b.missing.counted(s, b.seen) {
			lost, b.missing = true, missing{b.seen, s.branch, s.end}
		}
		if b.seenSafe > 0 && !s.branch.contains(s.end, b, b.seenSafe) {
			excused, b.seenSafe = forced, 0
		}
	}
	for _, x := range r.resets {
		// What a former loss brought back may have been read; here it never was lost.
		lost = lost || x.branch.sysID == s.sysID && !s.branch.contains(s.end, x.branch, x.lsn)
	}
	if !lost || !excused {
		return
	}
	w.stats.Reset++
	old := 0
	if _, v := s.branch.version(s.end); v != nil {
		old = v.value
	}
	// Like a write of unknown outcome: if nobody sees it, there need be none.
	o := r.begin(w.now, true)
	r.resets = append(r.resets, reset{s.branch, s.end, old, o.value})
}

// missing is a loss that was counted: the takeover at end of branch by lacked
// what clients had seen up to seen.
type missing struct {
	seen wal.LSN
	by   *branch
	end  wal.LSN
}

// counted: the server comes after that takeover.
func (x missing) counted(s *server, seen wal.LSN) bool {
	return x.seen == seen && s.branch.contains(s.end, x.by, x.end)
}

// version returns the newest value in a log that ends at end on b.
func (b *branch) version(end wal.LSN) (*branch, *version) {
	for ; b != nil; b = b.parent {
		if v := b.find(end); v != nil {
			return b, v
		}
		end = min(end, b.from)
	}
	return nil, nil
}

// find returns the newest value on the branch itself up to end.
func (b *branch) find(end wal.LSN) *version {
	i := sort.Search(len(b.values), func(i int) bool { return b.values[i].lsn > end })
	if i == 0 {
		return nil
	}
	return &b.values[i-1]
}
