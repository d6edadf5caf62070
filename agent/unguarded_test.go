package agent

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
)

// TestUnguardedServerIsAsked: of a member that no guard stops the server is asked
// too, and its word counts whatever the agent says, or if it says nothing.
func TestUnguardedServerIsAsked(t *testing.T) {
	unguarded := cluster.Member{Name: "b", ConnURL: "postgres://b:5432/postgres", APIURL: "http://b:8008/patroni"}
	guarded := unguarded
	guarded.Guarded, guarded.Matriarch = true, "1"
	for name, c := range map[string]struct {
		m        cluster.Member
		agent    http.RoundTripper
		writable func() (bool, error)
		// what is concluded
		answered, recovery, closed bool
	}{
		"its agent is dead, its server writes":       {unguarded, noPeers{}, func() (bool, error) { return true, nil }, true, false, false},
		"its agent is dead, its server too":          {unguarded, noPeers{}, func() (bool, error) { return false, nil }, false, false, true},
		"neither says anything":                      {unguarded, noPeers{}, func() (bool, error) { return false, errors.New("timeout") }, false, false, false},
		"a guarded one is not asked beside its vote": {guarded, votes{}, func() (bool, error) { t.Error("asked"); return true, nil }, true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(o *Options) {
				o.Peers = &http.Client{Transport: c.agent}
				o.Writable = func(_ context.Context, host, port string) (bool, error) {
					if host != "b" || port != "5432" {
						t.Errorf("asked %s:%s", host, port)
					}
					return c.writable()
				}
			}, func(t *testing.T, r *rig) {
				p := r.agent.peers
				p.ask(t.Context(), []cluster.Member{c.m})
				time.Sleep(5 * time.Second)
				w := p.words()[0]
				if answered := !w.AnswerTo.IsZero(); answered != c.answered || answered && w.InRecovery != c.recovery || w.Closed != c.closed {
					t.Errorf("%+v", w)
				}
			})
		})
	}
}
