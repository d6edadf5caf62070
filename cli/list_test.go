package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
)

func TestListPretty(t *testing.T) {
	w := newWorld(t, demo())
	w.c.Change(func(v *cluster.View) { v.Config.JSON = `{"pause":true}` })
	w.run("", "list").want(t, 0, `+ Cluster: lab (7412345678901234567) -----+----+-------------+-----+------------+-----+
| Member | Host     | Role    | State     | TL | Receive LSN | Lag | Replay LSN | Lag |
+--------+----------+---------+-----------+----+-------------+-----+------------+-----+
| n1     | 10.0.0.1 | Leader  | running   |  2 |             |     |            |     |
| n2     | 10.0.0.2 | Replica | streaming |  2 |   0/5000148 |   0 |  0/5000148 |   0 |
+--------+----------+---------+-----------+----+-------------+-----+------------+-----+
 Maintenance mode: on
`, "")
}

func TestListFormats(t *testing.T) {
	w := newWorld(t, demo())
	w.run("", "list", "-f", "tsv").want(t, 0, "Cluster\tMember\tHost\tRole\tState\tTL\tReceive LSN\tReceive Lag\tReplay LSN\tReplay Lag\n"+
		"lab\tn1\t10.0.0.1\tLeader\trunning\t2\t\t\t\t\n"+
		"lab\tn2\t10.0.0.2\tReplica\tstreaming\t2\t0/5000148\t0\t0/5000148\t0\n", "")
	w.run("", "list", "-f", "json").want(t, 0, `[{"Cluster": "lab", "Member": "n1", "Host": "10.0.0.1", "Role": "Leader", "State": "running", "TL": 2}, `+
		`{"Cluster": "lab", "Member": "n2", "Host": "10.0.0.2", "Role": "Replica", "State": "streaming", "TL": 2, "Receive LSN": "0/5000148", "Receive Lag": 0, "Replay LSN": "0/5000148", "Replay Lag": 0}]`+"\n", "")
	w.run("", "list", "-f", "yml").want(t, 0, `- Cluster: lab
  Host: 10.0.0.1
  Member: n1
  Role: Leader
  State: running
  TL: 2
- Cluster: lab
  Host: 10.0.0.2
  Member: n2
  Receive LSN: 0/5000148
  Receive Lag: 0
  Replay LSN: 0/5000148
  Replay Lag: 0
  Role: Replica
  State: streaming
  TL: 2
`, "")
	w.run("", "list", "-f", "xml").contains(t, 2, `"xml" is not one of pretty`)
}

func TestListWithSeveralLines(t *testing.T) {
	w := newWorld(t, three())
	w.run("", "list").want(t, 0, `+ Cluster: lab (7412345678901234567) ----------+----+-------------+-----+------------+-----+-----------------+-----------------------------------------------+-------------------+
| Member | Host          | Role    | State     | TL | Receive LSN | Lag | Replay LSN | Lag | Pending restart | Pending restart reason                        | Tags              |
+--------+---------------+---------+-----------+----+-------------+-----+------------+-----+-----------------+-----------------------------------------------+-------------------+
| n1     | 10.0.0.1:5432 | Leader  | running   |  2 |             |     |            |     |                 |                                               |                   |
+--------+---------------+---------+-----------+----+-------------+-----+------------+-----+-----------------+-----------------------------------------------+-------------------+
| n2     | 10.0.0.2:5432 | Replica | streaming |  2 |   0/5300148 |   0 |  0/5180148 |   2 |                 |                                               |                   |
+--------+---------------+---------+-----------+----+-------------+-----+------------+-----+-----------------+-----------------------------------------------+-------------------+
| n3     | 10.0.0.2:5433 | Replica | starting  |    |     unknown |     |    unknown |     | *               | max_connections: 100->200                     | nofailover: true  |
|        |               |         |           |    |             |     |            |     |                 | shared_preload_libraries: [hidden - too long] | replicatefrom: n2 |
|        |               |         |           |    |             |     |            |     |                 |                                               | zone: b           |
+--------+---------------+---------+-----------+----+-------------+-----+------------+-----+-----------------+-----------------------------------------------+-------------------+
`, "")
}

func TestTopology(t *testing.T) {
	w := newWorld(t, three())
	w.run("", "topology").contains(t, 0,
		"| n1     | 10.0.0.1:5432 | Leader  | running   |  2 |", "| + n2   | 10.0.0.2:5432 | Replica | streaming |  2 |   0/5300148 |   0 |  0/5180148 |   2 |",
		"|   + n3 | 10.0.0.2:5433 | Replica | starting  |    |     unknown |     |    unknown |     |",
		"shared_preload_libraries: [hidden - too long]", "| max_connections: 100->200", "| nofailover: true", "| replicatefrom: n2", "| zone: b")
	w.run("", "list", "-f", "tsv").contains(t, 0, "\t{nofailover: true, replicatefrom: n2, zone: b}\n")
}

func TestExtendedShowsGuards(t *testing.T) {
	w := newWorld(t, demo())
	w.run("", "list", "-e").contains(t, 0, "| Pending restart | Pending restart reason | Scheduled restart | Tags | Guarded |", "| yes     |")
	w.opts.Patronictl = true
	if r := w.run("", "list", "-e", "-t"); strings.Contains(r.out, "Guarded") || !strings.HasPrefix(r.out, "2026-11-22 23:05:46\n+ Cluster") {
		t.Errorf("%s", r.out)
	}
}

