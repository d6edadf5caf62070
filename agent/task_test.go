package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/postgres/control"
)

func newTasks() (*tasks, *int) {
	woken := new(int)
	return &tasks{clock: bubbleClock{time.Now()}, wake: func() { *woken++ }, record: nobody{}.Task}, woken
}

func TestOneTaskAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, woken := newTasks()
		goOn := make(chan struct{})
		long := func(_ context.Context, say func(string)) error { say("half"); <-goOn; return nil }
		if err := k.begin(t.Context(), ha.Clone, long); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if now := k.current(); now.Kind != ha.Clone || now.Progress != "half" {
			t.Errorf("in progress: %+v", now)
		}
		if err := k.begin(t.Context(), ha.Stop, long); !errors.Is(err, errBusy) {
			t.Errorf("a second task: %v", err)
		}
		close(goOn)
		synctest.Wait()
		if now := k.current(); now.Kind != "" || now.Last.Seq != 1 || now.Last.Kind != ha.Clone || now.Last.Error != "" || *woken != 1 {
			t.Errorf("ended: %+v, woken %d times", now, *woken)
		}
		if err := k.begin(t.Context(), ha.Stop, long); err != nil {
			t.Errorf("after the first: %v", err)
		}
		k.abandon()
	})
}

func TestCancelledTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _ := newTasks()
		k.stop() // nothing runs: harmless
		if !k.stopAndWait(t.Context()) {
			t.Error("no task runs, yet it has not ended")
		}
		stuck := make(chan struct{})
		k.begin(t.Context(), ha.Clone, func(ctx context.Context, _ func(string)) error { <-ctx.Done(); <-stuck; return ctx.Err() })
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if k.stopAndWait(short) || k.current().Kind != ha.Clone {
			t.Error("a task that does not end counts as ended")
		}
		close(stuck)
		if !k.stopAndWait(t.Context()) || k.current().Last.Error == "" {
			t.Errorf("not ended: %+v", k.current())
		}
	})
}

func TestTaskThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, woken := newTasks()
		k.begin(t.Context(), ha.Rewind, func(context.Context, func(string)) error { panic("bug") })
		k.abandon()
		if last := k.current().Last; !strings.Contains(last.Error, "bug") || *woken != 1 {
			t.Errorf("%+v, woken %d times", last, *woken)
		}
	})
}

// A task that ends while the server is asked is not seen as ended beside facts
// of before its end: a stop would look like one that failed.
func TestTaskThatEndsDuringAnObservation(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.pg.set(primary())
		end := make(chan struct{})
		err := r.agent.task.begin(t.Context(), ha.Stop, func(context.Context, func(string)) error { <-end; return nil })
		if err != nil {
			t.Fatal(err)
		}
		r.pg.hook("observe", func(context.Context) error {
			close(end)
			synctest.Wait()
			r.pg.set(stopped(control.ShutDown))
			r.pg.hook("observe", nil)
			return nil
		})
		if o := r.agent.observe(t.Context()); o.Task.Kind == "" && o.Server.Process == ha.ProcessRunning {
			t.Error("the stop is over and the server seems to run")
		}
		if o := r.agent.observe(t.Context()); o.Task.Kind != "" || o.Server.Process != ha.ProcessStopped {
			t.Errorf("after it: task %q, server %s", o.Task.Kind, o.Server.Process)
		}
	})
}
