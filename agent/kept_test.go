package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/postgres"
)

// What replaced a directory is counted while it serves, across restarts of the server,
// and the directory is removed after a day of that; the journal says so.
func TestServiceOfAReplacementIsCounted(t *testing.T) {
	j, err := journal.Open(journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	inBubble(t, func(o *Options) { o.KeepReplaced, o.Journal = ReplacedProof, j }, func(t *testing.T, r *rig) {
		r.pg.removed = postgres.Removed{Path: "/d.replaced", Bytes: 5}
		alone(r)
		served := func() time.Duration {
			r.pg.mu.Lock()
			defer r.pg.mu.Unlock()
			return r.pg.served
		}
		told := func() *journal.Removed {
			records, _ := j.Since(journal.Query{Limit: 1000})
			for _, e := range records {
				if e.Event != nil && e.Event.Name == journal.ReplacedRemoved {
					return e.Event.Removed
				}
			}
			return nil
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := served(); s < 50*time.Minute || s > time.Hour {
			t.Errorf("an hour of service counts as %s", s)
		}
		r.put("config", `{"pause":true}`)
		time.Sleep(time.Minute)
		synctest.Wait()
		paused := served()
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := served(); s != paused || told() != nil {
			t.Errorf("counted in a pause: %s, %s", paused, s)
		}
		r.put("config", `{}`)
		time.Sleep(24*time.Hour + 15*time.Minute)
		synctest.Wait()
		if got := told(); got == nil || *got != (journal.Removed{Path: "/d.replaced", Bytes: 5}) {
			t.Errorf("the journal has %+v after %s", got, served())
		}
	})
}

// A removal that hangs holds up neither the turns nor the agent's end, and no second
// one begins beside it.
func TestRemovalThatHangsHoldsUpNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		hang := make(chan struct{})
		r.pg.hook("tend", func(context.Context) error { <-hang; return nil })
		alone(r)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := r.pg.called("tend"); n != 1 {
			t.Errorf("%d removals at once", n)
		}
		if !r.leads() {
			t.Error("does not lead any more")
		}
		r.agent.Stop("told to")
		<-r.ended
		close(hang)
	})
}
