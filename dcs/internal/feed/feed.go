// Package feed delivers a store's updates to one reader, the newest only: a
// slow reader misses what was overtaken, never the last word, and never blocks
// the one who watches the store.
//
// It holds no goroutine: the channel has room for one update, and an unread one
// is replaced.
package feed

import "github.com/matriarch-ha/matriarch/dcs"

// Feed is the sending side; one goroutine uses it.
type Feed struct {
	c      chan dcs.Update
	broken bool
}

// New returns a feed and the channel its reader gets.
func New() (*Feed, <-chan dcs.Update) {
	f := &Feed{c: make(chan dcs.Update, 1)}
	return f, f.c
}

// Send replaces whatever the reader has not taken yet.
func (f *Feed) Send(s dcs.Snapshot) {
	f.broken = false
	f.put(dcs.Update{Snapshot: s})
}

// Interrupt reports an interruption, once until the next Send.
func (f *Feed) Interrupt(err error) {
	if !f.broken {
		f.broken = true
		f.put(dcs.Update{Err: err})
	}
}

// Close ends the feed.
func (f *Feed) Close() { close(f.c) }

// put never blocks: nobody else sends, so after the drain there is room.
func (f *Feed) put(u dcs.Update) {
	select {
	case <-f.c:
	default:
	}
	f.c <- u
}
