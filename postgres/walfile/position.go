package walfile

import (
	"context"
	"errors"

	"github.com/matriarch-ha/matriarch/wal"
)

// End walks from a record's start to the end of the valid log and returns where
// that is, and on which timeline the last record was written. When nothing is
// valid at from, it is from itself and timeline 0.
func End(ctx context.Context, r *Reader) (wal.Position, error) {
	p := wal.Position{LSN: r.next}
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return wal.Position{}, context.Cause(ctx)
		}
		rec, err := r.Next()
		if errors.Is(err, ErrEnd) {
			return p, nil
		}
		if err != nil {
			return wal.Position{}, err
		}
		p = wal.Position{Timeline: rec.Timeline, LSN: rec.End}
	}
}

// FirstCRC returns the checksum of the first record of the reader's timeline
// that says when it was begun: the end-of-recovery record or the checkpoint
// that takes its place. Records that announce settings may precede it and are
// the same on two branches, so they are passed over.
func FirstCRC(r *Reader) (uint32, error) {
	for range 16 {
		rec, err := r.Next()
		if err != nil {
			return 0, err
		}
		if rec.Timeline != r.timeline {
			return 0, ErrEnd
		}
		if rec.Rmgr == rmXLOG && (rec.Info == infoParameters || rec.Info == infoFPW) {
			continue
		}
		return rec.CRC, nil
	}
	return 0, ErrEnd
}
