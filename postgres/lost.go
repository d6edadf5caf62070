package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/postgres/control"
	"github.com/matriarch-ha/matriarch/postgres/replica"
	"github.com/matriarch-ha/matriarch/postgres/walfile"
	"github.com/matriarch-ha/matriarch/wal"
)

// spareSpace is what must remain free after the log was copied.
const spareSpace = 256 << 20

// LostReport is the name of the list of lost transactions in a saved copy.
const LostReport = "lost-transactions.txt"

// saveLost copies the log from the fork to the end beside the data directory,
// with the list of the transactions committed in it. No saved copy is ever removed:
// it may be all that is left. When the disk has no room the list is written without
// the segments and says so. whole: all records from the fork to the end are in it.
func (s *Server) saveLost(ctx context.Context, ctl control.Data, fork, end wal.Position, h wal.History) (whole bool, err error) {
	dir := s.lostPath()
	if err := s.user.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	whole = true
	parts := spans(fork, end, h)
	files, size := s.lostSegments(ctl.SegmentSize, parts)
	head := fmt.Sprintf("The log of %s from %s to %s was abandoned on %s.\n", s.opt.Name, fork, end, s.opt.Clock.Wall().UTC().Format("2006-01-02 15:04:05 UTC"))
	if free(dir) < size+spareSpace {
		head += fmt.Sprintf("There was no room for its %d bytes of segments; only this list was kept.\n", size)
		files, whole = nil, false
	}
	for _, f := range files {
		if err := s.copyFile(ctx, filepath.Join(s.walDir(), f), filepath.Join(dir, f)); err != nil {
			return false, fmt.Errorf("save the log: %w", err)
		}
	}
	txs, err := s.lostCommits(ctx, parts)
	if err != nil {
		head += "The list is not complete: " + err.Error() + "\n"
		whole = false // not every record was there
	}
	if err := s.user.WriteFile(filepath.Join(dir, LostReport), []byte(replica.RenderLost(head, txs)), 0o600); err != nil {
		return false, err
	}
	loss := Loss{From: fork, To: end, Bytes: uint64(end.LSN - fork.LSN), Readable: err == nil, Commits: len(txs), Kept: dir}
	if err := s.writeLoss(loss); err != nil {
		return false, err
	}
	if len(txs) > 0 {
		s.log.Warn("committed transactions are being given up", "count", len(txs), "from", fork.String(), "to", end.String(), "saved", dir)
	}
	return whole, nil
}

// lostSegments lists the segment and history files that hold the parts.
func (s *Server) lostSegments(segSize int64, parts []span) (names []string, size int64) {
	all, _ := walfile.Segments(s.walDir(), segSize)
	for _, f := range all {
		for _, p := range parts {
			if f.Timeline == p.tl && f.Start < p.to && f.Start+wal.LSN(segSize) > p.from {
				names, size = append(names, f.Name), size+segSize
			}
		}
	}
	for _, p := range parts {
		if exists(filepath.Join(s.walDir(), p.tl.FileName())) {
			names = append(names, p.tl.FileName())
		}
	}
	return names, size
}

func (s *Server) lostCommits(ctx context.Context, parts []span) ([]replica.LostTx, error) {
	var out []replica.LostTx
	var errs []error
	for _, p := range parts {
		text, err := s.run(ctx, nil, "pg_waldump", "-p", s.walDir(), "-t", fmt.Sprint(uint32(p.tl)), "-s", p.from.String(), "-e", p.to.String(), "-r", "Transaction")
		out = append(out, replica.ParseCommits(text)...)
		errs = append(errs, err)
	}
	return out, errors.Join(errs...)
}

func (s *Server) copyFile(ctx context.Context, from, to string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, s.user.Chown(to), out.Sync(), out.Close())
}

// free is how many bytes an ordinary user may still write.
func free(dir string) int64 {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize
}

// noteLost saves, before a clone replaces a diverged directory, what is lost
// with it. The directory itself is kept too, so a failure here stops nothing; but
// only if all that is in it is elsewhere, in the source or in what was saved, the
// answer says whose it is, and it is removed one day.
func (s *Server) noteLost(ctx context.Context, src Source) spareCopy {
	state, _ := s.dirState()
	if state == DirRewinding {
		return spareCopy{} // the rewind that did not come to its end has noted it
	}
	s.forgetLoss()
	if state != DirPresent {
		return spareCopy{}
	}
	ctl, err := s.control(ctx)
	if err != nil {
		return spareCopy{}
	}
	mine, hist, err := s.stoppedPosition(ctx, ctl)
	if err != nil {
		return spareCopy{}
	}
	theirs, ancestors, err := s.lineage(ctx, src)
	if err != nil {
		return spareCopy{}
	}
	spare := spareCopy{SystemID: ctl.SystemID}
	fork, ok := replica.Fork(mine.Timeline, hist, theirs.Timeline, ancestors)
	if ok && !s.sameBranch(fork.Timeline, src.Timelines) {
		spare = spareCopy{} // what comes before the fork may be another's too
	}
	switch {
	case !ok:
		return spareCopy{}
	case fork.LSN == 0: // both are on one timeline, which nobody has left
		if src.Diverged || mine.LSN > theirs.LSN {
			return spareCopy{}
		}
		return spare
	case fork.Timeline == mine.Timeline && mine.LSN <= fork.LSN:
		if src.Diverged {
			return spareCopy{}
		}
		return spare
	}
	whole, err := s.saveLost(ctx, ctl, fork, mine, hist)
	if err != nil {
		s.log.Warn("the log past the fork was not saved", "error", err)
	}
	if err != nil || !whole {
		return spareCopy{}
	}
	return spare
}

// sameBranch: the data here are certainly on the cluster's branch of a timeline.
// Two promotions by hand at one point make two that only the checksum of their first
// record tells apart; the first timeline of a cluster has one branch.
func (s *Server) sameBranch(tl wal.Timeline, known cluster.Timelines) bool {
	if tl == 1 {
		return true
	}
	c, ok := known.Claim(tl)
	return ok && c.Identity.Known() && c.Identity.CRC != 0 && c.Identity == s.Identity(tl)
}
