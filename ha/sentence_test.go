package ha

import (
	"testing"
	"time"
)

// What a member says is read by people: a list of names is part of the sentence.
func TestSentenceNamesMembersAsPeopleDo(t *testing.T) {
	for want, list := range map[string][]string{
		"waiting 1.2s for ":                 nil,
		"waiting 1.2s for n1":               {"n1"},
		"waiting 1.2s for n1 and n2":        {"n1", "n2"},
		"waiting 1.2s for n1, n2 and n3":    {"n1", "n2", "n3"},
		"waiting 1.2s for a, b, c and d e.": {"a", "b", "c", "d e."},
	} {
		if got := sentence("waiting %s for %v", 1234*time.Millisecond, list); got != want {
			t.Errorf("%v: %q, want %q", list, got, want)
		}
	}
}
