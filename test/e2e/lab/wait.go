package lab

import (
	"testing"
	"time"
)

// Until asks again and again until fact says nothing (it holds) and fails the
// test with what it last said when it does not come in time.
func Until(t testing.TB, limit time.Duration, what string, fact func() (problem string)) {
	t.Helper()
	until(t, limit, 50*time.Millisecond, what, fact)
}

func until(t testing.TB, limit, every time.Duration, what string, fact func() (problem string)) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		problem := fact()
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for: %s; now: %s", limit, what, problem)
		}
		time.Sleep(every)
	}
}

// UntilQuickly is Until for facts that last only for milliseconds.
func UntilQuickly(t testing.TB, limit time.Duration, what string, fact func() (problem string)) {
	t.Helper()
	until(t, limit, time.Millisecond, what, fact)
}
