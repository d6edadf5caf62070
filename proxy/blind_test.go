package proxy

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/route"
)

// The members keep a leader that the store has lost, with its key and all: the
// sessions stay, new ones come, and another member is not asked for its lease
// more often than it must be.
func TestLeaderThatTheStoreHasLost(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table, a *scriptAsker, views chan<- Sight) {
		a.answer = func(name string) (route.Word, bool) { return primary(20 * time.Second), name == "a" }
		views <- Sight{View: viewOf("a")}
		synctest.Wait()
		g, why := taken(tb)
		if g == nil {
			t.Fatal(why)
		}
		gone := viewOf("")
		gone.Members = gone.Members[1:]
		views <- Sight{View: gone}
		for range 60 {
			time.Sleep(time.Second)
			synctest.Wait()
			if again, why := taken(tb); again != g || !g.open() {
				t.Fatalf("a new session is not served as the others are: %s", why)
			}
		}
		// It is asked about although nothing in the store tells of it.
		a.script(func(string) (route.Word, bool) { return route.Word{}, false })
		<-g.ctx.Done()
		a.script(func(name string) (route.Word, bool) { return primary(20 * time.Second), name == "a" })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if again, why := taken(tb); again == nil || again.backend.Member != "a" {
			t.Fatalf("not found again: %s", why)
		}
		// Another holds the key: that decides.
		views <- Sight{View: viewOf("b")}
		synctest.Wait()
		if again, _ := taken(tb); again != nil {
			t.Fatal("served against the holder of the key")
		}
	})
}

// The leader's REST interface alone is cut off from the entrypoint, for however
// long its server answers: at the deadline all is over, store or not.
func TestLeaderThatDoesNotAnswerIsLeftAtTheDeadline(t *testing.T) {
	for _, lost := range []bool{false, true} {
		inBubble(t, func(t *testing.T, tb *table, a *scriptAsker, views chan<- Sight) {
			began, answers := time.Now(), 0
			a.answer = func(name string) (route.Word, bool) {
				if name == "a" {
					answers++
				}
				return primary(20 * time.Second), name == "a" && answers == 1
			}
			views <- Sight{View: viewOf("a")}
			synctest.Wait()
			g, why := taken(tb)
			if g == nil {
				t.Fatal(why)
			}
			if lost {
				views <- Sight{Lost: errors.New("no answer")}
			}
			<-g.ctx.Done()
			if got, want := time.Since(began), 19900*time.Millisecond; got != want || g.open() {
				t.Fatalf("shut after %s, want %s", got, want)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if g, _ := taken(tb); g != nil {
				t.Fatal("served on an old word")
			}
		})
	}
}

// suspended is boot time that went on while the host slept; Go's timers did not.
type suspended struct {
	bubbleClock
	slept *atomic.Int64
}

func (c suspended) Now() boot.Instant { return c.bubbleClock.Now().Add(time.Duration(c.slept.Load())) }

// A host that slept past the deadline forwards nothing when it wakes, and ends the
// sessions within a second, although no timer knows of the sleep.
func TestSuspendedHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := suspended{bubbleClock{time.Now()}, new(atomic.Int64)}
		a := &scriptAsker{clock: clock.bubbleClock}
		tb := newTable(Options{Clock: clock}.withDefaults(), nil, a, quietOutages(t))
		ctx, cancel := context.WithCancel(t.Context())
		views, done := make(chan Sight), make(chan struct{})
		go func() { tb.run(ctx, views); close(done) }()
		a.answer = func(name string) (route.Word, bool) { return primary(20 * time.Second), name == "a" }
		views <- Sight{View: viewOf("a")}
		synctest.Wait()
		g, why := taken(tb)
		if g == nil {
			t.Fatal(why)
		}
		a.script(func(string) (route.Word, bool) { return route.Word{}, false })
		clock.slept.Store(int64(time.Minute))
		if g.open() {
			t.Fatal("open although its deadline passed during the sleep")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if g.ctx.Err() == nil {
			t.Fatal("the sessions still stand a second after the host woke")
		}
		cancel()
		<-done
	})
}

// While the store names nobody and nobody is served, all members are asked, as
// often as any other member is.
func TestAsksEverybodyWhileNobodyLeads(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table, a *scriptAsker, views chan<- Sight) {
		asked := map[string]int{}
		a.answer = func(name string) (route.Word, bool) {
			asked[name]++
			return route.Word{Role: cluster.RoleReplica, State: cluster.StateRunning, Leased: true}, true
		}
		views <- Sight{View: viewOf("")}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, name := range []string{"a", "b"} {
			if n := asked[name]; n < 9 || n > 25 {
				t.Errorf("%s was asked %d times in 10 s", name, n)
			}
		}
	})
}
