package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestLostReplies loses the store's answers when they matter most: the request
// was carried out, and whoever sent it does not know. The cluster is made once,
// has one leader after a failover, and loses no row while its renewals go
// unanswered for a while.
func TestLostReplies(t *testing.T) {
	for _, kind := range external {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			var relays []*lab.Relay
			c := lab.NewCluster(t, lab.Options{Store: kind, StoreVia: func(n *lab.Network, real string) string {
				r := lab.StartRelay(t, n.Here(), real)
				relays = append(relays, r)
				return r.Addr
			}})
			lost := func(text string) {
				t.Helper()
				n := 0
				for _, r := range relays {
					n += r.Lost()
				}
				if n == 0 {
					t.Errorf("no reply to a request about %s was lost: this tested nothing", text)
				}
				t.Logf("%d replies about %s lost", n, text)
			}
			lose := func(text string, n int) {
				for _, r := range relays {
					r.LoseReplies(text, n)
				}
			}

			lose("/initialize", 2)
			c.StartAll()
			lead := c.WaitHealthy(120 * time.Second)
			lost("/initialize")
			bootstrappedOnce(t, c)
			w := lab.StartWriter(t, c.DSN())
			w.WaitProgress(t, 30*time.Second)

			// Renewals go unanswered, each time for longer than one takes to come and
			// for less than the lease lasts.
			timeline := status(t, lead).Timeline
			for range 2 {
				relays[lead.Index].Mute(true)
				w.WaitProgress(t, 10*time.Second)
				time.Sleep(6 * time.Second)
				relays[lead.Index].Mute(false)
				renewed(t, lead)
				w.WaitProgress(t, 10*time.Second)
			}
			if now := c.WaitHealthy(40 * time.Second); now != lead || status(t, now).Timeline != timeline {
				t.Fatalf("%s leads on timeline %d, %s led on %d before a few replies were lost", now.Name, status(t, now).Timeline, lead.Name, timeline)
			}

			// The answer to whoever takes the lease is lost. A clean stop loses no row.
			lose("/leader", 2)
			lead.Agent.Signal(15)
			next := c.WaitLeader(90*time.Second, lead)
			lost("/leader")
			if code, err := lead.Agent.Wait(30 * time.Second); err != nil || code != 0 {
				t.Fatalf("the agent ended with %d, %v\n%s", code, err, lead.Agent.Tail(20))
			}
			lead.StartAgent()
			w.WaitProgress(t, 60*time.Second)
			now := c.WaitHealthy(60 * time.Second)
			t.Logf("%s led after %s, then %s", next.Name, lead.Name, now.Name)
			w.Stop()
			if gone := w.Lost(t, now.DSN()); len(gone) > 0 {
				t.Fatalf("%d of %d acknowledged rows lost although every primary stopped cleanly: %v", len(gone), w.Count(), gone)
			}
		})
	}
}

// renewed waits until a renewal that was sent after the call is confirmed.
func renewed(t *testing.T, m *lab.Member) {
	t.Helper()
	left := func() int64 {
		var doc struct {
			Matriarch struct {
				Remaining int64 `json:"lease_remaining_ms"`
			}
		}
		_, body, err := m.Get("/patroni")
		if err == nil {
			err = json.Unmarshal([]byte(body), &doc)
		}
		if err != nil {
			t.Fatalf("what is left of the lease: %v", err)
		}
		return doc.Matriarch.Remaining
	}
	least := left()
	lab.Until(t, 15*time.Second, "a renewed lease", func() string {
		now := left()
		if now > least+1000 {
			return ""
		}
		least = min(least, now)
		return fmt.Sprintf("%d ms left", now)
	})
}
