package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/internal/messages"
	"github.com/matriarch-ha/matriarch/postgres"
)

// logged keeps what an agent logs, as text.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// A start that fails is told once however often it is tried, and again when it
// fails for another reason.
func TestMessagesOfFailuresAreNotRepeated(t *testing.T) {
	log := &logged{}
	inBubble(t, func(o *Options) { o.Logger = log.logger() }, func(t *testing.T, r *rig) {
		var mu sync.Mutex
		why := errors.New("PostgreSQL did not start: FATAL:  this cause")
		r.pg.hook("bootstrap", func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			return why
		})
		r.start()
		time.Sleep(2 * time.Minute)
		if n := r.pg.called("bootstrap"); n < 3 {
			t.Fatalf("it was tried %d times only", n)
		}
		if n := strings.Count(log.String(), "this cause"); n != 1 {
			t.Errorf("the cause was told %d times:\n%s", n, log)
		}
		if n := strings.Count(log.String(), "making the database of a new cluster"); n != 1 {
			t.Errorf("the attempt was told %d times:\n%s", n, log)
		}
		mu.Lock()
		why = errors.New("PostgreSQL did not start: FATAL:  that cause")
		mu.Unlock()
		time.Sleep(time.Minute)
		if n := strings.Count(log.String(), "that cause"); n != 1 {
			t.Errorf("another cause was told %d times:\n%s", n, log)
		}
		time.Sleep(remindAfter)
		if n := strings.Count(log.String(), "that cause"); n != 2 {
			t.Errorf("after a long while the cause had been told %d times:\n%s", n, log)
		}
	})
}

// What is wrong beside the decisions is told once.
func TestMessagesBesideTheDecisions(t *testing.T) {
	log := &logged{}
	inBubble(t, func(o *Options) { o.Logger = log.logger() }, func(t *testing.T, r *rig) {
		f := standby()
		f.Upstream = postgres.Endpoint{Host: "10.0.0.1", Port: "5432"}
		f.ReceiverError = "FATAL:  requested WAL segment 0A has already been removed; copy this member anew (reinit)"
		f.Archive = postgres.ArchiveFailure{Failures: 3, File: "00000001000000000000000A", Since: time.Now().Add(-time.Minute)}
		for range 3 {
			f.Archive.Failures++
			r.agent.watch(f)
		}
		messages.Check(t, "not-streaming", log.String())
		messages.Check(t, "archive-command", log.String())
	})
}

// In synchronous mode what weakens it is told once for each state, with what takes
// it back, and when it is over; without that mode nothing is said.
func TestMessagesWeakCommits(t *testing.T) {
	log := &logged{}
	inBubble(t, func(o *Options) { o.Logger = log.logger() }, func(t *testing.T, r *rig) {
		f := primary()
		f.ServerVersion, f.SyncCommit = 160000, "on"
		f.WeakCommits = []postgres.WeakCommit{{Role: "app", Value: "off"}}
		look := func(f postgres.Facts) {
			for range 3 {
				r.agent.watch(f)
			}
		}
		look(f)
		if log.String() != "" {
			t.Fatalf("in asynchronous mode: %s", log)
		}
		r.agent.config.settings.SyncMode = cluster.SyncOn
		look(f)
		messages.Check(t, "weak-commits", log.String())
		unasked := f
		unasked.ServerVersion, unasked.WeakCommits = 0, nil
		look(unasked)
		f.SyncCommit = "local"
		f.WeakCommits = append(f.WeakCommits, postgres.WeakCommit{Database: "stats", Value: "local"}, postgres.WeakCommit{Role: "a", Database: "b", Value: "0"}, postgres.WeakCommit{Value: "no"})
		look(f)
		said := strings.ReplaceAll(log.String(), `\"`, `"`)
		for _, want := range []string{`ALTER ROLE "app" RESET synchronous_commit`, `ALTER DATABASE "stats" RESET`, `ALTER ROLE "a" IN DATABASE "b" RESET`,
			"ALTER ROLE ALL RESET", "ALTER SYSTEM RESET"} {
			if !strings.Contains(said, want) {
				t.Errorf("%s is not in:\n%s", want, said)
			}
		}
		f.SyncCommit, f.WeakCommits = "on", nil
		look(f)
		if got := log.String(); strings.Count(got, "level=WARN") != 2 || strings.Count(got, "any more") != 1 {
			t.Errorf("told otherwise than once per change:\n%s", got)
		}
	})
}

// stepped is a wall clock that can be set.
type stepped struct {
	bubbleClock
	by time.Duration
}

func (s *stepped) Wall() time.Time { return time.Now().Add(s.by) }

func TestMessagesClock(t *testing.T) {
	log := &logged{}
	clk := &stepped{}
	a := New(Options{Logger: log.logger(), Clock: clk, Store: nil})
	for range 3 {
		a.watch(standby())
	}
	if log.String() != "" {
		t.Errorf("a clock that runs as it should: %s", log)
	}
	clk.by = time.Hour
	for range 3 {
		a.watch(standby())
	}
	messages.Check(t, "clock-stepped", log.String())

	// A peer whose clock is an hour behind.
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"name": "n2", "in_recovery": true, "fresh": true}`))
	}))
	defer peer.Close()
	p := newPeers(Options{Logger: log.logger(), Clock: clk, Peers: peer.Client()}, func() {})
	for range 2 {
		if _, err := p.question(t.Context(), cluster.Member{Name: "n2", Matriarch: "1", APIURL: peer.URL + "/patroni"}); err != nil {
			t.Fatal(err)
		}
	}
	messages.Check(t, "clocks-differ", log.String())
}

// A dynamic configuration that cannot be used changes nothing.
func TestMessagesDynamicConfiguration(t *testing.T) {
	log := &logged{}
	bad := errors.New(`ttl = "abc": must be a whole number of seconds`)
	inBubble(t, func(o *Options) {
		o.Logger = log.logger()
		good := o.Configure
		o.Configure = func(json, role string) (Configured, error) {
			if strings.Contains(json, "abc") {
				return Configured{}, bad
			}
			return good(json, role)
		}
	}, func(t *testing.T, r *rig) {
		r.put("initialize", "4711")
		r.pg.set(standby())
		r.start()
		r.put("config", `{"ttl": "abc"}`)
		time.Sleep(time.Minute)
		messages.Check(t, "dynamic-configuration", log.String())
	})
}

// Of two agents that started together under one name, the one that sees the
// other's key says so.
func TestMessagesNamesake(t *testing.T) {
	log := &logged{}
	inBubble(t, func(o *Options) { o.Logger = log.logger() }, func(t *testing.T, r *rig) {
		r.startKeeper()
		r.pg.set(standby())
		r.publish()
		r.publish()
		if _, err := r.store.Put(t.Context(), layout.KeyMember("a"), layout.EncodeMember(cluster.Member{Name: "a", APIURL: "http://elsewhere:8008/patroni"}), dcs.Always()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			r.publish()
		}
		messages.Check(t, "namesake", log.String())
	})
}

// A guard that cannot be started is told once.
func TestMessagesGuard(t *testing.T) {
	log := &logged{}
	inBubble(t, func(o *Options) {
		o.Logger = log.logger()
		o.StartGuard = func(context.Context) (Guard, error) { return nil, errors.New("guard: exec format error") }
	}, func(t *testing.T, r *rig) {
		r.start()
		time.Sleep(time.Minute)
		messages.Check(t, "no-guard", log.String())
	})
}
