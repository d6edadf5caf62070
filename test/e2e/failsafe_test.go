package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

const failsafeOn = "    failsafe_mode: true\n"

// recorded waits until every member has read the list of those that may lead.
func recorded(t *testing.T, c *lab.Cluster) {
	t.Helper()
	lab.Until(t, 60*time.Second, "the list of members in every member's view", func() string {
		for _, m := range c.Members {
			code, body, err := m.Get("/failsafe")
			if err != nil || code != 200 || strings.Count(body, "api_url") != 0 || strings.Count(body, "http://") != len(c.Members) {
				return fmt.Sprintf("%s: %d %s %v\n%s", m.Name, code, body, err, c.Tails(5))
			}
		}
		return ""
	})
}

// reign is what must not change while a leader stays.
type reign struct {
	c          *lab.Cluster
	lead       *lab.Member
	postmaster int
	timeline   int
	failures   int
	writer     *lab.Writer // on the leader's own port
}

func reignOf(t *testing.T, c *lab.Cluster, lead *lab.Member, w *lab.Writer) reign {
	t.Helper()
	s, err := lead.Status()
	if err != nil || lead.Postmaster() == 0 {
		t.Fatalf("%s: %v", lead.Name, err)
	}
	return reign{c, lead, lead.Postmaster(), s.Timeline, w.Failures(), w}
}

// broken says what has changed.
func (r reign) broken() string {
	if pid := r.lead.Postmaster(); pid != r.postmaster {
		return fmt.Sprintf("the postmaster of %s was %d and is %d\n%s", r.lead.Name, r.postmaster, pid, r.c.Tails(20))
	}
	if n := r.writer.Failures(); n != r.failures {
		return fmt.Sprintf("%d writes on %s failed\n%s", n-r.failures, r.lead.Name, r.c.Tails(20))
	}
	for _, m := range r.c.Others(r.lead) {
		if m.Off() {
			continue
		}
		rows, err := lab.SQL(m.SocketDSN(), "SELECT pg_is_in_recovery()::text")
		if err != nil || rows[0] != "true" {
			return fmt.Sprintf("%s: %v %v\n%s", m.Name, rows, err, r.c.Tails(20))
		}
		if code, _, err := m.Get("/primary"); err == nil && code == 200 {
			return m.Name + " says that it leads"
		}
	}
	if s, err := r.lead.Status(); err == nil && s.Timeline != r.timeline {
		return fmt.Sprintf("timeline %d was left for %d", r.timeline, s.Timeline)
	}
	return ""
}

// holds looks for a while whether the reign goes on, with writes all the time.
func (r reign) holds(t *testing.T, what string, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(500 * time.Millisecond) { // the pace of looking
		if why := r.broken(); why != "" {
			t.Fatalf("%s: %s", what, why)
		}
		r.writer.WaitProgress(t, 15*time.Second)
	}
	t.Logf("%s: longest gap between two rows %s", what, r.writer.Gap().Round(time.Millisecond))
}

func gauge(m *lab.Member, name string) string {
	_, body, err := m.Get("/metrics")
	if err != nil {
		return err.Error()
	}
	for _, line := range strings.Split(body, "\n") {
		if strings.HasPrefix(line, name+"{") {
			return line[strings.LastIndexByte(line, ' ')+1:]
		}
	}
	return "missing"
}

