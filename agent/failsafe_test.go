package agent

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/dcs/memory"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/postgres"
	"github.com/matriarch-ha/matriarch/postgres/postmaster"
)

// others answer POST /failsafe for the other members, by host.
type others struct {
	mu      sync.Mutex
	answers map[string]func(*http.Request) (code int, body, who string, err error)
	pleas   []plea
	auth    []string
}

func accepts(who string) func(*http.Request) (int, string, string, error) {
	return func(*http.Request) (int, string, string, error) { return 200, "Accepted", who, nil }
}

func (o *others) set(host string, f func(*http.Request) (int, string, string, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers[host] = f
}

// seen are the questions so far.
func (o *others) seen() ([]plea, []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.pleas), slices.Clone(o.auth)
}

func (o *others) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	answer := o.answers[r.URL.Hostname()]
	var p plea
	if r.Body != nil && r.URL.Path == "/failsafe" {
		body, _ := io.ReadAll(r.Body)
		if json.Unmarshal(body, &p) == nil {
			o.pleas = append(o.pleas, p)
		}
		user, _, _ := r.BasicAuth()
		o.auth = append(o.auth, user)
	}
	o.mu.Unlock()
	if answer == nil || r.URL.Path != "/failsafe" || r.Method != http.MethodPost {
		return nil, errors.New("connection refused")
	}
	code, body, who, err := answer(r)
	if err != nil {
		return nil, err
	}
	resp := &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
	if who != "" {
		resp.Header.Set(MemberHeader, who)
	}
	return resp, nil
}

// inFailsafe runs a story with failsafe_mode on and members b and c that accept.
func inFailsafe(t *testing.T, f func(t *testing.T, r *rig, o *others)) {
	t.Helper()
	o := &others{answers: map[string]func(*http.Request) (int, string, string, error){"b": accepts("b"), "c": accepts("")}}
	inBubble(t, failsafeOn(o), func(t *testing.T, r *rig) {
		for _, name := range []string{"b", "c"} {
			r.put(layout.KeyMember(name), layout.EncodeMember(cluster.Member{Name: name, ConnURL: "postgres://" + name + ":5432/postgres",
				APIURL: "http://" + name + ":8008/patroni", State: cluster.StateRunning, Role: cluster.RoleReplica, Matriarch: "1"}))
		}
		f(t, r, o)
	})
}

func failsafeOn(o *others) func(*Options) {
	return func(opt *Options) {
		former := opt.Configure
		opt.Configure = func(json, role string) (Configured, error) {
			c, err := former(json, role)
			c.Settings.Failsafe = true
			return c, err
		}
		opt.Peers, opt.PeerUser = &http.Client{Transport: o}, "admin"
	}
}

// leadingThree waits until a leads and the members that may are recorded.
func leadingThree(r *rig) {
	r.put("initialize", "4711")
	r.pg.set(standby())
	r.start()
	r.until("a leader that recorded all members", func() bool { return r.leads() && len(r.view().Failsafe) == 3 })
}

// stays looks for a while whether a goes on leading, with the guard armed past
// every moment.
func (r *rig) stays(what string, d time.Duration) {
	r.t.Helper()
	for end := r.clock.Now().Add(d); r.clock.Now() < end; time.Sleep(200 * time.Millisecond) {
		synctest.Wait()
		if !r.leads() {
			r.t.Fatalf("%s: leads no more: %s", what, r.agent.Snapshot().Decision.Why)
		}
		if r.guard().deadline() <= r.clock.Now() {
			r.t.Fatalf("%s: the guard would have fenced", what)
		}
	}
	if r.pg.called("stop")+r.pg.called("kill") != 0 {
		r.t.Fatalf("%s: %v", what, r.pg.calls)
	}
}

func TestFailsafeKeepsALeaderThatAllAccept(t *testing.T) {
	inFailsafe(t, func(t *testing.T, r *rig, o *others) {
		leadingThree(r)
		if r.agent.FailsafeActive() {
			t.Error("active while the store answers")
		}
		r.store.Cut(true)
		r.stays("without the store", 5*time.Minute)
		if !r.agent.FailsafeActive() {
			t.Error("not active")
		}
		pleas, auth := o.seen()
		for i, p := range pleas {
			if p.Name != "a" || p.APIURL != "http://a:8008/patroni" || p.Matriarch.PromiseMs != 30000 || auth[i] != "admin" {
				t.Fatalf("asked %+v as %q", p, auth[i])
			}
		}
		if n := len(pleas); n < 20 || n > 80 {
			t.Errorf("%d questions in five minutes", n)
		}
		// Its session is long over in the store; it leads on without a pause.
		if r.view().Leader.Held() {
			t.Fatal("the leader key is there without a session")
		}
		r.store.Cut(false)
		r.until("the key", func() bool { return r.view().Leader.Name == "a" })
		r.stays("with the store again", 5*time.Minute)
		if r.agent.FailsafeActive() {
			t.Error("active still")
		}
		if r.pg.called("promote") != 1 {
			t.Errorf("promoted again: %v", r.pg.calls)
		}
	})
}

