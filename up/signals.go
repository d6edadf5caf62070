package up

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// oneSignal: what arrives sooner after the first signal is the same wish.
// Programs around this one pass the terminal's signal on, so that it comes twice.
const oneSignal = time.Second

// signals ends the context at the first signal to stop, and closes hard at the
// second. A closed terminal counts as the first.
func signals(parent context.Context, hard chan<- struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	// A reader of our output that went away is no reason to end. Ignoring the
	// signal would be inherited by what we start; catching it is not.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	done := make(chan struct{})
	go func() {
		defer signal.Stop(ch)
		defer signal.Stop(pipe)
		var first time.Time
		for said := false; ; {
			select {
			case <-ch:
				switch {
				case first.IsZero():
					first = time.Now()
					cancel()
				case !said && time.Since(first) > oneSignal:
					said = true
					close(hard)
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, func() { close(done); cancel() }
}
