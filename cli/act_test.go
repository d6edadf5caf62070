package cli

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/cluster"
)

const shown = `+ Cluster: lab (7412345678901234567) -----+----+-------------+-----+------------+-----+
| Member | Host     | Role    | State     | TL | Receive LSN | Lag | Replay LSN | Lag |
+--------+----------+---------+-----------+----+-------------+-----+------------+-----+
| n1     | 10.0.0.1 | Leader  | running   |  2 |             |     |            |     |
| n2     | 10.0.0.2 | Replica | streaming |  2 |   0/5000148 |   0 |  0/5000148 |   0 |
+--------+----------+---------+-----------+----+-------------+-----+------------+-----+
`

func (w *world) wantRequests(want ...string) {
	w.t.Helper()
	if got := w.requests(); !slices.Equal(got, want) {
		w.t.Errorf("requests\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestReload(t *testing.T) {
	w := newWorld(t, demo())
	w.reply("n1 POST /reload", 202, "reload scheduled")
	w.reply("n2 POST /reload", 200, "")
	result := "Reload request received for member n1 and will be processed within 1 seconds\nNo changes to apply on member n2\n"
	w.run("y\n", "reload", "lab").want(t, 0, shown+"Are you sure you want to reload members n1, n2? [y/N]: "+result, "")
	w.wantRequests("n1 POST /reload", "n2 POST /reload")
	w.run("", "reload", "--force").want(t, 0, result, "")
	w.run("", "reload", "lab", "n2", "--force").want(t, 0, "No changes to apply on member n2\n", "")
	w.run("n\n", "reload", "lab", "-r", "leader").want(t, 1, shown+"Are you sure you want to reload members n1? [y/N]: ", "Error: Aborted reload")
	w.run("", "reload", "lab").contains(t, 1, "Aborted!")
	w.run("", "reload", "lab", "n2", "-r", "leader", "--force").contains(t, 1, "Error: No leader among provided members")
	w.run("", "reload", "lab", "n7", "--force").contains(t, 1, "Error: n7 is not a member of cluster")
	w.run("", "reload", "lab", "-r", "x").contains(t, 2, `"x" is not one of leader, primary`)
	w.requests()
	w.reply("n2 POST /reload", 403, "Access is denied")
	text := "Reload request received for member n1 and will be processed within 1 seconds\nFailed: reload for member n2, status code=403, (Access is denied)\n"
	w.run("", "reload", "lab", "--force").want(t, 1, text, "")
	w.opts.Patronictl = true
	w.run("", "reload", "lab", "--force").want(t, 0, text, "")
	w.c.Change(func(v *cluster.View) { v.Members[1].APIURL = deadURL() })
	w.run("", "reload", "lab", "--force").contains(t, 1, "Failed: reload for member n2, it could not be asked", "connection refused")
}

func TestRestartDialog(t *testing.T) {
	w := newWorld(t, demo())
	w.opts.timing.every = time.Hour // the answer comes first, however slow the machine
	w.reply("n1 POST /restart", 200, "restarted successfully")
	w.reply("n2 POST /restart", 200, "restarted successfully")
	when := "When should the restart take place (e.g. 2026-11-23T00:05)  [now]: "
	version := "Restart if the PostgreSQL version is less than provided (e.g. 9.5.2)  []: "
	// The leader last.
	w.run("\ny\n\n", "restart", "lab").want(t, 0, shown+when+"Are you sure you want to restart members n2, n1? [y/N]: "+version+
		"Success: restart on member n2\nSuccess: restart on member n1\n", "")
	w.wantRequests("n1 POST /restart {}", "n2 POST /restart {}")
	w.run("now\ny\n15.19\n", "restart", "lab", "n2", "--timeout", "1min").contains(t, 0, "Success: restart on member n2")
	w.wantRequests(`n2 POST /restart {"postgres_version":"15.19","timeout":"1min"}`)
	w.run("\nn\n", "restart", "lab", "n2").contains(t, 1, "Error: Aborted restart")
	w.run("\ny\nnine\n", "restart", "lab", "n2").contains(t, 1, "Error: Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: nine")
	w.run("soon\n", "restart", "lab", "n2").contains(t, 1, "Error: Unable to parse scheduled timestamp (soon). It should be in an unambiguous format (e.g. ISO 8601)")
	w.wantRequests()
	w.opts.Patronictl = true
	w.run("\ny\n\n", "restart", "lab").want(t, 0, shown+when+"Are you sure you want to restart members n1, n2? [y/N]: "+version+
		"Success: restart on member n1\nSuccess: restart on member n2\n", "")
}

func TestRestartChoosesMembers(t *testing.T) {
	w := newWorld(t, three())
	w.opts.timing.every = time.Hour // the answer comes first, however slow the machine
	for _, n := range []string{"n1", "n2", "n3"} {
		w.reply(n+" POST /restart", 200, "restarted successfully")
	}
	w.run("", "restart", "lab", "--pending", "--force").want(t, 0, "Success: restart on member n3\n", "")
	w.wantRequests(`n3 POST /restart {"restart_pending":true}`)
	w.run("", "restart", "lab", "--any", "--force", "-r", "replica").contains(t, 0, "Success: restart on member n")
	if got := w.requests(); len(got) != 1 || got[0] == "n1 POST /restart {}" {
		t.Errorf("%q", got)
	}
	w.run("", "restart", "lab", "n1", "n2", "--pending", "--force").want(t, 0, "No member waits for a restart\n", "")
	w.wantRequests()
}

// TestRestartStopsAtAFailure: what went wrong on one member is not repeated on
// the others; under the old name it is.
func TestRestartStopsAtAFailure(t *testing.T) {
	w := newWorld(t, three())
	w.opts.timing.every = time.Hour // the answer comes first, however slow the machine
	w.reply("n1 POST /restart", 200, "restarted successfully")
	w.reply("n2 POST /restart", 503, "restart failed")
	w.reply("n3 POST /restart", 200, "restarted successfully")
	failed := "Failed: restart for member n2, status code=503, (restart failed)\n"
	w.run("", "restart", "lab", "--force").want(t, 1, failed+"Not restarted: n3, n1\n", "")
	w.reply("n2 POST /restart", 503, "restart conditions are not satisfied")
	w.run("", "restart", "lab", "--force", "--pg-version", "15.19").want(t, 1,
		"Failed: restart for member n2, status code=503, (restart conditions are not satisfied)\nSuccess: restart on member n3\nSuccess: restart on member n1\n", "")
	w.opts.Patronictl = true
	w.reply("n2 POST /restart", 503, "restart failed")
	w.run("", "restart", "lab", "--force").want(t, 0, "Success: restart on member n1\n"+failed+"Success: restart on member n3\n", "")
}

func TestScheduledRestart(t *testing.T) {
	w := newWorld(t, demo())
	w.reply("n1 POST /restart", 202, "Restart scheduled")
	w.reply("n2 POST /restart", 409, "Another restart is already scheduled")
	text := "Success: restart scheduled on member n1\nFailed: another restart is already scheduled on member n2\n"
	w.run("2030-01-01T03:00\ny\n\n", "restart", "lab", "-r", "any").contains(t, 1,
		"Are you sure you want to schedule restart of members n2, n1 at 2030-01-01T03:00:00+00:00? [y/N]: ",
		"Success: restart scheduled on member n1", "Failed: another restart is already scheduled on member n2")
	w.wantRequests(`n1 POST /restart {"schedule":"2030-01-01T03:00:00+00:00"}`, `n2 POST /restart {"schedule":"2030-01-01T03:00:00+00:00"}`)
	w.opts.Patronictl = true
	w.run("", "restart", "lab", "--scheduled", "2030-01-01 03:00+02", "--force").want(t, 0, text, "")
	w.wantRequests(`n1 POST /restart {"schedule":"2030-01-01T03:00:00+02:00"}`, `n2 POST /restart {"schedule":"2030-01-01T03:00:00+02:00"}`)
	w.run("n\n", "restart", "lab", "--scheduled", "2030-01-01 03:00+02").contains(t, 1, "Error: Aborted scheduled restart")
	w.c.Change(func(v *cluster.View) { v.Config.JSON = `{"pause":true}` })
	w.run("", "restart", "lab", "--scheduled", "2030-01-01 03:00", "--force").contains(t, 1, "Error: Can't schedule restart in the paused state")
	w.wantRequests()
}

// scheduledOn makes a member publish a scheduled restart in every answer.
func (w *world) scheduledOn(name string) {
	doc := api.Cluster("lab", w.c.View(), cluster.DefaultSettings())
	for i := range doc.Members {
		if doc.Members[i].Name == name {
			doc.Members[i].Scheduled = &api.RestartDoc{Schedule: "2030-01-01T03:00:00+00:00", PostgresVersion: "15.19"}
		}
	}
	for _, m := range doc.Members {
		w.fake(m.Name+" GET /cluster", jsonAnswer(doc))
	}
}

func TestScheduledRestartIsReplacedByForce(t *testing.T) {
	w := newWorld(t, demo())
	w.scheduledOn("n2")
	w.reply("n2 DELETE /restart", 200, "scheduled restart deleted")
	w.reply("n1 POST /restart", 202, "Restart scheduled")
	w.reply("n2 POST /restart", 202, "Restart scheduled")
	w.run("", "list").contains(t, 0, "| Scheduled restart                            |", "| 2030-01-01T03:00:00+00:00 if version < 15.19 |")
	w.run("", "restart", "lab", "--scheduled", "2030-01-02T03:00", "--force").contains(t, 0, "Success: restart scheduled on member n2")
	w.wantRequests(`n1 POST /restart {"schedule":"2030-01-02T03:00:00+00:00"}`, "n2 DELETE /restart", `n2 POST /restart {"schedule":"2030-01-02T03:00:00+00:00"}`)
}

func TestFlush(t *testing.T) {
	w := newWorld(t, demo())
	w.scheduledOn("n2")
	w.reply("n2 DELETE /restart", 200, "scheduled restart deleted")
	text := "No scheduled restart for member n1\nSuccess: flush scheduled restart for member n2\n"
	w.run("y\n", "flush", "lab", "restart").contains(t, 0, "Are you sure you want to flush members n1, n2? [y/N]: "+text)
	w.run("", "flush", "lab", "n1", "restart", "--force").want(t, 0, "No scheduled restart for member n1\n", "")
	w.wantRequests("n2 DELETE /restart")
	w.reply("n2 DELETE /restart", 404, "no restarts are scheduled")
	w.run("", "flush", "restart", "--force").contains(t, 1, "Failed: flush scheduled restart for member n2, status code=404, (no restarts are scheduled)")
	w.run("", "flush", "lab").contains(t, 2, `"lab" is not one of restart, switchover`)
	w.run("", "flush").contains(t, 2, "restart or switchover")
	w.opts.Patronictl = true
	w.run("", "flush", "restart", "--force").contains(t, 2, "Missing argument")
}

func TestFlushSwitchover(t *testing.T) {
	w := newWorld(t, demo())
	w.run("", "flush", "lab", "switchover").want(t, 0, "No pending scheduled switchover\n", "")
	schedule := func() {
		w.c.Change(func(v *cluster.View) {
			v.Failover = cluster.Failover{Leader: "n1", ScheduledAt: "2030-01-01T10:00:00+00:00", Version: "5"}
		})
	}
	schedule()
	w.run("", "flush", "switchover").want(t, 0, "Success: scheduled switchover deleted\n", "")
	if f := w.c.View().Failover; f.Requested() {
		t.Errorf("%+v", f)
	}
	schedule()
	w.reply("n1 DELETE /switchover", 404, "no switchover is scheduled")
	w.run("", "flush", "switchover").want(t, 1, "Failed: no switchover is scheduled\n", "")
	w.opts.Patronictl = true
	w.run("", "flush", "lab", "switchover").want(t, 0, "Failed: no switchover is scheduled\n", "")
}

// TestFlushSwitchoverInTheStore: nobody answers.
func TestFlushSwitchoverInTheStore(t *testing.T) {
	w := newWorld(t, demo())
	w.die()
	server := w.stored()
	store := server.Connect()
	f := cluster.Failover{Leader: "n1", ScheduledAt: "2030-01-01T10:00:00+00:00"}
	if _, err := store.Put(t.Context(), "failover", `{"leader":"n1","scheduled_at":"`+f.ScheduledAt+`"}`, always()); err != nil {
		t.Fatal(err)
	}
	w.exec("", "-d", "etcd3://h", "flush", "lab", "switchover").contains(t, 0, "Could not find any accessible member of cluster lab", "Success: scheduled switchover deleted", "withdrawn in the store")
	if f := keys(t, server).Failover; f.Requested() {
		t.Errorf("%+v", f)
	}
}

// TestRestartIsWatched: what the member does meanwhile is told; a member that
// gives no sign of life ends the wait, and so does the end of the patience.
func TestRestartIsWatched(t *testing.T) {
	w := newWorld(t, demo())
	looks := make(chan string, 100)
	release := make(chan bool)
	w.fake("n2 POST /restart", func(rw http.ResponseWriter, _ *http.Request) {
		<-release
		io.WriteString(rw, "restarted successfully")
	})
	var n atomic.Int32
	w.edit("n2", func(s *api.Status) {
		switch n.Add(1) {
		case 1, 2: // the title of the list, the state before
		case 3:
			s.State = "stopping"
		default:
			s.State = "starting"
			select {
			case looks <- "":
			default:
			}
		}
	})
	go func() { <-looks; <-looks; close(release) }()
	r := w.run("", "restart", "lab", "n2", "--force")
	r.contains(t, 0, "Success: restart on member n2", "n2: stopping", "n2: starting")
	if strings.Count(r.err, "n2: starting") != 1 {
		t.Errorf("told more than once:\n%s", r.err)
	}
}

// TestRestartThatGoesOn: the member's own wait ended before the restart did, which
// is no failure.
func TestRestartThatGoesOn(t *testing.T) {
	w := newWorld(t, demo())
	w.opts.timing.long = 200 * time.Millisecond
	w.reply("n2 POST /restart", 503, "restart still running after 420 seconds")
	w.run("", "restart", "lab", "n2", "--force").contains(t, 3, "Restart of member n2 still running")
	var asked atomic.Bool
	w.fake("n2 POST /restart", func(rw http.ResponseWriter, _ *http.Request) {
		asked.Store(true)
		rw.WriteHeader(503)
		io.WriteString(rw, "restart still running after 420 seconds")
	})
	w.edit("n2", func(s *api.Status) {
		if asked.Load() {
			s.Server.Started = s.Server.Started.Add(time.Hour)
		}
	})
	w.run("", "restart", "lab", "n2", "--force").contains(t, 0, "Success: restart on member n2\n")
}

// TestRestartOfAHungMember: it hangs when it has the request; or before, and
// then gets none.
func TestRestartOfAHungMember(t *testing.T) {
	w := newWorld(t, demo())
	w.fake("n2 POST /restart", func(_ http.ResponseWriter, r *http.Request) {
		w.reply("n2 GET /patroni", 503, "")
		<-r.Context().Done()
	})
	begin := time.Now()
	r := w.run("", "restart", "lab", "--force")
	r.contains(t, 3, "Restart of member n2 still running: no answer for", "follow it with: matriarch list -W", "Not restarted: n1")
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("took %s", took)
	}
	w.requests()
	w.fake("n2 GET /patroni", func(rw http.ResponseWriter, _ *http.Request) {
		conn, _, err := rw.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	})
	w.run("", "restart", "lab", "--force").want(t, 1,
		"Failed: restart for member n2, it could not be asked: GET "+strings.TrimSuffix(w.c.View().Members[1].APIURL, "/patroni")+"/patroni: EOF\nNot restarted: n1\n", "")
	w.wantRequests()
}

func TestRestartWithoutChange(t *testing.T) {
	w := newWorld(t, demo())
	w.opts.timing.long = 100 * time.Millisecond
	w.hang("n2 POST /restart")
	w.run("", "restart", "lab", "n2", "--force").contains(t, 3, "Restart of member n2 still running: running, unchanged for")
}

// TestRestartWhoseAnswerIsLost: the server's start time tells the outcome.
func TestRestartWhoseAnswerIsLost(t *testing.T) {
	w := newWorld(t, demo())
	var restarted atomic.Bool
	w.fake("n2 POST /restart", func(rw http.ResponseWriter, _ *http.Request) {
		restarted.Store(true)
		conn, _, err := rw.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	})
	w.edit("n2", func(s *api.Status) {
		if restarted.Load() {
			s.Server.Started = s.Server.Started.Add(time.Hour)
		}
	})
	w.run("", "restart", "lab", "n2", "--force").contains(t, 0, "Success: restart on member n2\n")
}

// copied makes a member report a copy and then another server.
func (w *world) copied(name string, steps int32) {
	var n atomic.Int32
	w.reply(name+" POST /reinitialize", 200, "reinitialize started")
	w.edit(name, func(s *api.Status) {
		w.mu.Lock()
		asked := slices.ContainsFunc(w.seen, func(r string) bool { return strings.HasPrefix(r, name+" POST /reinitialize") })
		w.mu.Unlock()
		if !asked {
			return
		}
		switch i := n.Add(1); {
		case i == 1: // it has not begun yet
		case i < steps:
			s.State, s.Facts, s.Task, s.Progress = "creating replica", false, "clone", strings.Repeat("1", int(i))+" MB copied"
		default:
			s.Server.Started = s.Server.Started.Add(time.Hour)
		}
	})
}

func TestReinit(t *testing.T) {
	w := newWorld(t, demo())
	w.reply("n2 POST /reinitialize", 200, "reinitialize started")
	dialog := shown + "Which member do you want to reinitialize [n2]? []: Are you sure you want to reinitialize members n2? [y/N]: "
	w.run("n2\ny\n", "reinit", "lab").want(t, 0, dialog+"Success: reinitialize for member n2\n",
		"It goes on in the background; follow it with: matriarch list -W\n")
	w.wantRequests(`n2 POST /reinitialize {"force":false,"from_leader":false}`)
	w.run("", "reinit", "lab", "n2", "--force", "--from-leader").contains(t, 0, "Success")
	w.wantRequests(`n2 POST /reinitialize {"force":true,"from_leader":true}`)
	w.run("n2\nn\n", "reinit", "lab").contains(t, 1, "Error: Aborted reinitialize")
	w.run("n1\n", "reinit", "lab").contains(t, 1, "Error: No replica among provided members")
	w.run("", "reinit", "lab", "--force").contains(t, 1, "Error: name the members")
	w.wantRequests()
	w.reply("n2 POST /reinitialize", 503, "Cluster has no leader, can not reinitialize")
	text := "Failed: reinitialize for member n2, status code=503, (Cluster has no leader, can not reinitialize)\n"
	w.run("", "reinit", "lab", "n2", "--force").want(t, 1, text, "")
	w.opts.Patronictl = true
	w.run("", "reinit", "lab", "n2", "--force").want(t, 0, text, "")
}

func TestReinitInsists(t *testing.T) {
	w := newWorld(t, demo())
	w.fake("n2 POST /reinitialize", func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), `"force":true`) {
			rw.WriteHeader(503)
			io.WriteString(rw, "restart already in progress")
		}
	})
	busy := "Failed: reinitialize for member n2, status code=503, (restart already in progress)\nDo you want to cancel it and reinitialize anyway? [y/N]: "
	r := w.run("y\ny\n", "reinit", "lab", "n2")
	r.contains(t, 0, busy+"Success: reinitialize for member n2\n")
	w.wantRequests(`n2 POST /reinitialize {"force":false,"from_leader":false}`, `n2 POST /reinitialize {"force":true,"from_leader":false}`)
	r = w.run("y\nn\n", "reinit", "lab", "n2")
	r.contains(t, 1, busy)
	if strings.Count(r.out, "Failed") != 1 {
		t.Errorf("told twice:\n%s", r.out)
	}
}

