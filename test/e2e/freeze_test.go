package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestFrozenAgent stops the primary's agent, but not its guard, as an
// overloaded host or a debugger would: the guard ends the server before the
// store lets anybody else lead, so no client that talks to the old server
// directly gets a commit that the new primary's clients could contradict.
func TestFrozenAgent(t *testing.T) {
	for _, kind := range stores {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			c := lab.NewCluster(t, lab.Options{Store: kind})
			c.StartAll()
			old := c.WaitHealthy(60 * time.Second)
			direct := lab.StartWriter(t, old.DSN())
			direct.WaitProgress(t, 10*time.Second)
			var others []*lab.Writer
			for i, m := range c.Others(old) {
				others = append(others, lab.WriteTo(t, m.DSN(), int64(i+1)*1e9))
			}
			f := c.WatchFall(old)

			old.Agent.Signal(syscall.SIGSTOP)
			next := f.Wait(t, 60*time.Second)
			w := others[0]
			if next != c.Others(old)[0] {
				w = others[1]
			}
			w.WaitProgress(t, 20*time.Second)
			old.Agent.Signal(syscall.SIGCONT)
			if lead := c.WaitHealthy(60 * time.Second); lead != next {
				t.Fatalf("%s leads, %s did before the frozen agent went on", lead.Name, next.Name)
			}
			direct.Stop()
			w.Stop()
			lab.NoneAfter(t, direct, w)
		})
	}
}
