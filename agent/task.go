package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// errBusy: a task runs already. The next turn sees it.
var errBusy = errors.New("another long action is in progress")

// tasks runs long actions, one at a time, beside the loop.
type tasks struct {
	clock clock.Clock
	wake  func()
	// record counts a task that ended.
	record func(kind ha.TaskKind, took time.Duration, err error)

	mu     sync.Mutex
	now    ha.Task
	cancel context.CancelFunc
	done   chan struct{}
	wg     sync.WaitGroup
}

// begin starts a task. It is given a context that ends when the task is
// cancelled, and a function to report progress with.
func (t *tasks) begin(ctx context.Context, kind ha.TaskKind, run func(context.Context, func(string)) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now.Kind != "" {
		return errBusy
	}
	ctx, t.cancel = context.WithCancel(ctx)
	t.now.Kind, t.now.Since, t.now.Progress = kind, t.clock.Now(), ""
	done := make(chan struct{})
	t.done = done
	t.wg.Go(func() {
		err := safely(func() error { return run(ctx, t.progress) })
		t.end(kind, err)
		close(done)
		t.wake()
	})
	return nil
}

// safely turns a panic of a task into its failure: the loop must live on to
// keep the server fenced and explained.
func safely(run func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v", p)
		}
	}()
	return run()
}

func (t *tasks) end(kind ha.TaskKind, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancel()
	r := ha.TaskResult{Seq: t.now.Last.Seq + 1, Kind: kind, At: t.clock.Now()}
	t.record(kind, r.At.Sub(t.now.Since), err)
	if err != nil {
		r.Error = err.Error()
	}
	t.now = ha.Task{Last: r}
}

func (t *tasks) progress(what string) {
	t.mu.Lock()
	t.now.Progress = what
	t.mu.Unlock()
}

// current returns the running task and how the last one ended.
func (t *tasks) current() ha.Task {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}

// stop cancels the running task without waiting for its end.
func (t *tasks) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now.Kind != "" {
		t.cancel()
	}
}

// stopAndWait cancels the running task, waits for its end, or for ctx, and
// reports whether none runs any more.
func (t *tasks) stopAndWait(ctx context.Context) bool {
	t.stop()
	t.mu.Lock()
	done := t.done
	t.mu.Unlock()
	if done == nil {
		return true
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// abandon cancels what runs when the agent ends and waits for it.
func (t *tasks) abandon() {
	t.stop()
	t.wg.Wait()
}
