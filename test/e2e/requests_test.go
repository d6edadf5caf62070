package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestRequests is what a person asks of one member while a client writes through
// the entrypoint: restarts with conditions, now and at a time, a switchover at a
// time, and data copied anew. No acknowledged row is lost over all of it.
func TestRequests(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Etcd, Timing: [3]int{20, 1, 3}})
	c.WaitStore(20 * time.Second)
	c.StartAll()
	c.WaitHealthy(60 * time.Second)
	w := lab.StartWriter(t, c.DSN())
	w.WaitProgress(t, 20*time.Second)

	restartRefused(t, c)
	restartPrimary(t, c, w)
	restartReplica(t, c)
	restartPending(t, c)
	restartWithHungArchiver(t, c, w)
	restartScheduled(t, c)
	switchoverScheduled(t, c, w)
	reinitialize(t, c)

	lead := c.WaitHealthy(60 * time.Second)
	w.WaitProgress(t, 20*time.Second)
	w.Stop()
	if lost := w.Lost(t, lead.DSN()); len(lost) > 0 {
		t.Errorf("%d of %d acknowledged rows are lost: %v", len(lost), w.Count(), lost)
	}
}

// ask sends a request to a member and checks the answer.
func ask(t *testing.T, c *lab.Cluster, m *lab.Member, method, path, body string, want int, text string) {
	t.Helper()
	code, answer, err := m.Send(method, path, body, 90*time.Second)
	if err != nil || code != want || !strings.Contains(answer, text) {
		t.Fatalf("%s %s %s on %s: %d %q %v, want %d %q\n%s", method, path, body, m.Name, code, answer, err, want, text, c.Tails(20))
	}
}

func restartRefused(t *testing.T, c *lab.Cluster) {
	lead := c.WaitHealthy(60 * time.Second)
	const no = "restart conditions are not satisfied"
	pid := lead.Postmaster()
	ask(t, c, lead, "POST", "/restart", `{"restart_pending":true}`, 503, no)
	ask(t, c, lead, "POST", "/restart", `{"role":"replica"}`, 503, no)
	ask(t, c, lead, "POST", "/restart", `{"postgres_version":"13.1"}`, 503, no)
	ask(t, c, lead, "POST", "/reinitialize", `{}`, 503, "I am the leader, can not reinitialize")
	if lead.Postmaster() != pid {
		t.Errorf("restarted although the conditions did not hold")
	}
}

func restartPrimary(t *testing.T, c *lab.Cluster, w *lab.Writer) {
	lead := c.WaitHealthy(60 * time.Second)
	pid, timeline := lead.Postmaster(), status(t, lead).Timeline
	ask(t, c, lead, "POST", "/restart", `{"role":"primary"}`, 200, "restarted successfully")
	if now := lead.Postmaster(); now == pid || now == 0 {
		t.Errorf("the postmaster is %d, and was %d", now, pid)
	}
	w.WaitProgress(t, 20*time.Second)
	if now := c.WaitHealthy(60 * time.Second); now != lead || status(t, now).Timeline != timeline {
		t.Errorf("%s leads on timeline %d; %s was restarted on %d", now.Name, status(t, now).Timeline, lead.Name, timeline)
	}
}

func restartReplica(t *testing.T, c *lab.Cluster) {
	lead := c.WaitHealthy(60 * time.Second)
	m := c.Others(lead)[0]
	pid := m.Postmaster()
	ask(t, c, m, "POST", "/restart", `{"role":"replica","timeout":"60s"}`, 200, "restarted successfully")
	if now := m.Postmaster(); now == pid || now == 0 {
		t.Errorf("the postmaster is %d, and was %d", now, pid)
	}
	if now := c.WaitHealthy(60 * time.Second); now != lead {
		t.Errorf("%s leads, not %s", now.Name, lead.Name)
	}
}

// hangingArchive is an archive_command that never ends.
const hangingArchive = "sleep 3600"

// restartPending: a setting waits for a restart, and no longer afterwards.
func restartPending(t *testing.T, c *lab.Cluster) {
	lead := c.WaitHealthy(60 * time.Second)
	patch(t, lead, `{"postgresql":{"parameters":{"archive_mode":"on","archive_command":"`+hangingArchive+`"}}}`)
	for _, m := range append(c.Others(lead), lead) {
		pending := func(want bool) {
			lab.Until(t, 30*time.Second, fmt.Sprintf("pending_restart %t of %s", want, m.Name), func() string {
				d, err := clusterOf(lead)
				if err != nil {
					return err.Error()
				}
				for _, x := range d.Members {
					if x.Name == m.Name && x.PendingRestart != want {
						return fmt.Sprintf("it is %t", x.PendingRestart)
					}
				}
				return ""
			})
		}
		pending(true)
		ask(t, c, m, "POST", "/restart", `{"restart_pending":true}`, 200, "restarted successfully")
		pending(false)
	}
	if now := c.WaitHealthy(60 * time.Second); now != lead {
		t.Errorf("%s leads, not %s", now.Name, lead.Name)
	}
}

