package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
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
