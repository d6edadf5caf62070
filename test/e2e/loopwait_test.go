package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestNothingSleepsThroughAChange lets every member's loop look only once an
// hour by itself: all that must happen still does, since events wake it.
func TestNothingSleepsThroughAChange(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded, Member: func(int) string { return "matriarch: {turn_interval: 1h}\n" }})
	c.StartAll()
	c.WaitHealthy(60 * time.Second)
	w := lab.StartWriter(t, c.DSN())
	part(t, c, w, "switchover", func(lead *lab.Member) {
		code, body, err := c.Others(lead)[0].Send("POST", "/switchover", `{"leader":"`+lead.Name+`"}`, 40*time.Second)
		if err != nil || code != 200 {
			t.Fatalf("switchover: %d %s %v\n%s", code, body, err, c.Tails(15))
		}
		c.WaitLeader(10*time.Second, lead)
	})
	part(t, c, w, "agent told to stop", func(lead *lab.Member) {
		lead.Agent.Signal(syscall.SIGTERM)
		if code, err := lead.Agent.Wait(30 * time.Second); err != nil || code != 0 {
			t.Fatalf("the agent ended with %d, %v\n%s", code, err, lead.Agent.Tail(20))
		}
		c.WaitLeader(20*time.Second, lead)
		lead.StartAgent()
	})
	part(t, c, w, "PostgreSQL killed", func(lead *lab.Member) {
		_ = syscall.Kill(lead.Postmaster(), syscall.SIGKILL)
	})
	part(t, c, w, "a replica's PostgreSQL killed", func(lead *lab.Member) {
		_ = syscall.Kill(c.Others(lead)[0].Postmaster(), syscall.SIGKILL)
	})
	part(t, c, w, "agent killed", func(lead *lab.Member) {
		lead.Agent.Signal(syscall.SIGKILL)
		c.WaitLeader(60*time.Second, lead)
		lead.StartAgent()
	})
	part(t, c, w, "host powered off", func(lead *lab.Member) {
		lead.PowerOff()
		c.WaitLeader(60*time.Second, lead)
		lead.PowerOn()
		lead.StartAgent()
	})
	part(t, c, w, "cut off, and rewound", func(lead *lab.Member) {
		lead.Unplug()
		lab.MustSQL(t, lead.SocketDSN(), "INSERT INTO written VALUES (-1)")
		c.WaitLeader(60*time.Second, lead)
		lead.Plug()
	})
}
