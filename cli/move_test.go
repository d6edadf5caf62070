package cli

import (
	"context"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api/apitest"
	"github.com/matriarch-ha/matriarch/cluster"
)

const before = `Current cluster topology
+ Cluster: lab (7412345678901234567) -----+----+-------------+-----+------------+-----+
| Member | Host     | Role    | State     | TL | Receive LSN | Lag | Replay LSN | Lag |
+--------+----------+---------+-----------+----+-------------+-----+------------+-----+
| n1     | 10.0.0.1 | Leader  | running   |  2 |             |     |            |     |
| n2     | 10.0.0.2 | Replica | streaming |  2 |   0/5000148 |   0 |  0/5000148 |   0 |
+--------+----------+---------+-----------+----+-------------+-----+------------+-----+
`

const after = `+ Cluster: lab (7412345678901234567) -----+----+-------------+-----+------------+-----+
| Member | Host     | Role    | State     | TL | Receive LSN | Lag | Replay LSN | Lag |
+--------+----------+---------+-----------+----+-------------+-----+------------+-----+
| n1     | 10.0.0.1 | Replica | streaming |  2 |     unknown |     |    unknown |     |
| n2     | 10.0.0.2 | Leader  | running   |  2 |             |     |            |     |
+--------+----------+---------+-----------+----+-------------+-----+------------+-----+
`

const stamp = "2026-11-22 23:05:46.12345 "

// obeying is the demo cluster where every request succeeds at once; seen are
// the requests.
func obeying(c *apitest.Cluster) (*apitest.Cluster, *[]cluster.Failover) {
	seen := &[]cluster.Failover{}
	c.OnFailover = func(c *apitest.Cluster, f cluster.Failover) {
		f.Version = ""
		*seen = append(*seen, f)
		if f.ScheduledAt == "" {
			c.MoveLeader("n2")
		}
	}
	return c, seen
}

func TestSwitchoverDialog(t *testing.T) {
	c, seen := obeying(demo())
	w := newWorld(t, c)
	w.run("\n\n\ny\n", "switchover").want(t, 0, before+
		"Primary [n1]: Candidate ['n2'] []: When should the switchover take place (e.g. 2026-11-23T00:05 )  [now]: "+
		"Are you sure you want to switchover cluster lab, demoting current leader n1? [y/N]: "+
		stamp+"Successfully switched over to \"n2\"\n"+after, "")
	if len(*seen) != 1 || (*seen)[0] != (cluster.Failover{Leader: "n1"}) {
		t.Errorf("requests %+v", *seen)
	}
}

func TestSwitchoverByOptions(t *testing.T) {
	c, seen := obeying(demo())
	w := newWorld(t, c)
	w.run("", "switchover", "--primary", "n1", "--candidate", "n2", "--force").want(t, 0, before+
		stamp+"Successfully switched over to \"n2\"\n"+after, "")
	if len(*seen) != 1 || (*seen)[0] != (cluster.Failover{Leader: "n1", Candidate: "n2"}) {
		t.Errorf("requests %+v", *seen)
	}
}

func TestScheduledSwitchover(t *testing.T) {
	c, seen := obeying(demo())
	w := newWorld(t, c)
	w.run("n1\nn2\n2030-01-01T10:00\ny\n", "switchover").contains(t, 0,
		"Are you sure you want to schedule switchover of cluster lab at 2030-01-01T10:00:00+00:00, demoting current leader n1? [y/N]: ",
		"Switchover scheduled", " Switchover scheduled at: 2030-01-01T10:00:00+00:00")
	if len(*seen) != 1 || (*seen)[0].ScheduledAt != "2030-01-01T10:00:00+00:00" {
		t.Errorf("requests %+v", *seen)
	}
}

func TestFailoverDialog(t *testing.T) {
	c, seen := obeying(demo())
	w := newWorld(t, c)
	w.run("n2\ny\n", "failover").want(t, 0, before+
		"Candidate ['n2'] []: Are you sure you want to failover cluster lab, demoting current leader n1? [y/N]: "+
		stamp+"Successfully failed over to \"n2\"\n"+after, "")
	if len(*seen) != 1 || (*seen)[0] != (cluster.Failover{Candidate: "n2"}) {
		t.Errorf("requests %+v", *seen)
	}
}