// Whatever the answer of a single member is, if it is not the promise, the
// primary is stopped in time.
func TestFailsafeIsAllOrNothing(t *testing.T) {
	for what, answer := range map[string]func(*http.Request) (int, string, string, error){
		"down": func(*http.Request) (int, string, string, error) { return 0, "", "", errors.New("connection refused") },
		"silent": func(r *http.Request) (int, string, string, error) {
			<-r.Context().Done()
			return 0, "", "", r.Context().Err()
		},
		"a primary":       func(*http.Request) (int, string, string, error) { return 500, "Running as a leader", "c", nil },
		"another text":    func(*http.Request) (int, string, string, error) { return 200, "Accepted!", "", nil },
		"another code":    func(*http.Request) (int, string, string, error) { return 202, "Accepted", "", nil },
		"the mode is off": func(*http.Request) (int, string, string, error) { return 502, "<!DOCTYPE HTML>", "", nil },
		"another member":  func(*http.Request) (int, string, string, error) { return 200, "Accepted", "b", nil },
	} {
		t.Run(what, func(t *testing.T) {
			inFailsafe(t, func(t *testing.T, r *rig, o *others) {
				leadingThree(r)
				r.store.Cut(true)
				r.stays("with every word", time.Minute)
				from, hard := r.clock.Now(), boot.Instant(0)
				o.set("c", answer)
				r.until("the end of the primary", func() bool {
					st := r.agent.Lease()
					if st.Word.Sent >= from {
						t.Errorf("extended without a promise: %+v", st)
					}
					hard = max(hard, st.Until().Hard)
					return !r.leads()
				})
				if now := r.clock.Now(); now > hard {
					t.Errorf("led for %s after the deadline of the last word", now.Sub(hard))
				}
				r.store.Cut(false)
				o.set("c", accepts("c"))
				r.until("a leader again", r.leads)
			})
		})
	}
}

// A member that comes back is asked again before it is too late.
func TestFailsafeAsksAgain(t *testing.T) {
	inFailsafe(t, func(t *testing.T, r *rig, o *others) {
		leadingThree(r)
		o.set("c", nil)
		r.store.Cut(true)
		time.Sleep(20 * time.Second)
		o.set("c", accepts("c"))
		r.stays("with a member that was away for a moment", time.Minute)
	})
}

func TestFailsafeAlone(t *testing.T) {
	inBubble(t, failsafeOn(&others{}), func(t *testing.T, r *rig) {
		alone(r)
		r.until("the list", func() bool { return len(r.view().Failsafe) == 1 })
		r.store.Cut(true)
		r.stays("alone", 5*time.Minute)
		r.store.Cut(false)
		r.until("the key", func() bool { return r.view().Leader.Name == "a" })
		r.stays("with the store again", time.Minute)
	})
}

// The store was away for everybody and restored from disk: the session lives and
// nothing happened.
func TestFailsafeWithAStoreThatStoodStill(t *testing.T) {
	inFailsafe(t, func(t *testing.T, r *rig, o *others) {
		leadingThree(r)
		session := r.agent.Lease().Session
		r.store.Cut(true)
		for range 10 {
			r.stays("without the store", 10*time.Second)
			r.server.Do(func(c *memory.Core) { c.RestartTimers() })
		}
		r.store.Cut(false)
		r.stays("with the store again", time.Minute)
		if r.agent.Lease().Session != session {
			t.Error("another session")
		}
	})
}

// accepting is a standby of b, by whose key it follows, in failsafe mode.
func accepting(r *rig) {
	r.lead("b")
	r.pg.set(standby())
	r.put(layout.KeyFailsafe, `{"a":"http://a:8008/patroni","b":"http://b:8008/patroni"}`)
	r.start()
	r.until("a view", func() bool { return r.agent.Snapshot().Observation.Settings.Failsafe })
}

