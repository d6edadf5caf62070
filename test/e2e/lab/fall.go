package lab

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// Fall is what was seen of a leader that lost its office: when its postmaster
// was dead, when the others saw the leader key free (or another's), and who led
// next.
type Fall struct {
	Dead, Free boot.Instant
	By         *Member

	c      *Cluster
	former *Member
	done   chan struct{}
	end    chan struct{}
}

// WatchFall begins to watch a leader that is about to fall.
func (c *Cluster) WatchFall(former *Member) *Fall {
	f := &Fall{c: c, former: former, done: make(chan struct{}), end: make(chan struct{})}
	pid := former.Postmaster()
	dead := make(chan boot.Instant, 1)
	c.t.Cleanup(func() { close(f.end); <-f.done })
	go func() {
		for f.going() && running(pid) {
			time.Sleep(time.Millisecond)
		}
		dead <- clock.Real{}.Now()
	}()
	go func() {
		defer close(f.done)
		for f.going() && f.Free.IsZero() {
			if f.free() {
				f.Free = clock.Real{}.Now()
			}
			time.Sleep(10 * time.Millisecond) // each look is a reading of the store
		}
		select {
		case f.Dead = <-dead:
		default:
		}
	}()
	return f
}

func (f *Fall) going() bool {
	select {
	case <-f.end:
		return false
	default:
		return true
	}
}

// free: some other member sees that the former leader does not hold the key.
func (f *Fall) free() bool {
	for _, m := range f.c.Others(f.former) {
		_, body, err := m.Get("/cluster")
		var doc struct{ Members []struct{ Name, Role string } }
		if err != nil || json.Unmarshal([]byte(body), &doc) != nil || len(doc.Members) == 0 {
			continue
		}
		leads := false
		for _, d := range doc.Members {
			leads = leads || d.Name == f.former.Name && d.Role == "leader"
		}
		if !leads {
			return true
		}
	}
	return false
}

// running: the process is there and not only its remains.
func running(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return syscall.Kill(pid, 0) == nil
	}
	i := strings.LastIndexByte(string(b), ')')
	return i < 0 || i+2 >= len(b) || b[i+2] != 'Z'
}

// Wait waits until another leads, and fails the test unless the former leader's
// server was gone before the key was free.
func (f *Fall) Wait(t testing.TB, limit time.Duration) *Member {
	t.Helper()
	f.By = f.c.WaitLeader(limit, f.former)
	<-f.done
	if f.Dead.IsZero() {
		t.Fatalf("the leader key is free while the postmaster of %s lives\n%s", f.former.Name, f.c.Tails(15))
	}
	t.Logf("the old server was gone %s before the leader key", f.Free.Sub(f.Dead).Round(time.Millisecond))
	return f.By
}

// NoneAfter fails the test when the old primary acknowledged a row after the
// first that the new one did.
func NoneAfter(t testing.TB, old, next *Writer) {
	t.Helper()
	a, b := old.Acks(), next.Acks()
	if len(a) == 0 || len(b) == 0 {
		t.Fatalf("%d rows acknowledged by the old primary and %d by the new one: nothing to compare", len(a), len(b))
	}
	last, first := a[len(a)-1], b[0]
	if last.At > first.At {
		t.Fatalf("the old primary acknowledged row %d %s after the new one's first, %d", last.ID, last.At.Sub(first.At), first.ID)
	}
	t.Logf("%s between the last row of the old primary and the first of the new one", first.At.Sub(last.At).Round(time.Millisecond))
}
