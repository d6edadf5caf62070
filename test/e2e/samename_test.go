package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestSameName: two hosts were given one name and start together, before either
// could see the other. They must not make two databases, nor both lead, and one
// of them says what is wrong.
func TestSameName(t *testing.T) {
	for name, atOnce := range map[string]bool{"one after the other": false, "at once": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sameName(t, atOnce)
		})
	}
}

func sameName(t *testing.T, atOnce bool) {
	c := lab.NewCluster(t, lab.Options{Store: lab.Etcd, Members: 2, Timing: [3]int{20, 1, 3}})
	c.WaitStore(20 * time.Second)
	one, two := c.Members[0], c.Members[1]
	two.Edit("name: n2\n", "name: n1\n")
	one.StartAgent()
	if !atOnce {
		c.WaitLeader(40*time.Second, nil)
	}
	two.StartAgent()
	var lead *lab.Member
	lab.Until(t, 40*time.Second, "a leader", func() string {
		if lead = c.Leader(); lead == nil {
			return c.Tails(8)
		}
		return ""
	})
	other := c.Others(lead)[0]
	lab.Until(t, 60*time.Second, "the other saying that its name is taken", func() string {
		if lead.Agent.Ended() {
			t.Fatalf("the leader's agent ended\n%s", lead.Agent.Tail(10))
		}
		for _, words := range []string{"name", "already"} {
			if problem := missing(other.Agent, words); problem != "" {
				return problem
			}
		}
		return ""
	})
	id := lab.MustSQL(t, lead.DSN(), "SELECT system_identifier::text FROM pg_control_system()")[0]
	if rows, err := lab.SQL(other.DSN(), "SELECT system_identifier::text || ' ' || pg_is_in_recovery() FROM pg_control_system()"); err == nil && rows[0] != id+" true" {
		t.Errorf("%s serves %s, and %s leads with %s", other.Name, rows[0], lead.Name, id)
	}
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) { // the pace of looking
		if now := c.Leader(); now != lead && now != nil {
			t.Fatalf("%s leads beside %s", now.Name, lead.Name)
		}
	}
	if strings.Contains(other.Agent.Tail(100), "panic") {
		t.Error(other.Agent.Tail(50))
	}
}
