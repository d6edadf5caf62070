package agent

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/postgres"
)

// votes answers for the other members: replicas that have all there is.
type votes struct{}

func (votes) RoundTrip(r *http.Request) (*http.Response, error) {
	name, _, _ := strings.Cut(r.URL.Hostname(), ".")
	body := fmt.Sprintf(`{"name":%q,"in_recovery":true,"timeline":1,"lsn":"0/3000000","fresh":true,"eligible":true,"tags":{}}`, name)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// withReplica publishes another member.
func withReplica(r *rig) {
	r.put("members/b", `{"conn_url":"postgres://b:5432/postgres","api_url":"http://b:8008/patroni","state":"running","role":"replica",`+
		`"timeline":1,"xlog_location":50331648,"matriarch":"1"}`)
}

// hang is a disk that hangs from now on: what the server is told to write does not
// come back, nor what the agent itself writes there.
func hang(r *rig) (release func()) {
	never, release := context.WithCancel(context.Background())
	stuck := func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w", ctx.Err())
		case <-never.Done():
			return nil
		}
	}
	r.pg.hook("prove-commit", stuck)
	r.pg.hook("mark-standby", func(context.Context) error { return stuck(context.Background()) })
	return release
}

// hand is a clock that is set by hand.
type hand struct{ now boot.Instant }

func (h *hand) Now() boot.Instant { return h.now }
func (h *hand) Wall() time.Time   { return time.Unix(0, int64(h.now)) }

// TestPrimaryStallTimeout: the disk of the primary hangs and its agent lives.
func TestPrimaryStallTimeout(t *testing.T) {
	withVotes := func(o *Options) { o.Peers = &http.Client{Transport: votes{}} }

	t.Run("another member can lead", func(t *testing.T) {
		inBubble(t, withVotes, func(t *testing.T, r *rig) {
			alone(r)
			withReplica(r)
			defer hang(r)()
			began := time.Now()
			r.until("the key to be given up", func() bool { return !r.view().Leader.Held() })
			if took := time.Since(began); took < 25*time.Second || took > 45*time.Second {
				t.Errorf("given up after %v", took)
			}
			if r.pg.called("kill") == 0 || r.pg.called("stop") != 0 {
				t.Errorf("calls %v", r.pg.calls)
			}
		})
	})
	t.Run("nobody else can", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			alone(r)
			withReplica(r) // and does not answer
			defer hang(r)()
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			if !r.leads() || r.pg.called("kill") != 0 {
				t.Errorf("leads %t, calls %v", r.leads(), r.pg.calls)
			}
			if why := r.agent.Snapshot().Decision.Why; !strings.Contains(why, "can commit") {
				t.Errorf("it does not say what is wrong: %s", why)
			}
		})
	})
	t.Run("paused", func(t *testing.T) {
		inBubble(t, withVotes, func(t *testing.T, r *rig) {
			alone(r)
			withReplica(r)
			v := r.view().Config.Version
			if _, err := r.store.Put(t.Context(), "config", `{"pause":true}`, dcs.Unchanged(v)); err != nil {
				t.Fatal(err)
			}
			defer hang(r)()
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			if r.pg.called("kill") != 0 || !r.view().Leader.Held() {
				t.Errorf("calls %v", r.pg.calls)
			}
		})
	})
	t.Run("it commits, or cannot be asked", func(t *testing.T) {
		for name, answer := range map[string]error{"commits": nil, "too many sessions": postgres.ErrNotAsked} {
			inBubble(t, withVotes, func(t *testing.T, r *rig) {
				alone(r)
				withReplica(r)
				r.pg.hook("prove-commit", func(context.Context) error { return answer })
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				if !r.leads() || r.pg.called("kill") != 0 {
					t.Errorf("%s: calls %v", name, r.pg.calls)
				}
				if n := r.pg.called("prove-commit"); n < 20 || n > 40 {
					t.Errorf("%s: asked %d times in five minutes", name, n)
				}
			})
		}
	})
	t.Run("its position moves", func(t *testing.T) {
		inBubble(t, withVotes, func(t *testing.T, r *rig) {
			alone(r)
			withReplica(r)
			for range 100 {
				r.pg.mu.Lock()
				r.pg.facts.Flushed++
				r.pg.facts.Position.LSN++
				r.pg.mu.Unlock()
				r.agent.Wake()
				time.Sleep(5 * time.Second)
			}
			if n := r.pg.called("prove-commit"); n > 1 {
				t.Errorf("a server that commits was asked %d times to prove it", n)
			}
		})
	})
	t.Run("the agent was stopped meanwhile", func(t *testing.T) {
		p := &prover{opt: Options{Clock: &hand{now: 1e9}}}
		c := p.opt.Clock.(*hand)
		f := primary()
		p.saw(f, 30*time.Second)
		p.due()
		c.now = c.now.Add(time.Hour)
		if due, _ := p.due(); due {
			t.Error("asked before it knew anything")
		}
		if proven, _ := p.state(); proven != c.now {
			t.Errorf("proven %v at %v: the time in which nobody looked counts as a stall", proven, c.now)
		}
	})
}
