package api

import (
	"context"
	"sync"
	"time"
)

// flight answers many askers with few runs of something slow: one run at a
// time, and an asker gets the result of a run that began after it asked, so
// that it never learns less than it would have found out by itself. Nobody
// waits longer than his own context allows, whatever the run does.
type flight[T any] struct {
	run   func(context.Context) T
	limit time.Duration // of one run
	// every is the least time between two starts; after a slow run the pause is
	// as long as the run was, so that at least half of the time is left to others
	// who need the same thing.
	every time.Duration

	mu   sync.Mutex
	next *round[T] // the run that new askers wait for; nil: nobody waits
	busy bool      // work runs
}

// round is one run and its result, which is there when done is closed.
type round[T any] struct {
	done  chan struct{}
	value T
}

// ask returns the result of a run that begins now or later; ok is false when
// ctx ended first.
func (f *flight[T]) ask(ctx context.Context) (value T, ok bool) {
	f.mu.Lock()
	r := f.next
	if r == nil {
		r = &round[T]{done: make(chan struct{})}
		f.next = r
	}
	if !f.busy {
		f.busy = true
		go f.work()
	}
	f.mu.Unlock()
	select {
	case <-r.done:
		return r.value, true
	case <-ctx.Done():
		return value, false
	}
}

// work runs until nobody waits any more.
func (f *flight[T]) work() {
	for {
		f.mu.Lock()
		r := f.next
		f.next = nil
		if r == nil {
			f.busy = false
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), f.limit)
		r.value = f.run(ctx)
		cancel()
		close(r.done)
		took := time.Since(begin)
		time.Sleep(max(f.every-took, min(took, f.limit)))
	}
}
