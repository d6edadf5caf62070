package explain

import (
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

// BenchmarkTellMany tells a cluster that goes back and forth, of the most records
// that are read.
func BenchmarkTellMany(b *testing.B) {
	ev := evidence(b, "lab")
	for i := range ev.Sources {
		s := &ev.Sources[i]
		small := s.Records
		for round := 1; len(s.Records) < defaultLimit; round++ {
			for _, r := range small {
				r.Seq += uint64(round) * 1000
				r.Time = r.Time.Add(time.Duration(round) * time.Hour)
				if r.Turn != nil {
					turn := *r.Turn
					turn.Observation.Now += boot.Instant(time.Duration(round) * time.Hour)
					r.Turn = &turn
				}
				s.Records = append(s.Records, r)
			}
		}
	}
	ev.Gathered = ev.Gathered.Add(100 * time.Hour)
	for b.Loop() {
		if _, err := Tell(ev, Question{Timeline: 4}); err != nil {
			b.Fatal(err)
		}
	}
}
