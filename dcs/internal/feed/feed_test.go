package feed

import (
	"errors"
	"testing"

	"github.com/matriarch-ha/matriarch/dcs"
)

func TestNewestWins(t *testing.T) {
	f, c := New()
	f.Send(dcs.Snapshot{Revision: 1})
	f.Send(dcs.Snapshot{Revision: 2})
	if u := <-c; u.Snapshot.Revision != 2 {
		t.Errorf("got revision %d, want the newest", u.Snapshot.Revision)
	}
	f.Close()
	if _, open := <-c; open {
		t.Error("the channel is still open")
	}
}

func TestInterruptedOnce(t *testing.T) {
	f, c := New()
	gone := errors.New("gone")
	f.Interrupt(gone)
	if u := <-c; u.Err != gone {
		t.Errorf("got %v", u.Err)
	}
	f.Interrupt(gone)
	if len(c) != 0 {
		t.Error("one interruption was reported twice")
	}
	f.Send(dcs.Snapshot{})
	<-c
	f.Interrupt(gone)
	if len(c) != 1 {
		t.Error("the second interruption was not reported")
	}
}
