package cli

import (
	"context"
	"sync"
)

// first asks all members at once and returns the first usable answer and who
// gave it; a member that hangs holds nobody up. ok is false when there was no
// answer; the errors are in the order of the members.
func first[T any](ctx context.Context, bases []string, ask func(ctx context.Context, base string) (T, error)) (answer T, base string, ok bool, errs []error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type reply struct {
		at     int
		answer T
		err    error
	}
	replies := make(chan reply, len(bases))
	for i, b := range bases {
		go func() {
			answer, err := ask(ctx, b)
			replies <- reply{i, answer, err}
		}()
	}
	errs = make([]error, len(bases))
	for range bases { // all of them: nothing goes on when this returns
		switch r := <-replies; {
		case ok:
		case r.err == nil:
			answer, base, ok = r.answer, bases[r.at], true
			cancel()
		default:
			errs[r.at] = r.err
		}
	}
	return answer, base, ok, errs
}

// each does something for all items at once and returns the results in order.
func each[S, T any](items []S, do func(S) T) []T {
	out := make([]T, len(items))
	var wg sync.WaitGroup
	for i, item := range items {
		wg.Go(func() { out[i] = do(item) })
	}
	wg.Wait()
	return out
}