// restartWithHungArchiver: a shutdown would wait for the archiver for ever.
func restartWithHungArchiver(t *testing.T, c *lab.Cluster, w *lab.Writer) {
	lead := c.WaitHealthy(60 * time.Second)
	lab.MustSQL(t, lead.DSN(), "SELECT pg_switch_wal()::text")
	lab.Until(t, 30*time.Second, "the archiver at work", func() string {
		if len(lead.Find(hangingArchive)) == 0 {
			return "archive_command does not run"
		}
		return ""
	})
	timeline := status(t, lead).Timeline
	ask(t, c, lead, "POST", "/restart", `{}`, 200, "restarted successfully")
	w.WaitProgress(t, 20*time.Second)
	patch(t, lead, `{"postgresql":{"parameters":{"archive_command":"true"}}}`)
	if now := c.WaitHealthy(60 * time.Second); now != lead || status(t, now).Timeline != timeline {
		t.Errorf("%s leads on timeline %d; %s was restarted on %d", now.Name, status(t, now).Timeline, lead.Name, timeline)
	}
	for _, pid := range lead.Find(hangingArchive) { // what the ended archiver left, and a second that began
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// scheduledIn is the field of a member in the view of the cluster.
func scheduledIn(t *testing.T, m *lab.Member, of string) bool {
	t.Helper()
	_, body, err := m.Get("/cluster")
	var d struct {
		Members []struct {
			Name      string
			Scheduled json.RawMessage `json:"scheduled_restart"`
		}
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range d.Members {
		if x.Name == of {
			return len(x.Scheduled) > 0
		}
	}
	return false
}

// restartScheduled: what is scheduled is shown, survives the death of its agent,
// takes place once and not before its time, and can be deleted.
func restartScheduled(t *testing.T, c *lab.Cluster) {
	lead := c.WaitHealthy(60 * time.Second)
	m := c.Others(lead)[0]
	body := func(at time.Time) string { return `{"schedule":"` + at.Format(time.RFC3339Nano) + `"}` }
	shown := func(want bool) {
		lab.Until(t, 20*time.Second, fmt.Sprintf("the scheduled restart shown: %t", want), func() string {
			if scheduledIn(t, lead, m.Name) != want {
				return "it is not so"
			}
			return ""
		})
	}
	ask(t, c, m, "POST", "/restart", body(time.Now().Add(time.Hour)), 202, "Restart scheduled")
	ask(t, c, m, "POST", "/restart", body(time.Now().Add(time.Hour)), 409, "Another restart is already scheduled")
	shown(true)
	ask(t, c, m, "DELETE", "/restart", "", 200, "scheduled restart deleted")
	ask(t, c, m, "DELETE", "/restart", "", 404, "no restarts are scheduled")
	shown(false)

	pid, at := m.Postmaster(), time.Now().Add(12*time.Second)
	ask(t, c, m, "POST", "/restart", body(at), 202, "Restart scheduled")
	shown(true)
	m.Agent.Signal(syscall.SIGKILL)
	if _, err := m.Agent.Wait(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	m.StartAgent()
	lab.UntilQuickly(t, 60*time.Second, "the scheduled restart", func() string {
		if now := m.Postmaster(); now == pid || now == 0 {
			return fmt.Sprintf("the postmaster is %d\n%s", now, m.Agent.Tail(10))
		}
		return ""
	})
	if early := time.Until(at); early > 0 {
		t.Errorf("restarted %s before its time", early)
	}
	shown(false)
	if now := c.WaitHealthy(60 * time.Second); now != lead {
		t.Errorf("%s leads, not %s", now.Name, lead.Name)
	}
}

func switchoverScheduled(t *testing.T, c *lab.Cluster, w *lab.Writer) {
	lead := c.WaitHealthy(60 * time.Second)
	to := c.Others(lead)[1]
	body := func(at time.Time) string {
		return `{"leader":"` + lead.Name + `","candidate":"` + to.Name + `","scheduled_at":"` + at.Format(time.RFC3339Nano) + `"}`
	}
	ask(t, c, to, "POST", "/switchover", body(time.Now().Add(time.Hour)), 202, "Switchover scheduled")
	if _, doc, err := to.Get("/cluster"); err != nil || !strings.Contains(doc, `"scheduled_switchover"`) {
		t.Errorf("not shown: %s %v", doc, err)
	}
	ask(t, c, to, "DELETE", "/switchover", "", 200, "scheduled switchover deleted")

	at := time.Now().Add(5 * time.Second)
	ask(t, c, to, "POST", "/switchover", body(at), 202, "Switchover scheduled")
	if now := c.WaitLeader(40*time.Second, lead); now != to {
		t.Errorf("%s leads, not %s", now.Name, to.Name)
	}
	if early := time.Until(at); early > 0 {
		t.Errorf("switched over %s before its time", early)
	}
	w.WaitProgress(t, 20*time.Second)
}

// reinitialize: the data are others afterwards, and the old ones are kept.
func reinitialize(t *testing.T, c *lab.Cluster) {
	lead := c.WaitHealthy(60 * time.Second)
	m := c.Others(lead)[0]
	inode := func() uint64 {
		st, err := os.Stat(m.DataDir() + "/PG_VERSION")
		if err != nil {
			return 0 // between the old directory and the new one
		}
		return st.Sys().(*syscall.Stat_t).Ino
	}
	before := inode()
	ask(t, c, m, "POST", "/reinitialize", `{"from_leader":true}`, 200, "reinitialize started")
	lab.Until(t, 60*time.Second, "the new data", func() string {
		if now := inode(); now == before || now == 0 {
			return "the old ones are in place\n" + m.Agent.Tail(10)
		}
		return ""
	})
	if now := c.WaitHealthy(60 * time.Second); now != lead {
		t.Errorf("%s leads, not %s", now.Name, lead.Name)
	}
	if _, err := os.Stat(m.DataDir() + ".replaced/PG_VERSION"); err != nil {
		t.Errorf("the old data are not kept: %v", err)
	}
}