func TestAPromiseIsKept(t *testing.T) {
	inBubble(t, failsafeOn(&others{}), func(t *testing.T, r *rig) {
		accepting(r)
		if _, err := r.agent.Accept("b", 30*time.Second); err != nil {
			t.Fatal(err)
		}
		end := r.clock.Now().Add(30 * time.Second)
		r.server.Do(func(c *memory.Core) { _ = c.Delete("leader", dcs.Always()) })
		for r.clock.Now() < end {
			synctest.Wait()
			if v := r.view(); v.Leader.Held() || r.pg.called("stop-receiver") > 0 {
				t.Fatalf("leads %q %s before the promise is over; %v", v.Leader.Name, end.Sub(r.clock.Now()), r.pg.calls)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if _, err := os.Stat(r.agent.promises.path); err == nil {
			r.until("the file of the promise to go", func() bool { _, err := os.Stat(r.agent.promises.path); return err != nil })
		}
		r.until("a leader", r.leads)
	})
}

// The agent dies and another is started within the promise.
func TestAPromiseOutlivesTheAgent(t *testing.T) {
	for _, broken := range []bool{false, true} {
		inBubble(t, failsafeOn(&others{}), func(t *testing.T, r *rig) {
			accepting(r)
			if _, err := r.agent.Accept("b", 30*time.Second); err != nil {
				t.Fatal(err)
			}
			r.end()
			path := filepath.Join(r.agent.opt.StateDir, "failsafe_promise.json")
			if broken {
				if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r.server.Do(func(c *memory.Core) { _ = c.Delete("leader", dcs.Always()) })
			next := newRig(t, r.server, r.clock, r.agent.opt.StateDir, failsafeOn(&others{}))
			next.pg.set(standby())
			next.start()
			end := next.clock.Now().Add(30 * time.Second)
			for next.clock.Now() < end {
				synctest.Wait()
				if next.view().Leader.Held() {
					t.Fatal("leads before the promise is over")
				}
				time.Sleep(100 * time.Millisecond)
			}
			for !next.leads() {
				if next.clock.Now() > end.Add(unreadablePromise+time.Minute) {
					t.Fatal("never leads again")
				}
				time.Sleep(time.Second)
			}
		})
	}
}

// Whatever the file of a promise says, it is kept, and not for ever.
func FuzzPromiseFile(f *testing.F) {
	for _, text := range []string{`{"leader":"b","length":30000000000}`, `{"length":9223372036854775807}`, `{"length":-1}`, `{"length":1e300}`, `[]`, `{`, ``} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "failsafe_promise.json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		clock := &hand{now: boot.Instant(time.Hour)}
		p := newPromises(Options{StateDir: dir, Clock: clock, Logger: slog.New(slog.DiscardHandler)})
		if _, until := p.current(); until <= clock.now || until > clock.now.Add(longestPromise) {
			t.Errorf("kept until %s after the start", until.Sub(clock.now))
		}
	})
}

// A disk that hangs holds up the promise that waits for it, and nothing else: the
// loop asks what is promised in every turn, and so does whoever asks for the status.
func TestAPromiseWaitsForItsDiskAlone(t *testing.T) {
	clock := &hand{now: boot.Instant(time.Hour)}
	p := newPromises(Options{StateDir: t.TempDir(), Clock: clock, Logger: slog.New(slog.DiscardHandler)})
	// Who opens a pipe to write waits until somebody reads.
	pipe := p.path + ".tmp"
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	asked, given := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	leads := func() bool { once.Do(func() { close(asked) }); return false }
	go func() { given <- p.give("b", time.Minute, leads) }()
	<-asked
	known := make(chan boot.Instant, 1)
	go func() { _, until := p.current(); known <- until }()
	select {
	case until := <-known:
		if until != 0 {
			t.Errorf("promised until %d before it is on the disk", until)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the loop waits for the disk")
	}
	// A lease that is taken meanwhile comes first.
	if err := p.beginTake(); err != nil {
		t.Error(err)
	}
	p.endTake()
	reader, err := os.Open(pipe)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := <-given; err == nil {
		t.Error("a pipe was taken for a file")
	}
	os.Remove(pipe)
	if err := p.give("b", time.Minute, func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	// Whoever took the lease while the file was written gives no promise.
	turns := 0
	if err := p.give("b", time.Hour, func() bool { turns++; return turns > 1 }); !errors.Is(err, ErrLeads) {
		t.Errorf("promised as a leader: %v", err)
	}
}

func TestWhoDoesNotPromise(t *testing.T) {
	refusal := func(t *testing.T, r *rig, leader string, d time.Duration) error {
		t.Helper()
		_, err := r.agent.Accept(leader, d)
		if _, until := r.agent.promises.current(); err == nil || until != 0 {
			t.Errorf("promised to %q for %s", leader, d)
		}
		return err
	}
	t.Run("a leader", func(t *testing.T) {
		inFailsafe(t, func(t *testing.T, r *rig, o *others) {
			leadingThree(r)
			if err := refusal(t, r, "b", 0); !errors.Is(err, ErrLeads) {
				t.Error(err)
			}
		})
	})
	t.Run("a primary of its own", func(t *testing.T) {
		inBubble(t, failsafeOn(&others{}), func(t *testing.T, r *rig) {
			accepting(r)
			r.agent.snap.Observation.Server.Role = ha.ServerPrimary
			if err := refusal(t, r, "b", 0); !errors.Is(err, ErrLeads) {
				t.Error(err)
			}
		})
	})
	t.Run("who sees another leader", func(t *testing.T) {
		inBubble(t, failsafeOn(&others{}), func(t *testing.T, r *rig) {
			accepting(r)
			for leader, d := range map[string]time.Duration{"c": 0, "a": 0, "": 0, "b": time.Hour} {
				refusal(t, r, leader, d)
			}
		})
	})
	// The store is gone too for who saw that another followed; the leader before, which
	// never learned of it, would lead again.
	t.Run("who saw a later leader last", func(t *testing.T) {
		inBubble(t, failsafeOn(&others{}), func(t *testing.T, r *rig) {
			accepting(r)
			r.put("leader", "c")
			r.until("c to be seen", func() bool { return r.agent.viewer.lastLeader() == "c" })
			r.store.Cut(true)
			r.until("the store to be lost", func() bool { return !r.agent.viewer.current("").Reachable })
			refusal(t, r, "b", 0)
			if _, err := r.agent.Accept("c", 0); err != nil {
				t.Errorf("the last leader is refused: %v", err)
			}
		})
	})
	t.Run("before it knows anything", func(t *testing.T) {
		inBubble(t, failsafeOn(&others{}), func(t *testing.T, r *rig) { refusal(t, r, "b", 0) })
	})
	t.Run("with the mode off", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			r.lead("b")
			r.pg.set(standby())
			r.start()
			refusal(t, r, "b", 0)
		})
	})
	t.Run("who cannot remember it", func(t *testing.T) {
		inBubble(t, failsafeOn(&others{}), func(t *testing.T, r *rig) {
			accepting(r)
			r.agent.promises.path = filepath.Join(r.agent.opt.StateDir, "missing", "file")
			refusal(t, r, "b", 0)
		})
	})
	// Between the sending of a take and its answer nobody knows who leads.
	t.Run("who is taking the lease", func(t *testing.T) {
		inBubble(t, failsafeOn(&others{}), func(t *testing.T, r *rig) {
			accepting(r)
			if err := r.agent.promises.beginTake(); err != nil {
				t.Fatal(err)
			}
			if err := refusal(t, r, "b", 0); !errors.Is(err, ErrLeads) {
				t.Error(err)
			}
			r.agent.promises.endTake()
			if _, err := r.agent.Accept("b", 0); err != nil {
				t.Error(err)
			}
			if err := r.agent.promises.beginTake(); !errors.Is(err, errMoved) {
				t.Errorf("taking against a promise: %v", err)
			}
		})
	})
}

