package proxy

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/route"
)

// askTimeout is how long one answer is waited for.
const askTimeout = 2 * time.Second

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
		// have lost more than the member did. So is everybody while it names none.
		if (ok || t.leads(name) || !t.view.Leader.Held()) && (!ok || m.APIURL == w.member.APIURL) {
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
func (t *table) leads(name string) bool { return route.Leads(t.view, t.open().Backend.Member, name) }

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
	if !leads && !t.askReplicas && !t.seeking() {
		t.mu.Unlock()
		return
	}
	question, cancel := context.WithTimeout(ctx, t.pace().Patience(t.clock.Now(), t.open(), w.member.Name))
	defer cancel()
	w.abandon = cancel
	ttl := route.TTL(t.view)
	t.mu.Unlock()

	// A status tells of a lease, too: whoever is sought may be a replica that serves
	// reads meanwhile.
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

func (t *table) pace() route.Pace { return route.Pace{Interval: t.interval, Timeout: askTimeout} }

func (t *table) nextAsk(name string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pace().Next(t.clock.Now(), t.view, t.open(), name, t.words[name], t.failures[name] == "")
}
