package app

import (
	"context"
	"log/slog"
	"time"
)

// stopper is one thing to stop, with how long that may take.
type stopper struct {
	name  string
	bound time.Duration
	stop  func(context.Context) error
}

// lifecycle is the stack of what was started.
type lifecycle struct {
	log   *slog.Logger
	stack []stopper
}

// onStop registers how to stop what was just started.
func (l *lifecycle) onStop(name string, bound time.Duration, stop func(context.Context) error) {
	l.stack = append(l.stack, stopper{name, bound, stop})
}

// stop stops everything, last started first.
func (l *lifecycle) stop() {
	for i := len(l.stack) - 1; i >= 0; i-- {
		s := l.stack[i]
		ctx, cancel := context.WithTimeout(context.Background(), s.bound)
		if err := s.stop(ctx); err != nil {
			l.log.Warn("could not stop cleanly", "part", s.name, "error", err)
		}
		cancel()
	}
	l.stack = nil
}

// background runs f until its context ends; stopping it waits for its return.
func (l *lifecycle) background(name string, bound time.Duration, f func(context.Context) error) <-chan error {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- f(ctx)
	}()
	l.onStop(name, bound, func(limit context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-limit.Done():
			return limit.Err()
		}
	})
	return ended
}
