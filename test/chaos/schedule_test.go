package chaos

import (
	"slices"
	"testing"
	"time"
)

func TestAScheduleIsItsSeed(t *testing.T) {
	for seed := range uint64(50) {
		a, b := Draw(seed, 10*time.Minute), Draw(seed, 10*time.Minute)
		if a.String() != b.String() {
			t.Fatalf("seed %d draws two schedules:\n%s\n%s", seed, a, b)
		}
		if seed > 0 && a.String() == Draw(seed-1, 10*time.Minute).String() {
			t.Fatalf("seeds %d and %d draw the same", seed-1, seed)
		}
	}
}

func TestAScheduleIsWithinItsBounds(t *testing.T) {
	overlapping, synchronous := 0, 0
	for seed := range uint64(200) {
		s := Draw(seed, 10*time.Minute)
		struck, sum := map[string]int{}, time.Duration(0)
		if s.Synchronous {
			synchronous++
		}
		if !slices.Contains(s.Tmpfs, true) || !slices.Contains(s.Tmpfs, false) {
			t.Fatalf("seed %d: every kind of disk must be there: %v", seed, s.Tmpfs)
		}
		for _, r := range s.Rounds {
			sum += r.Length + healing
			var end time.Duration
			for _, step := range r.Steps {
				struck[step.Fault]++
				if step.At < 0 || step.For <= 0 || step.At+step.For > r.Length {
					t.Fatalf("seed %d: %s lasts longer than its round of %s", seed, step, r.Length)
				}
				if step.At < end {
					overlapping++
				}
				end = max(end, step.At+step.For)
			}
		}
		if sum < 10*time.Minute || sum > 11*time.Minute {
			t.Errorf("seed %d: a schedule of %s", seed, sum)
		}
		for _, f := range names() {
			if struck[f] == 0 {
				t.Errorf("seed %d: ten minutes without %s", seed, f)
			}
		}
	}
	if overlapping < 1000 || synchronous < 50 || synchronous > 150 {
		t.Errorf("%d overlapping faults, %d of 200 seeds synchronous", overlapping, synchronous)
	}
}
