package sim

import (
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// branch is one line of WAL that exactly one server ever appended to. It is
// the world's truth: members see of it what real servers see, a number and an
// identity, and two branches can share both (see fork).
type branch struct {
	id       int
	timeline wal.Timeline
	parent   *branch
	from     wal.LSN // where it left its parent
	end      wal.LSN // how far anybody wrote it
	identity cluster.TimelineIdentity
	history  wal.History
	sysID    string
	writer   *server // the one server that appends to it

	// acked is the end of the last commit on this branch that a client was told
	// of; protected likewise of those that no failover may lose.
	acked     wal.LSN
	ever      wal.LSN // the same, and never forgotten
	protected wal.LSN

	// values are the register's on this branch; seen is the newest that a client
	// saw, seenSafe of those that no failover may lose.
	values         []version
	seen, seenSafe wal.LSN
	missing        missing
}

// promoted makes the branch that a promotion at from begins.
func (w *world) promoted(parent *branch, from wal.LSN, tl wal.Timeline) *branch {
	b := w.newBranch(parent.sysID)
	b.timeline, b.parent, b.from, b.end = tl, parent, from, from+record
	b.identity = cluster.TimelineIdentity{Switch: from, CRC: w.rng.Uint32() | 1}
	b.history = append(parent.history[:len(parent.history):len(parent.history)],
		wal.Switch{Timeline: parent.timeline, LSN: from})
	return b
}

// fork makes the branch of a server that goes on writing at a place where
// another server has written already, without a promotion: same number, same
// identity, other records. Nothing in PostgreSQL can tell the two apart.
func (w *world) fork(b *branch, from wal.LSN) *branch {
	f := w.newBranch(b.sysID)
	f.timeline, f.parent, f.from, f.end = b.timeline, b, from, from
	f.identity, f.history = b.identity, b.history
	return f
}

// record is the length of a record that carries no row.
const record wal.LSN = 120

func (w *world) newBranch(sysID string) *branch {
	b := &branch{id: len(w.branches) + 1, sysID: sysID}
	w.branches = append(w.branches, b)
	return b
}

// contains reports whether a log that ends at end on b holds everything up to
// lsn on branch o.
func (b *branch) contains(end wal.LSN, o *branch, lsn wal.LSN) bool {
	for b != nil {
		if b == o {
			return lsn <= end
		}
		end = min(end, b.from)
		b = b.parent
	}
	return false
}

// shares returns how far the logs (b, end) and (o, oend) are the same.
func (b *branch) shares(end wal.LSN, o *branch, oend wal.LSN) wal.LSN {
	for x, xe := b, end; x != nil; x = x.parent {
		for y, ye := o, oend; y != nil; y = y.parent {
			if x == y {
				return min(xe, ye)
			}
			ye = min(ye, y.from)
		}
		xe = min(xe, x.from)
	}
	return 0
}

// at returns the branch that the record before lsn is on, for a log on b.
func (b *branch) at(lsn wal.LSN) *branch {
	for b.parent != nil && lsn <= b.from {
		b = b.parent
	}
	return b
}
