package e2e

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestHAProxy: a load balancer configured for the classic lab works as it is:
// it asks the members' port 8008 and leads writers to the primary, through a
// switchover and the loss of a host.
func TestHAProxy(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Etcd, Members: 2, Names: []string{"pg-master", "pg-slave"}, Timing: [3]int{20, 1, 3}})
	c.Net.NameHosts(nil)
	conf, err := filepath.Abs("testdata/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range c.Members {
		m.StartAgent()
	}
	lead := c.WaitHealthy(60 * time.Second)
	c.Entry.Start("haproxy", nil, "/usr/sbin/haproxy", "-db", "-f", conf)
	dsn := c.DSNOf(c.Entry.IP, 5432)
	// It takes every server for good until it has failed three checks.
	lab.Until(t, 30*time.Second, "the balancer seeing that the replica is none for it", func() string {
		resp, err := http.Get("http://" + c.Entry.IP + ":7000/;csv")
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if n := strings.Count(string(text), ",DOWN,"); err != nil || n != 1 {
			return fmt.Sprintf("%d servers are down, %v", n, err)
		}
		return ""
	})
	w := lab.StartWriter(t, dsn)
	reaches(t, dsn, lead)

	w.WaitProgress(t, 20*time.Second)
	w.Gap()
	other := c.Others(lead)[0]
	code, body, err := other.Send("POST", "/switchover", `{"leader":"`+lead.Name+`","candidate":"`+other.Name+`"}`, 40*time.Second)
	if err != nil || code != 200 {
		t.Fatalf("switchover: %d %s %v", code, body, err)
	}
	w.WaitProgress(t, 40*time.Second)
	reaches(t, dsn, other)
	t.Logf("switchover behind HAProxy: longest gap between acknowledged writes %s", w.Gap().Round(10*time.Millisecond))
	if lost := w.Lost(t, other.DSN()); len(lost) > 0 {
		t.Errorf("a switchover lost the acknowledged rows %v", lost)
	}
	c.WaitHealthy(60 * time.Second)

	other.PowerOff()
	c.WaitLeader(60*time.Second, other)
	w.WaitProgress(t, 40*time.Second)
	reaches(t, dsn, lead)
	t.Logf("host powered off behind HAProxy: longest gap %s", w.Gap().Round(10*time.Millisecond))
	w.Stop()
}

// reaches waits until a connection string leads to a member that takes writes.
func reaches(t *testing.T, dsn string, m *lab.Member) {
	t.Helper()
	lab.Until(t, 30*time.Second, "the balancer leading to "+m.Name, func() string {
		rows, err := lab.SQL(dsn, "SELECT host(inet_server_addr()) || ' ' || pg_is_in_recovery()")
		if err != nil {
			return err.Error()
		}
		if rows[0] != m.IP+" false" {
			return "it leads to " + rows[0]
		}
		return ""
	})
}
