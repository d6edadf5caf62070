package boot

import (
	"testing"
	"time"
)

func TestInstant(t *testing.T) {
	var never Instant
	at := Instant(time.Hour)
	switch {
	case !never.IsZero() || at.IsZero():
		t.Error("zero means never")
	case at.Add(time.Second).Sub(at) != time.Second || at.Add(-time.Second).Sub(at) != -time.Second:
		t.Error("Add and Sub do not undo each other")
	case !at.Before(at.Add(1)) || at.Before(at) || at.Add(1).Before(at):
		t.Error("Before is not strict")
	}
}
