package guard

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkArm arms a guard again and again, with and without the kernel-timed
// fence: its time for each, and its private memory.
func BenchmarkArm(b *testing.B) {
	for _, mode := range []KernelFence{KernelFenceOff, KernelFenceAutomatic} {
		b.Run(string(mode), func(b *testing.B) {
			runtime.LockOSThread()
			if unix.Unshare(unix.CLONE_NEWNET) != nil {
				b.Skip("needs a network namespace of its own")
			}
			if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			c, err := Start(context.Background(), optionsFor(Duty{DataDir: b.TempDir(), Port: testPort, KernelFence: mode}, nil))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(c.Kill)
			arm(b, c, within(time.Minute))
			before := ran(b, c.State().PID)
			for b.Loop() {
				arm(b, c, within(time.Minute))
			}
			b.ReportMetric(float64(ran(b, c.State().PID)-before)/float64(b.N), "cpu-ns/op")
			_, private := pss(b, c.State().PID)
			b.ReportMetric(float64(private), "private-kB")
		})
	}
}

// ran is how long the threads of a process have run, in nanoseconds.
func ran(b *testing.B, pid int) (sum int64) {
	tasks, err := os.ReadDir(procPath(pid, "task"))
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range tasks {
		text, _ := os.ReadFile(procPath(pid, "task/"+t.Name()+"/schedstat"))
		var ns int64
		_, _ = fmt.Sscan(string(text), &ns)
		sum += ns
	}
	return sum
}
