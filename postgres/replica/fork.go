package replica

import "github.com/matriarch-ha/matriarch/wal"

// Fork returns the last position that two lines of descent have in common: a
// server on timeline a with ancestors ha, and one on b with hb. ok is false when
// they share nothing.
func Fork(a wal.Timeline, ha wal.History, b wal.Timeline, hb wal.History) (fork wal.Position, ok bool) {
	la, lb := line(a, ha), line(b, hb)
	for i := 0; i < len(la) && i < len(lb); i++ {
		if la[i].Timeline != lb[i].Timeline {
			break
		}
		fork, ok = wal.Position{Timeline: la[i].Timeline, LSN: earlier(la[i].LSN, lb[i].LSN)}, true
		if la[i].LSN != lb[i].LSN {
			break
		}
	}
	return fork, ok
}

// line appends the timeline itself, which has no end yet (zero).
func line(tl wal.Timeline, h wal.History) wal.History {
	return append(append(wal.History(nil), h...), wal.Switch{Timeline: tl})
}

// earlier returns the smaller LSN, zero meaning no end.
func earlier(a, b wal.LSN) wal.LSN {
	if a == 0 {
		return b
	}
	if b == 0 {
		return a
	}
	return min(a, b)
}
