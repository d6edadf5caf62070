package api_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/api/apitest"
	"github.com/matriarch-ha/matriarch/cluster"
)

// deaf is a member whose server and store never answer, whatever the deadline.
type deaf struct {
	*apitest.Member
	never chan struct{}
}

func (d deaf) Fresh(context.Context) api.Status { <-d.never; return d.Status() }

func (d deaf) Cluster(context.Context) (cluster.View, error) {
	<-d.never
	return cluster.View{}, apitest.ErrDown
}

// TestHungServerAndStore: each answer comes at its bound and says what is not
// known; what needs neither comes at once.
func TestHungServerAndStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := deaf{one("n1", nil), make(chan struct{})}
		defer time.Sleep(time.Hour) // the pauses after the questions end
		defer close(d.never)
		s, err := api.New(api.Options{Source: d, Clock: apitest.Clock{}})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			path  string
			bound time.Duration
			code  int
			says  string
		}{
			{"/patroni", 1500 * time.Millisecond, 200, `{"state": "unknown", "role": "replica", "dcs_last_seen"`},
			{"/vote", 1500 * time.Millisecond, 200, `"fresh": false`},
			{"/metrics", 1500 * time.Millisecond, 200, `patroni_postgres_state{scope="lab",name="n1"} -1`},
			{"/cluster", 3 * time.Second, 503, ""},
			{"/history", 3 * time.Second, 200, "[]"},
			{"/config", 3 * time.Second, 200, `"ttl": 30`},
			{"/replica", 0, 200, `{"state": "running"`},
			{"/lease", 0, 200, `"lease_remaining_ms": 0`},
			{"/liveness", 0, 200, ""},
			{"/readiness", 0, 200, ""},
		} {
			begin := time.Now()
			got := ask(s, "GET", c.path, "")
			if took := time.Since(begin); took != c.bound || got.Code != c.code || !strings.Contains(got.Body.String(), c.says) {
				t.Errorf("GET %s: %d after %v, want %d after %v: %s", c.path, got.Code, took, c.code, c.bound, got.Body)
			}
		}
	})
}
