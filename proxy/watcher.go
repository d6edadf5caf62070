package proxy

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/route"
)

// How often a leader is asked that is not served yet: each of these is part of
// the outage that clients see. A member that does not answer our own path runs
// another program or none, and is spared.
const (
	askUnserved      = 50 * time.Millisecond
	askUnservedOther = 250 * time.Millisecond
	askTimeout       = 2 * time.Second
	askAtLeast       = 10 * time.Millisecond
)

// watcher asks one member again and again.
type watcher struct {
	member cluster.Member
	stop   context.CancelFunc
	poke   chan struct{}
	// abandon ends the question under way, nil when there is none; guarded by
	// the table's lock.
	abandon context.CancelFunc
}

// reconcile has one watcher per member that must be asked. The caller holds the
// lock.
func (t *table) reconcile(ctx context.Context, wg *sync.WaitGroup) {
	for name, w := range t.watchers {
		m, ok := t.view.Member(name)
		// A leader whose key ran out of the store is still asked: the store may
		// have lost more than the member did.
		if (ok || t.leads(name)) && (!ok || m.APIURL == w.member.APIURL) {
			continue
		}
		w.stop()
		delete(t.watchers, name)
		if !ok {
			delete(t.words, name)
			delete(t.failures, name)
		}
	}
	for _, m := range t.view.Members {
		if t.watchers[m.Name] != nil || m.APIURL == "" {
			continue
		}
		w := &watcher{member: m, poke: make(chan struct{}, 1)}
		var own context.Context
		own, w.stop = context.WithCancel(ctx)
		t.watchers[m.Name] = w
		wg.Go(func() { t.watch(own, w) })
	}
}

// leads reports whether a member's lease matters: it holds the key, or it still
// has sessions.
func (t *table) leads(name string) bool {
	return t.view.Leader.Name == name || t.leader != nil && t.leader.backend.Member == name
}

// pokeMember makes a watcher ask now, instead of waiting, or for an answer to
// what it asked before.
func (t *table) pokeMember(name string) {
	w := t.watchers[name]
	if w == nil {
		return
	}
	if w.abandon != nil {
		w.abandon()
	}
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

func (t *table) watch(ctx context.Context, w *watcher) {
	defer w.stop()
	for {
		t.askOnce(ctx, w)
		timer := time.NewTimer(t.nextAsk(w.member.Name))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-w.poke:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// askOnce puts the one question that matters about the member now.
func (t *table) askOnce(ctx context.Context, w *watcher) {
	t.mu.Lock()
	leads := t.leads(w.member.Name)
	if !leads && !t.askReplicas {
		t.mu.Unlock()
		return
	}
	question, cancel := context.WithTimeout(ctx, t.patience(w.member.Name))
	defer cancel()
	w.abandon = cancel
	ttl := route.TTL(t.view)
	t.mu.Unlock()

	ask := t.asker.status
	if leads {
		ask = t.asker.lease
	}
	word, err := ask(question, w.member)
	word.TTL = ttl

	t.mu.Lock()
	defer t.mu.Unlock()
	w.abandon = nil
	// An answer that came just before its question was abandoned is as old as
	// one that was not waited for.
	if ctx.Err() == nil && !errors.Is(question.Err(), context.Canceled) {
		t.setWord(w.member.Name, word, err)
	}
}

// patience bounds a question by half of what the lease still gives, so that a
// lost packet leaves room for another one.
func (t *table) patience(name string) time.Duration {
	if g := t.leader; g != nil && g.backend.Member == name {
		return min(askTimeout, max(askAtLeast, t.remaining(g)/2))
	}
	return askTimeout
}

func (t *table) nextAsk(name string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch g := t.leader; {
	case g != nil && g.backend.Member == name:
		return max(askAtLeast, min(t.interval, t.remaining(g)/4))
	case t.view.Leader.Name != name:
		return t.interval
	case t.words[name].Leased && t.failures[name] == "":
		return min(t.interval, askUnserved)
	default:
		return min(t.interval, askUnservedOther)
	}
}

func (t *table) remaining(g *gate) time.Duration {
	return boot.Instant(g.deadline.Load()).Sub(t.clock.Now())
}
