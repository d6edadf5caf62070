package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestEtcd: a short story on etcd as the distribution packages it, configured
// by the section for its old API, which is served through the new one.
func TestEtcd(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Etcd, StoreSection: "etcd", Members: 2, Timing: [3]int{20, 1, 3}, StoreArgs: []string{"--enable-v2"}})
	c.StartAll()
	lead := c.WaitHealthy(60 * time.Second)
	w := lab.StartWriter(t, c.DSN())
	w.WaitProgress(t, 20*time.Second)
	w.Gap()
	code, body, err := lead.Send("POST", "/switchover", `{"leader":"`+lead.Name+`"}`, 40*time.Second)
	if err != nil || code != 200 {
		t.Fatalf("switchover: %d %s %v\n%s", code, body, err, c.Tails(10))
	}
	next := c.WaitLeader(20*time.Second, lead)
	c.WaitHealthy(30 * time.Second)
	w.WaitProgress(t, 20*time.Second)
	t.Logf("switchover: longest gap %s", w.Gap().Round(10*time.Millisecond))
	if lost := w.Lost(t, next.DSN()); len(lost) > 0 {
		t.Errorf("a switchover lost the acknowledged rows %v", lost)
	}
	next.PowerOff()
	c.WaitLeader(60*time.Second, next)
	w.WaitProgress(t, 20*time.Second)
	t.Logf("host powered off: longest gap %s", w.Gap().Round(10*time.Millisecond))
	w.Stop()
}

// TestEtcdLegacy: keys under the old API of the same scope would be a second
// cluster that the new API cannot see, so the start is refused until they are
// gone.
func TestEtcdLegacy(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Etcd, StoreSection: "etcd", Members: 1, StoreArgs: []string{"--enable-v2"}})
	m := c.Members[0]
	v2 := func(args ...string) {
		t.Helper()
		lab.Until(t, 20*time.Second, "etcdctl "+args[0], func() string {
			out, err := c.StoreHost().Run(append([]string{"env", "ETCDCTL_API=2", "etcdctl", "--endpoints", "http://" + c.StoreAt}, args...)...)
			if err != nil {
				return out + err.Error()
			}
			return ""
		})
	}
	// It keeps waiting for a server that cannot be asked yet, as with any store.
	c.StoreHost().Unplug()
	restarted(t, m)
	says(t, m, "waiting for the store", "/v2/keys/")
	ended(t, m)
	c.StoreHost().Plug()
	v2("set", "/service/lab/initialize", "7000000000000000001")
	if text := refused(t, m); !strings.Contains(text, "v2 API") || !strings.Contains(text, "/service/lab") || !strings.Contains(text, "etcd3:") {
		t.Errorf("the message does not explain the old keys:\n%s", text)
	}
	empty(t, m)
	v2("rm", "--recursive", "/service/lab")
	restarted(t, m)
	c.WaitLeader(60*time.Second, nil)
	m.Agent.Signal(syscall.SIGTERM)
	if code, err := m.Agent.Wait(30 * time.Second); err != nil || code != 0 {
		t.Fatalf("the agent ended with %d, %v", code, err)
	}
}
