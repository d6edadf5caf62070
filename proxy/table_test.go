package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/route"
)

// bubbleClock reads the fake time of a synctest bubble as boot time.
type bubbleClock struct{ began time.Time }

func (c bubbleClock) Now() boot.Instant { return boot.Instant(time.Hour + time.Since(c.began)) }
func (c bubbleClock) Wall() time.Time   { return time.Now() }

// scriptAsker answers after a delay as answer says; fields are set between
// synctest.Wait calls only.
type scriptAsker struct {
	clock  bubbleClock
	delay  time.Duration
	answer func(member string) (route.Word, bool)
	mu     sync.Mutex // one question at a time looks at the script
	asked  []boot.Instant
}

// script changes the answers.
func (a *scriptAsker) script(answer func(member string) (route.Word, bool)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = answer
}

func (a *scriptAsker) lease(ctx context.Context, m cluster.Member) (route.Word, error) {
	asked := a.clock.Now()
	a.mu.Lock()
	a.asked = append(a.asked, asked)
	a.mu.Unlock()
	select {
	case <-time.After(a.delay):
	case <-ctx.Done():
		return route.Word{}, ctx.Err()
	}
	a.mu.Lock()
	w, ok := a.answer(m.Name)
	a.mu.Unlock()
	if !ok {
		return w, errors.New("no answer")
	}
	w.Member, w.Name, w.Asked = m.Name, m.Name, asked
	return w, nil
}

func (a *scriptAsker) status(ctx context.Context, m cluster.Member) (route.Word, error) {
	return a.lease(ctx, m)
}

// toPrimary is the service of a read-write port.
var toPrimary = newService(portReadWrite, route.Policy{Access: route.ReadWrite})

// taken is what a client of that port gets.
func taken(tb *table) (*gate, string) {
	got := tb.take(toPrimary, nil)
	return got.gate, got.why
}

func primary(left time.Duration) route.Word {
	return route.Word{Role: cluster.RolePrimary, State: cluster.StateRunning, Leased: true, Remaining: left}
}

// inBubble runs a table on fake time.
func inBubble(t *testing.T, f func(t *testing.T, tb *table, a *scriptAsker, views chan<- Sight)) {
	synctest.Test(t, func(t *testing.T) {
		a := &scriptAsker{clock: bubbleClock{time.Now()}}
		tb := newTable(Options{Clock: a.clock}.withDefaults(), nil, a, quietOutages(t))
		ctx, cancel := context.WithCancel(t.Context())
		views, done := make(chan Sight), make(chan struct{})
		go func() { tb.run(ctx, views); close(done) }()
		f(t, tb, a, views)
		cancel()
		<-done
	})
}

func viewOf(leader string) cluster.View {
	v := cluster.View{Leader: cluster.Leader{Name: leader}}
	for _, n := range []string{"a", "b"} {
		v.Members = append(v.Members, cluster.Member{Name: n, ConnURL: "postgres://" + n + ":5432/x", APIURL: "http://" + n + ":8008/patroni"})
	}
	return v
}

func TestLeaseCountsFromBeforeAsking(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table, a *scriptAsker, views chan<- Sight) {
		began := time.Now()
		a.delay = 1900 * time.Millisecond
		answers := 0
		a.answer = func(string) (route.Word, bool) { answers++; return primary(10 * time.Second), answers == 1 }
		views <- Sight{View: viewOf("a")}
		time.Sleep(a.delay)
		synctest.Wait()
		g, why := taken(tb)
		if g == nil {
			t.Fatal(why)
		}
		<-g.ctx.Done()
		if got, want := time.Since(began), 9950*time.Millisecond; got != want {
			t.Fatalf("shut after %s, want %s: 10 s less half a percent, from before the question", got, want)
		}
		if g.open() {
			t.Fatal("open after it was shut")
		}
	})
}

func TestAsksOftenEnough(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table, a *scriptAsker, views chan<- Sight) {
		a.answer = func(string) (route.Word, bool) { return primary(2 * time.Second), true }
		views <- Sight{View: viewOf("a")}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		for i := 1; i < len(a.asked); i++ {
			if d := a.asked[i].Sub(a.asked[i-1]); d > 500*time.Millisecond {
				t.Fatalf("%s between two questions about a lease of 2 s", d)
			}
		}
		if len(a.asked) > 50 {
			t.Fatalf("%d questions in 20 s", len(a.asked))
		}
	})
}

func TestAnotherHolderShutsTheGateAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table, a *scriptAsker, views chan<- Sight) {
		a.answer = func(name string) (route.Word, bool) { return primary(time.Hour), name == "a" }
		views <- Sight{View: viewOf("a")}
		synctest.Wait()
		g, why := taken(tb)
		if g == nil {
			t.Fatal(why)
		}
		views <- Sight{View: viewOf("b")}
		synctest.Wait()
		if g.open() || g.ctx.Err() == nil {
			t.Fatal("the former leader's gate is still open")
		}
		if g, _ := taken(tb); g != nil {
			t.Fatal("served without the new leader's word")
		}
		// Back again: only a word from after the change counts.
		a.answer = func(string) (route.Word, bool) { return route.Word{}, false }
		views <- Sight{View: viewOf("a")}
		synctest.Wait()
		if g, _ := taken(tb); g != nil {
			t.Fatal("served on a word of an earlier term")
		}
	})
}

// The store is silent for hours: the leader's own word is enough.
func TestGoesOnWithoutViews(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table, a *scriptAsker, views chan<- Sight) {
		a.answer = func(string) (route.Word, bool) { return primary(20 * time.Second), true }
		views <- Sight{View: viewOf("a")}
		synctest.Wait()
		g, why := taken(tb)
		if g == nil {
			t.Fatal(why)
		}
		close(views)
		time.Sleep(3 * time.Hour)
		if !g.open() {
			t.Fatal("shut although the leader renews")
		}
	})
}

func TestOldTermsAnswerIsAbandoned(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table, a *scriptAsker, views chan<- Sight) {
		a.delay = time.Second
		a.answer = func(string) (route.Word, bool) { return primary(time.Hour), true }
		views <- Sight{View: viewOf("a")}
		time.Sleep(500 * time.Millisecond) // the first question is under way
		views <- Sight{View: viewOf("")}
		views <- Sight{View: viewOf("a")}
		time.Sleep(600 * time.Millisecond) // when its answer would have come
		synctest.Wait()
		if g, _ := taken(tb); g != nil {
			t.Fatal("an answer to a question from before the change counts")
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if g, why := taken(tb); g == nil {
			t.Fatal(why)
		}
	})
}

// The answer is there when the question is abandoned, and nobody has taken it yet.
func TestOldTermsAnswerIsDropped(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table, a *scriptAsker, views chan<- Sight) {
		answers := 0
		a.answer = func(string) (route.Word, bool) {
			if answers++; answers == 1 {
				views <- Sight{View: viewOf("")}
				views <- Sight{View: viewOf("a")}
				views <- Sight{View: viewOf("a")} // taken once the ones before have had their effect
				return primary(time.Hour), true
			}
			return route.Word{}, false
		}
		views <- Sight{View: viewOf("a")}
		synctest.Wait()
		if g, _ := taken(tb); g != nil {
			t.Fatal("an answer to a question from before the change counts")
		}
	})
}

// A leader that only says that it holds the lock is trusted for a third of the
// ttl by which it took it.
func TestChangedTTLDoesNotStretchAWord(t *testing.T) {
	for _, c := range []struct{ before, after, want time.Duration }{
		{30 * time.Second, 30 * time.Second, 10 * time.Second},
		{30 * time.Second, time.Hour, 10 * time.Second},
		{30 * time.Second, 15 * time.Second, 5 * time.Second},
	} {
		inBubble(t, func(t *testing.T, tb *table, a *scriptAsker, views chan<- Sight) {
			view := func(ttl time.Duration) cluster.View {
				v := viewOf("a")
				v.Config.JSON = fmt.Sprintf(`{"ttl":%.0f}`, ttl.Seconds())
				return v
			}
			began, answers := time.Now(), 0
			a.answer = func(string) (route.Word, bool) {
				answers++
				return route.Word{Role: cluster.RolePrimary, State: cluster.StateRunning, Locked: true}, answers == 1
			}
			views <- Sight{View: view(c.before)}
			synctest.Wait()
			g, why := taken(tb)
			if g == nil {
				t.Fatal(why)
			}
			views <- Sight{View: view(c.after)}
			<-g.ctx.Done()
			if got := time.Since(began); got != c.want {
				t.Errorf("ttl from %s to %s: shut after %s, want %s", c.before, c.after, got, c.want)
			}
		})
	}
}