// TestStoppedBeforeTheRequest: nothing is asked of the cluster.
func TestStoppedBeforeTheRequest(t *testing.T) {
	synchronous := func(v *cluster.View) {
		v.Config.JSON = `{"synchronous_mode":true}`
		v.Sync = cluster.SyncState{Leader: "n1", Standbys: []string{"n2"}}
	}
	paused := func(v *cluster.View) { v.Config.JSON = `{"pause":true}` }
	leaderless := func(v *cluster.View) { v.Leader = cluster.Leader{} }
	for _, c := range []struct {
		args, stdin string
		edit        func(*cluster.View)
		text        string
	}{
		{"switchover", "\n\n\nn\n", nil, "Error: Aborting switchover"},
		{"switchover", "\n\n\n", nil, "Aborted!"},
		{"switchover", "", nil, "Aborted!"},
		{"switchover", "nobody\n", nil, "Error: Member nobody is not the leader of cluster lab"},
		{"switchover --leader n2 --force", "", nil, "Error: Member n2 is not the leader of cluster lab"},
		{"switchover", "", leaderless, "Error: This cluster has no leader"},
		{"switchover --candidate n3 --force", "", nil, "Error: Member n3 does not exist in cluster lab or is tagged as nofailover"},
		{"switchover --candidate n1 --force", "", nil, "Error: Member n1 is already the leader of cluster lab"},
		{"switchover --scheduled soon --force", "", nil, "Error: Unable to parse scheduled timestamp (soon)"},
		{"switchover --scheduled 2030-01-01T10:00 --force", "", paused, "Error: Can't schedule switchover in the paused state"},
		{"failover", "\n", nil, "Error: Failover could be performed only to a specific candidate"},
		{"failover --force", "", nil, "Error: Failover could be performed only to a specific candidate"},
		{"failover", "n4\nn\n", synchronous, "Are you sure you want to failover to the asynchronous node n4? [y/N]: Error: Aborting failover"},
		{"failover", "n2\nmaybe\nn\n", synchronous, "[y/N]: Error: invalid input"},
		{"failover --candidate n2", "n\n", func(v *cluster.View) { v.Members = v.Members[:1] }, "Error: No candidates found to failover to"},
	} {
		cl, seen := obeying(demo())
		w := newWorld(t, cl)
		cl.Change(func(v *cluster.View) {
			if strings.HasPrefix(c.stdin, "n4") {
				m := v.Members[1]
				m.Name = "n4"
				v.Members = append(v.Members, m)
			}
			if c.edit != nil {
				c.edit(v)
			}
		})
		for _, patronictl := range []bool{false, true} { // both names end with 1
			w.opts.Patronictl = patronictl
			r := w.run(c.stdin, strings.Fields(c.args)...)
			if r.code != 1 || !strings.Contains(r.out+r.err, c.text) {
				t.Errorf("%s: exit %d, lacks %q\n%s%s", c.args, r.code, c.text, r.out, r.err)
			}
		}
		if len(*seen) != 0 {
			t.Errorf("%s: requests %+v", c.args, *seen)
		}
	}
}

// TestRefusedByTheMember: the exit code tells, except under the old name.
func TestRefusedByTheMember(t *testing.T) {
	w := newWorld(t, demo())
	w.members["n1"].Refuse = map[string]string{"n2": "watchdog failed"}
	text := before + "Switchover failed, details: 412, switchover is not possible: no good candidates have been found (n2: watchdog failed)\n"
	w.run("", "switchover", "--candidate", "n2", "--force").want(t, 1, text, "")
	w.opts.Patronictl = true
	w.run("", "switchover", "--candidate", "n2", "--force").want(t, 0, text, "")
}

func TestFailedSwitchover(t *testing.T) {
	w := newWorld(t, demo())
	w.c.OnFailover = func(c *apitest.Cluster, _ cluster.Failover) {
		c.Change(func(v *cluster.View) { v.Failover = cluster.Failover{} })
	}
	w.run("", "switchover", "--candidate", "n2", "--force").want(t, 1, before+"Switchover failed, details: 503, Switchover failed\n", "")
}

// TestFollowedBeyondTheAnswer: the member stops waiting, the command does not.
func TestFollowedBeyondTheAnswer(t *testing.T) {
	w := newWorld(t, demo())
	var out syncBuffer
	root := NewWith(w.opts)
	root.SetOut(&out)
	root.SetArgs([]string{"--api", w.url, "switchover", "--candidate", "n2", "--force"})
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(t.Context()) }()
	for !strings.Contains(out.String(), "Switchover still running after 2 seconds") {
		time.Sleep(10 * time.Millisecond)
	}
	w.c.MoveLeader("n2")
	if err := <-done; err != nil || !strings.HasSuffix(out.String(), "Member \"n2\" leads now\n"+after) {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestLeaderNotReachable(t *testing.T) {
	c, seen := obeying(demo())
	w := newWorld(t, c)
	dead := httptest.NewServer(nil)
	dead.Close()
	c.Change(func(v *cluster.View) { v.Members[0].APIURL = dead.URL + "/patroni" })
	// The first member answers /cluster, its published address does not.
	w.run("", "switchover", "--force").contains(t, 0, "connection refused", `Successfully switched over to "n2"`)
	if len(*seen) != 1 {
		t.Errorf("requests %+v", *seen)
	}
}

// TestInterruptedQuestion: who presses Ctrl-C wants no other question.
func TestInterruptedQuestion(t *testing.T) {
	w := newWorld(t, demo())
	silent, _ := io.Pipe()
	var out syncBuffer
	root := NewWith(w.opts)
	root.SetOut(&out)
	root.SetIn(silent)
	root.SetArgs([]string{"--api", w.url, "switchover"})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(ctx) }()
	for !strings.HasSuffix(out.String(), "Primary [n1]: ") {
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	if err := <-done; err == nil || err.Error() != "Aborted!" {
		t.Error(err)
	}
	if got := w.requests(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// TestAsynchronousWithoutStandbys: in synchronous mode every member is
// asynchronous while none is listed.
func TestAsynchronousWithoutStandbys(t *testing.T) {
	w := newWorld(t, demo())
	w.c.Change(func(v *cluster.View) { v.Config.JSON = `{"synchronous_mode":true}` })
	w.run("n2\nn\n", "failover").contains(t, 1, "failover to the asynchronous node n2?", "Aborting failover")
}
