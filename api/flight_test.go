package api

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestFlightStartsAfterTheQuestion: many askers share a run, but none gets the
// result of one that had begun before it asked.
func TestFlightStartsAfterTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Hour) // the last pause ends inside the bubble
		runs := 0
		f := &flight[int]{limit: time.Minute, every: 20 * time.Millisecond, run: func(context.Context) int {
			runs++
			n := runs
			time.Sleep(time.Second)
			return n
		}}
		var wg sync.WaitGroup
		ask := func(want int) {
			wg.Go(func() {
				if got, ok := f.ask(t.Context()); !ok || got != want {
					t.Errorf("run %d (%t), want %d", got, ok, want)
				}
			})
		}
		ask(1)
		synctest.Wait()
		for range 500 {
			ask(2) // run 1 is under way
		}
		wg.Wait()
		if runs != 2 {
			t.Errorf("%d runs for 501 questions", runs)
		}
	})
}

// TestFlightHangs: a run that ignores its deadline holds nobody up, and is not
// joined by a second one.
func TestFlightHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Hour) // the last pause ends inside the bubble
		hang := make(chan struct{})
		var runs atomic.Int32
		f := &flight[int32]{limit: time.Second, run: func(context.Context) int32 {
			n := runs.Add(1)
			<-hang
			return n
		}}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			begin := time.Now()
			if _, ok := f.ask(ctx); ok || time.Since(begin) != time.Second {
				t.Errorf("answered %t after %v", ok, time.Since(begin))
			}
			cancel()
		}
		if n := runs.Load(); n != 1 {
			t.Errorf("%d runs at once", n)
		}
		close(hang)
		if got, ok := f.ask(t.Context()); !ok || got != 2 {
			t.Errorf("after the hang: %d, %t", got, ok)
		}
	})
}

// TestFlightLeavesRoom: under a constant flood slow runs take at most half of
// the time.
func TestFlightLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Hour) // the last pause ends inside the bubble
		var busy time.Duration
		f := &flight[int]{limit: time.Minute, every: 20 * time.Millisecond, run: func(context.Context) int {
			time.Sleep(2 * time.Second)
			busy += 2 * time.Second
			return 0
		}}
		begin := time.Now()
		for range 20 {
			f.ask(t.Context())
		}
		if all := time.Since(begin); busy > all*6/10 {
			t.Errorf("runs took %v of %v", busy, all)
		}
	})
}