// A decision that is older than the promise does not break it.
func TestATakeThatWasDecidedBefore(t *testing.T) {
	inBubble(t, failsafeOn(&others{}), func(t *testing.T, r *rig) {
		r.put("initialize", "4711")
		r.pg.set(standby())
		r.startKeeper()
		r.agent.observe(t.Context())
		r.agent.snap.Observation.Now = 1
		r.agent.snap.Observation.Settings = cluster.Settings{TTL: 30 * time.Second, Failsafe: true}
		if _, err := r.agent.Accept("b", 0); err != nil {
			t.Fatal(err)
		}
		if ok, _ := r.act(ha.Action{Kind: ha.TakeLeader, Session: r.agent.Lease().Session}); ok || r.view().Leader.Held() {
			t.Error("taken")
		}
		time.Sleep(35 * time.Second) // another program counts from the last answer
		if ok, _ := r.act(ha.Action{Kind: ha.TakeLeader, Session: r.agent.Lease().Session}); !ok {
			t.Error("not taken after the promise")
		}
	})
}

// The server crashes without the store: it is started in place.
func TestFailsafeAndACrash(t *testing.T) {
	inFailsafe(t, func(t *testing.T, r *rig, o *others) {
		leadingThree(r)
		r.store.Cut(true)
		r.stays("without the store", time.Minute)
		r.pg.die(postgres.Event{Exit: postmaster.Exit{Known: true, Signal: "SIGKILL"}})
		r.until("the primary in place", r.leads)
		if r.pg.called("start-primary") != 1 {
			t.Errorf("%v", r.pg.calls)
		}
	})
}

func (g *fakeGuard) deadline() boot.Instant {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.armed.Hard
}
