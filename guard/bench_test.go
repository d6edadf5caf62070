package guard

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"
)

// BenchmarkFence measures from the hard deadline to the proof, on a server with
// some busy backends, by a real guard process: idle, and with more busy
// processes than the host has processors.
func BenchmarkFence(b *testing.B) {
	for _, load := range []int{0, 16} {
		b.Run("load="+strconv.Itoa(load), func(b *testing.B) {
			for range load {
				hog := exec.Command("/bin/sh", "-c", "while :; do :; done")
				if err := hog.Start(); err != nil {
					b.Fatal(err)
				}
				defer func() { _ = hog.Process.Kill(); _ = hog.Wait() }()
			}
			var all []time.Duration
			for range b.N {
				all = append(all, fenceOnce(b))
			}
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms-median")
			b.ReportMetric(float64(all[len(all)-1].Microseconds())/1000, "ms-max")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func fenceOnce(b *testing.B) time.Duration {
	s := startServer(b)
	for range 20 {
		conn, _ := s.backend()
		defer conn.Close(context.Background())
	}
	busy(b, s)
	c := startGuard(b, s.dir)
	d := within(300 * time.Millisecond)
	arm(b, c, d)
	p := awaitFence(b, c)
	s.mustBeFenced()
	_ = os.Remove(s.log)
	return p.Began.Add(p.Took).Sub(d.Hard)
}