func TestScheduledFooter(t *testing.T) {
	w := newWorld(t, demo())
	w.c.Change(func(v *cluster.View) {
		v.Failover = cluster.Failover{Leader: "n1", Candidate: "n2", ScheduledAt: "2030-01-01T10:00:00+00:00"}
	})
	r := w.run("", "list")
	if want := ` Switchover scheduled at: 2030-01-01T10:00:00+00:00
                    from: n1
                      to: n2
`; !strings.HasSuffix(r.out, want) {
		t.Errorf("%s", r.out)
	}
}

// After a clean stop that nobody has the last record of, list says who is waited
// for and what not waiting costs; the reference's own list says nothing.
func TestWaitForTheLastRecord(t *testing.T) {
	w := newWorld(t, three())
	handover := cluster.Handover{Leader: "n1", Timeline: 2, LSN: 0x5300200, Version: "9"}
	w.c.Change(func(v *cluster.View) {
		v.Handover, v.Leader, v.Members = handover, cluster.Leader{}, v.Members[1:]
	})
	const line = " Nobody leads: n1 stopped cleanly at 0/5300200 on timeline 2, and all wait for its last record: start it or another member that has that, " +
		"or name one with `matriarch failover --candidate`, which loses what that one lacks (n2 184 bytes, n3 an unknown part)\n"
	for _, command := range []string{"list", "topology"} {
		if r := w.run("", command); !strings.HasSuffix(r.out, "+\n"+line) {
			t.Errorf("%s: %s", command, r.out)
		}
	}
	w.opts.Patronictl = true
	if r := w.run("", "list"); !strings.HasSuffix(r.out, "+\n") {
		t.Errorf("patronictl says more than the reference: %s", r.out)
	}
	w.opts.Patronictl = false
	for what, change := range map[string]func(*cluster.View){
		"somebody leads":           func(v *cluster.View) { v.Leader = cluster.Leader{Name: "n2", Session: "s2"} },
		"no record":                func(v *cluster.View) { v.Handover = cluster.Handover{} },
		"the record binds a while": func(v *cluster.View) { v.Config.JSON = `{"missing_last_record":"lose"}` },
	} {
		w.c.Change(func(v *cluster.View) {
			v.Handover, v.Leader, v.Config.JSON = handover, cluster.Leader{}, "{}"
			change(v)
		})
		if r := w.run("", "list"); strings.Contains(r.out, "Nobody leads") {
			t.Errorf("%s: %s", what, r.out)
		}
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	w := newWorld(t, demo())
	w.opts.Screen = &Screen{Columns: 200, Lines: 40}
	root := NewWith(w.opts)
	var out syncBuffer
	root.SetOut(&out)
	root.SetArgs([]string{"--api", w.url, "list", "-w", "0.01"})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(ctx) }()
	for strings.Count(out.String(), "\x1b[H\x1b[2J+ Cluster") < 3 {
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHistoryDsnVersion(t *testing.T) {
	w := newWorld(t, demo())
	w.run("", "history").want(t, 0, "+----+-----+--------+-----------+------------+\n| TL | LSN | Reason | Timestamp | New Leader |\n+----+-----+--------+-----------+------------+\n", "")
	w.c.Change(func(v *cluster.View) {
		v.History.Lines = []cluster.HistoryLine{{Timeline: 1, LSN: 67108864, Reason: "no recovery target specified", Timestamp: "2024-05-01T10:00:00.1+00:00", NewLeader: "n2"},
			{Timeline: 2, LSN: 67108900, Reason: "x"}}
	})
	w.run("", "history").want(t, 0, `+----+----------+------------------------------+-----------------------------+------------+
| TL |      LSN | Reason                       | Timestamp                   | New Leader |
+----+----------+------------------------------+-----------------------------+------------+
|  1 | 67108864 | no recovery target specified | 2024-05-01T10:00:00.1+00:00 | n2         |
|  2 | 67108900 | x                            |                             |            |
+----+----------+------------------------------+-----------------------------+------------+
`, "")
	w.run("", "history", "-f", "json").want(t, 0, `[{"TL": 1, "LSN": 67108864, "Reason": "no recovery target specified", "Timestamp": "2024-05-01T10:00:00.1+00:00", "New Leader": "n2"}, `+
		`{"TL": 2, "LSN": 67108900, "Reason": "x", "Timestamp": "", "New Leader": ""}]`+"\n", "")

	w.run("", "dsn").want(t, 0, "host=10.0.0.1 port=5432\n", "")
	w.run("", "dsn", "-r", "replica").want(t, 0, "host=10.0.0.2 port=5432\n", "")
	w.run("", "dsn", "-m", "n2").want(t, 0, "host=10.0.0.2 port=5432\n", "")
	w.run("", "dsn", "-r", "standby-leader").want(t, 1, "", "Error: Can not find a suitable member")
	w.run("", "dsn", "-r", "x").contains(t, 2, "is not one of")
	w.run("", "dsn", "-r", "any", "-m", "n1").contains(t, 2, "mutually exclusive")

	w.exec("", "version").want(t, 0, "matriarch version 0.1.0\n", "")
	w.run("", "version", "lab", "n2").want(t, 0, "matriarch version 0.1.0\n\nn2: Matriarch 0.1.0 PostgreSQL 15.18\n", "")
	w.opts.Patronictl = true
	w.run("", "version", "lab", "n2").want(t, 0, "patronictl version 0.1.0\n\nn2: Patroni 4.1.5 PostgreSQL 15.18\n", "")
}

func TestEveryCommandHasHelp(t *testing.T) {
	w := newWorld(t, demo())
	for _, c := range NewWith(w.opts).Commands() {
		if !c.Hidden && (c.Short == "" || c.Long == "" || c.Example == "") {
			t.Errorf("%s: no help or no example", c.Name())
		}
	}
}
