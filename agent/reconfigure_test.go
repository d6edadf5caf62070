package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/postgres"
)

// A reload reaches what is published and the server, and a new address is not
// taken for another agent's of this name.
func TestReconfigure(t *testing.T) {
	kept := ""
	inBubble(t, func(o *Options) { o.Remember = func(json string) error { kept = json; return nil } }, func(t *testing.T, r *rig) {
		r.lead("b")
		r.pg.set(standby())
		r.put("config", `{"ttl":30}`)
		r.start()
		r.until("the member published", func() bool { m, ok := r.view().Member("a"); return ok && m.APIURL == "http://a:8008/patroni" })
		applied := r.pg.called("apply")

		next := r.agent.opt.Reloadable
		next.Tags.NoSync, next.APIURL, next.ConnURL = true, "https://a:9008/patroni", "postgres://a:6432/postgres"
		configure := next.Configure
		next.Configure = func(json, role string) (Configured, error) {
			c, err := configure(json, role)
			c.Postgres.CustomConf = "reloaded"
			return c, err
		}
		if err := r.agent.Reconfigure(next); err != nil {
			t.Fatal(err)
		}
		r.until("the member published anew", func() bool {
			m, ok := r.view().Member("a")
			return ok && m.APIURL == next.APIURL && m.ConnURL == next.ConnURL && m.Tags.NoSync
		})
		r.pg.mu.Lock()
		custom := r.pg.conf.CustomConf
		r.pg.mu.Unlock()
		if custom != "reloaded" || r.pg.called("apply") <= applied {
			t.Errorf("the server was not told: %q, %v", custom, r.pg.calls)
		}
		if kept != `{"ttl":30}` {
			t.Errorf("kept beside the data: %q", kept)
		}

		next.Configure = func(string, string) (Configured, error) { return Configured{}, errBroken }
		next.Tags = cluster.Tags{NoFailover: true}
		if err := r.agent.Reconfigure(next); !errors.Is(err, errBroken) {
			t.Errorf("error %v", err)
		}
		time.Sleep(time.Minute)
		if m, _ := r.view().Member("a"); m.Tags.NoFailover || !m.Tags.NoSync {
			t.Errorf("half applied: %+v", m.Tags)
		}
	})
}

// Rules that the server refuses are told once, not tried again in every turn.
func TestRefusedRulesAreToldOnce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.lead("b")
		r.pg.set(standby())
		r.pg.hook("apply", func(context.Context) error {
			return &postgres.RefusedRules{Reasons: []string{"pg_hba.conf: line 3: wrong"}}
		})
		r.start()
		time.Sleep(time.Minute)
		if n := r.pg.called("apply"); n != 1 {
			t.Errorf("applied %d times", n)
		}
		if r.agent.config.refused == "" {
			t.Error("not told")
		}
	})
}
