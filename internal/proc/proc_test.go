package proc

import (
	"strings"
	"testing"
)

func FuzzStartTime(f *testing.F) {
	f.Add("1 (init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 42 1 1")
	f.Add("7 (a) b) Z 0")
	f.Add("")
	f.Add(")")
	f.Fuzz(func(t *testing.T, stat string) {
		if _, err := startTime(stat); err == nil && !strings.Contains(stat, ")") {
			t.Errorf("%q was read", stat)
		}
	})
}

func TestStartTimeSkipsTheName(t *testing.T) {
	got, err := startTime("7 (a) S 1 (b) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 42 1 1")
	if err != nil || got != 42 {
		t.Errorf("%d %v", got, err)
	}
}