func TestReinitWait(t *testing.T) {
	w := newWorld(t, demo())
	w.copied("n2", 4)
	text := "Success: reinitialize for member n2\nWaiting for reinitialize to complete on: n2\nReinitialize is completed on: n2\n"
	r := w.run("", "reinit", "lab", "n2", "--force", "--wait")
	r.contains(t, 0, text, "n2: creating replica, clone: 11 MB copied", "n2: creating replica, clone: 111 MB copied")
	w.requests()
	w.copied("n2", 4)
	w.opts.Patronictl = true
	w.run("", "reinit", "lab", "n2", "--force", "--wait").want(t, 0, text, "")
	w.requests()
	w.copied("n2", 1<<30)
	w.opts.Patronictl = false
	w.reply("n2 GET /patroni", 503, "")
	w.run("", "reinit", "lab", "n2", "--force", "--wait").contains(t, 3, "Reinitialize of member n2 still running: no answer for", "follow it with")
}

// TestSwitchoverIsWatched: the member that was asked says nothing, but what
// happens is seen, and the command ends.
func TestSwitchoverIsWatched(t *testing.T) {
	w := newWorld(t, demo())
	w.opts.timing.move = 5 * time.Second
	w.hang("n1 GET /cluster", "n1 GET /patroni")
	w.fake("n1 POST /switchover", func(_ http.ResponseWriter, r *http.Request) {
		w.c.MoveLeader("n2")
		<-r.Context().Done()
	})
	url := w.c.View().Members[1].APIURL
	w.exec("", "--api", url, "switchover", "--candidate", "n2", "--force").want(t, 0, before+stamp+"Member \"n2\" leads now\n"+after, "")
	w.c.MoveLeader("n1")
	w.hang("n1 POST /switchover")
	w.opts.timing.move = 200 * time.Millisecond
	w.exec("", "--api", url, "switchover", "--candidate", "n2", "--force").contains(t, 3, `Switchover still running, no answer to the request: "n1" leads now; follow it with`)
}
