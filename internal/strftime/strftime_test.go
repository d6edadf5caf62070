package strftime

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestAgainstDate compares every directive with the one of this host's date.
func TestAgainstDate(t *testing.T) {
	times := []time.Time{
		time.Date(2026, 1, 4, 0, 5, 9, 0, time.UTC), // a Sunday of the first week
		time.Date(2027, 1, 1, 12, 59, 59, 0, time.UTC),
		time.Date(1999, 11, 30, 23, 0, 0, 0, time.UTC),
	}
	for c := range layouts {
		compare(t, "%"+string(c), times)
	}
	for _, c := range others {
		compare(t, "%"+string(c), times)
	}
	compare(t, "%Y-%m-%d at 100%% %T", times)
}

func compare(t *testing.T, pattern string, times []time.Time) {
	t.Helper()
	if err := Check(pattern); err != nil {
		t.Errorf("Check(%q): %v", pattern, err)
	}
	for _, at := range times {
		cmd := exec.Command("date", "-u", "-d", at.Format(time.RFC3339), "+"+pattern)
		cmd.Env = []string{"LC_ALL=C"}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := Format(pattern, at), strings.TrimSuffix(string(out), "\n"); got != want {
			t.Errorf("Format(%q) = %q, date writes %q", pattern, got, want)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	for _, pattern := range []string{"%", "%Y-%", "%f", "%Ey"} {
		if Check(pattern) == nil {
			t.Errorf("Check(%q) accepts it", pattern)
		}
	}
}
