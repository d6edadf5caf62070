package zookeeper

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/internal/feed"
)

const retryFirst, retryMost = 50 * time.Millisecond, time.Second

type watchKind int

const (
	dataWatch watchKind = iota
	childWatch
	existWatch
)

type watchKey struct {
	kind watchKind
	path string
}

// watcher knows which watches are set for one reader, because each may be set
// once only (the library keeps every one until it fires), and is woken when one
// fires. The nil watcher sets none.
type watcher struct {
	wake chan struct{}

	mu  sync.Mutex
	set map[watchKey]bool
}

func newWatcher() *watcher {
	return &watcher{wake: make(chan struct{}, 1), set: map[watchKey]bool{}}
}

// arm reports whether the caller is to set the watch. It counts as set from
// here on, before it is: its event may be quicker than the answer.
func (w *watcher) arm(kind watchKind, path string) bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	k := watchKey{kind, path}
	if w.set[k] {
		return false
	}
	w.set[k] = true
	return true
}

// armed takes the watch back when setting it failed.
func (w *watcher) armed(kind watchKind, path string, err error) {
	if err == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.set, watchKey{kind, path})
}

// fired notes which watches an event used up.
func (w *watcher) fired(ev zk.Event) {
	w.mu.Lock()
	switch ev.Type {
	case zk.EventNodeCreated:
		delete(w.set, watchKey{existWatch, ev.Path})
	case zk.EventNodeDataChanged:
		delete(w.set, watchKey{existWatch, ev.Path})
		delete(w.set, watchKey{dataWatch, ev.Path})
	case zk.EventNodeChildrenChanged:
		delete(w.set, watchKey{childWatch, ev.Path})
	case zk.EventNodeDeleted:
		delete(w.set, watchKey{existWatch, ev.Path})
		delete(w.set, watchKey{dataWatch, ev.Path})
		delete(w.set, watchKey{childWatch, ev.Path})
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // it is to wake up already
	}
}

// event is called by the library and must not wait.
func (l *link) event(ev zk.Event) {
	if ev.Type == zk.EventSession {
		return // the connection's end is seen on the wire
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.watchers {
		w.fired(ev)
	}
}

func (l *link) subscribe(w *watcher) (cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchers[w] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.watchers, w)
	}
}

// Watch implements dcs.Store.
func (s *Store) Watch(ctx context.Context) <-chan dcs.Update {
	f, out := feed.New()
	go func() {
		defer f.Close()
		s.watch(ctx, f)
	}()
	return out
}

// watch follows the nodes over one connection after the other. Where the next
// connection stands at once, nothing was interrupted.
func (s *Store) watch(ctx context.Context, f *feed.Feed) {
	delay, failures := retryFirst, 0
	for ctx.Err() == nil {
		sent, err := s.follow(ctx, f)
		if sent {
			delay, failures = retryFirst, 0
		}
		if failures++; failures > 1 && ctx.Err() == nil {
			f.Interrupt(fmt.Errorf("watch: %w", classify(err, false)))
		}
		pause(ctx, delay)
		delay = min(2*delay, retryMost)
	}
}

// follow sends a snapshot now and after every change until the connection
// fails, and reports whether it sent any.
func (s *Store) follow(ctx context.Context, f *feed.Feed) (sent bool, err error) {
	l, err := s.client.get(ctx)
	if err != nil {
		return false, err
	}
	w := newWatcher()
	defer l.subscribe(w)()
	if err := s.bounded(ctx, func(ctx context.Context) error { return l.prove(ctx, s.client.cfg.Prefix) }); err != nil {
		s.client.drop(ctx, l)
		return false, err
	}
	var last dcs.Snapshot
	for {
		var snap dcs.Snapshot
		err := s.bounded(ctx, func(ctx context.Context) (err error) {
			snap, err = collect(ctx, l, s.client.cfg.Prefix, w)
			return err
		})
		if err != nil {
			s.client.drop(ctx, l)
			return sent, err
		}
		if !sent || snap.Revision != last.Revision || snap.StoreID != last.StoreID {
			f.Send(snap)
			sent, last = true, snap
		}
		select {
		case <-w.wake:
		case <-l.wire.ended:
			return sent, zk.ErrConnectionClosed
		case <-ctx.Done():
			return sent, ctx.Err()
		}
	}
}

func (s *Store) bounded(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return call(ctx)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
