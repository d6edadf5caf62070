package ha_test

import (
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/ha"
)

// TestNewStoreIsNotSureBeforeItsLeaderAnswered: an agent that is started again must
// wait as the one before did, so the note of the new store is not taken back while a
// member that has diverged waits for the leader's word.
func TestNewStoreIsNotSureBeforeItsLeaderAnswered(t *testing.T) {
	w := worlds["following"]()
	do := func(lines string) ha.Decision {
		t.Helper()
		for line := range strings.Lines(lines) {
			if err := w.edit(strings.TrimSpace(line)); err != nil {
				t.Fatal(line, err)
			}
		}
		return w.decide()
	}
	do(`server process=stopped role=primary tl=1 lsn=0/3500000 clean=no identity=_ history=_ receiver=no streaming=no upstream=none slots=none
		set rewind=yes
		store new`)
	for _, c := range []struct {
		lines string
		sure  bool
	}{
		{"tick 31s", false},
		{"tick 2s\npeer b error=refused", false},
		{"tick 2s", false},
		{"tick 1s\npeer b recovery=no", true},
	} {
		if d := do(c.lines); d.Memory.StoreSure != c.sure {
			t.Errorf("after %q it is sure of the store: %t (%s)", c.lines, d.Memory.StoreSure, d.Why)
		}
	}
}