// TestFailsafe: with failsafe_mode the store may be away for longer than any
// lease: the primary, whom all members confirm, goes on without an interruption,
// and still leads when the store is back. Without the word of one member it is
// stopped.
func TestFailsafe(t *testing.T) {
	for _, kind := range external {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			c := lab.NewCluster(t, lab.Options{Store: kind, DCS: failsafeOn})
			c.StartAll()
			lead := c.WaitHealthy(60 * time.Second)
			recorded(t, c)
			w := lab.StartWriter(t, lead.DSN())
			w.WaitProgress(t, 15*time.Second)
			entry := lab.WriteTo(t, c.DSN(), 1e9)
			entry.WaitProgress(t, 15*time.Second)
			r := reignOf(t, c, lead, w)

			c.KillStore()
			r.holds(t, "without the store for two ttl", 2*ttl+5*time.Second)
			for _, m := range c.Members {
				if got := gauge(m, "patroni_failsafe_mode_is_active"); got != "1" {
					t.Errorf("%s: patroni_failsafe_mode_is_active is %s", m.Name, got)
				}
			}
			entry.WaitProgress(t, 15*time.Second)
			c.StartStore()
			c.WaitStore(30 * time.Second)
			r.holds(t, "with the store again", ttl+5*time.Second)
			if now := c.WaitHealthy(60 * time.Second); now != lead {
				t.Fatalf("%s leads, %s did before", now.Name, lead.Name)
			}
			entry.WaitProgress(t, 15*time.Second)
			lab.Until(t, 60*time.Second, "the mode to be over", func() string {
				for _, m := range c.Members {
					if got := gauge(m, "patroni_failsafe_mode_is_active"); got != "0" {
						return m.Name + ": " + got
					}
				}
				return ""
			})

			// Once more, and one member does not answer.
			entry.Stop()
			c.KillStore()
			c.Others(lead)[0].PowerOff()
			lab.Until(t, 3*ttl, "the primary that not all confirm to be stopped", func() string {
				if lead.Postmaster() == 0 {
					return ""
				}
				return "its postmaster runs\n" + lead.Agent.Tail(10)
			})
			w.WaitRefused(t, 10*time.Second)
			if other := c.Others(lead)[1]; other.Postmaster() == 0 {
				t.Errorf("the standby on %s was stopped too", other.Name)
			}
			c.StartStore()
			c.Others(lead)[0].PowerOn()
			c.Others(lead)[0].StartAgent()
			c.WaitLeader(90*time.Second, nil)
			now := c.WaitHealthy(60 * time.Second)
			w.Stop()
			if lost := w.Lost(t, now.DSN()); len(lost) > 0 {
				t.Fatalf("%d acknowledged rows lost: %v", len(lost), lost)
			}
		})
	}
}

// TestFailsafePartition: the store is lost to the leader alone. Its key runs out
// there; the others, whom the leader asks, leave it alone, and clients come to the
// leader through the entrypoint as before. Then the leader is lost for good, and
// another takes over when the promises are over.
func TestFailsafePartition(t *testing.T) {
	for _, kind := range external {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			c := lab.NewCluster(t, lab.Options{Store: kind, DCS: failsafeOn})
			c.StartAll()
			lead := c.WaitHealthy(60 * time.Second)
			recorded(t, c)
			w := lab.StartWriter(t, lead.DSN())
			w.WaitProgress(t, 15*time.Second)
			r := reignOf(t, c, lead, w)

			lead.CutPort(c.StoreHost().IP, storePort[kind])
			lab.Until(t, 3*ttl, "the leader key to run out", func() string {
				if why := r.broken(); why != "" {
					t.Fatal(why)
				}
				d, err := clusterOf(c.Others(lead)[0])
				if err != nil || len(d.Members) == 0 {
					return fmt.Sprint(err)
				}
				if role := d.role(lead.Name); role == "leader" {
					return "it is there"
				}
				return ""
			})
			r.holds(t, "without the leader key", ttl)
			// New clients are led to it, although the store names nobody.
			for range 3 {
				rows, err := lab.SQL(c.DSN(), "SELECT host(inet_server_addr())")
				if err != nil || rows[0] != lead.IP {
					t.Fatalf("the entrypoint leads to %v (%v), want %s", rows, err, lead.IP)
				}
			}
			lead.Mend()
			r.holds(t, "with the store again", ttl+5*time.Second)
			if now := c.WaitHealthy(60 * time.Second); now != lead {
				t.Fatalf("%s leads, %s did before", now.Name, lead.Name)
			}

			lead.CutPort(c.StoreHost().IP, storePort[kind])
			r.holds(t, "without the store once more", ttl)
			lead.PowerOff()
			next := c.WaitLeader(4*ttl, lead)
			after := lab.WriteTo(t, next.DSN(), 2e9)
			after.WaitProgress(t, 15*time.Second)
			w.Stop()
			lab.NoneAfter(t, w, after)
		})
	}
}

// TestFailsafeAlone: a cluster of one member needs nobody's word.
func TestFailsafeAlone(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Etcd, Members: 1, DCS: failsafeOn})
	c.StartAll()
	lead := c.WaitHealthy(60 * time.Second)
	recorded(t, c)
	w := lab.StartWriter(t, lead.DSN())
	w.WaitProgress(t, 15*time.Second)
	r := reignOf(t, c, lead, w)
	c.KillStore()
	r.holds(t, "alone without the store", 2*ttl)
	c.StartStore()
	c.WaitStore(30 * time.Second)
	r.holds(t, "with the store again", ttl)
	w.Stop()
}
