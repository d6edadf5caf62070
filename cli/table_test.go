package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

// render shows a cluster as a screen would.
func rendered(t *testing.T, d api.ClusterDoc, o listOptions) string {
	t.Helper()
	if o.format == "" {
		o.format = formatPretty
	}
	text, err := renderMembers(state{doc: d, initialize: "1"}, o)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func lsn(text string) *string { return &text }

func lag(n uint64) *api.Lag { return &api.Lag{Bytes: n, Known: true} }

// odd is a cluster with what is rare: no leader, nothing known, an older
// member, wide and combining letters, something that a terminal would obey.
func odd() api.ClusterDoc {
	return api.ClusterDoc{Scope: "群れ", Members: []api.MemberDoc{
		{Name: "e\u0301lan", Role: "replica", State: "stopped"},
		{Name: "old", Role: "replica", State: "streaming", Host: "h1", Port: 5432, LSN: lsn("0/3000000"), Lag: lag(3 << 20), Timeline: 12},
		{Name: "older", Role: "replica", State: "running", Host: "h2", Port: 5432, LSN: lsn("0/2000000"), Lag: lag(4<<20 + 1<<19)},
		{Name: "unknown", Role: "quorum_standby", State: "running", Host: "h3", Port: 5432,
			ReceiveLSN: lsn("unknown"), ReceiveLag: &api.Lag{}, ReplayLSN: lsn("unknown"), ReplayLag: &api.Lag{}},
		{Name: "日本", Role: "sync_standby", State: "\x1b[31mred", Host: "h4", Port: 5432, ReceiveLSN: lsn("1/0"), ReceiveLag: lag(0),
			ReplayLSN: lsn("0/FFFFFFFF"), ReplayLag: lag(1)},
	}}
}

func TestOddTable(t *testing.T) {
	want := `+ Cluster: 群れ (1) ----------+----------------+-----------+----+-------------+-----+------------+-----+
| Member  | Host | Role           | State     | TL | Receive LSN | Lag | Replay LSN | Lag |
+---------+------+----------------+-----------+----+-------------+-----+------------+-----+
| e` + "\u0301" + `lan    |      | Replica        | stopped   |    |             |     |            |     |
| old     | h1   | Replica        | streaming | 12 |   0/3000000 |   3 |            |     |
| older   | h2   | Replica        | running   |    |             |     |  0/2000000 |   4 |
| unknown | h3   | Quorum Standby | running   |    |     unknown |     |    unknown |     |
| 日本    | h4   | Sync Standby   | ` + "\ufffd" + `[31mred  |    |         1/0 |   0 | 0/FFFFFFFF |   0 |
+---------+------+----------------+-----------+----+-------------+-----+------------+-----+
`
	got := rendered(t, odd(), listOptions{})
	for i, line := range strings.Split(strings.TrimSpace(got), "\n") {
		if w := displayWidth(line); w != displayWidth(strings.Split(got, "\n")[1]) {
			t.Errorf("line %d is %d wide: %s", i, w, line)
		}
	}
	// The title is compared by its length alone, above.
	if strings.SplitN(got, "\n", 2)[1] != strings.SplitN(want, "\n", 2)[1] {
		t.Errorf("got\n%s", got)
	}
}

func TestNobody(t *testing.T) {
	got := rendered(t, api.ClusterDoc{Scope: "x"}, listOptions{})
	if got != "+ Cluster: x (1) ------+-------+----+-------------+-----+------------+-----+\n"+
		"| Member | Host | Role | State | TL | Receive LSN | Lag | Replay LSN | Lag |\n"+
		"+--------+------+------+-------+----+-------------+-----+------------+-----+\n" {
		t.Errorf("got\n%s", got)
	}
	for format, want := range map[string]string{formatJSON: "[]\n", formatYAML: "[]\n"} {
		if got := rendered(t, api.ClusterDoc{Scope: "x"}, listOptions{format: format}); got != want {
			t.Errorf("%s: %q", format, got)
		}
	}
}

// TestTitleIsCut: a long name does not make the table wider.
func TestTitleIsCut(t *testing.T) {
	got := rendered(t, api.ClusterDoc{Scope: strings.Repeat("長い", 40)}, listOptions{})
	lines := strings.Split(got, "\n")
	if displayWidth(lines[0]) != displayWidth(lines[1]) || !strings.HasSuffix(lines[0], "+") {
		t.Errorf("got\n%s", got)
	}
}

func many(n int) api.ClusterDoc {
	d := api.ClusterDoc{Scope: "x"}
	for i := range n {
		m := api.MemberDoc{Name: fmt.Sprintf("member-%03d", i), Role: "replica", State: "streaming", Host: fmt.Sprintf("10.0.%d.%d", i/200, i%200), Port: 5432,
			Timeline: 1, ReceiveLSN: lsn("0/1"), ReceiveLag: lag(0), ReplayLSN: lsn("0/1"), ReplayLag: lag(0)}
		if i == 0 {
			m.Role, m.State, m.ReceiveLSN, m.ReplayLSN = "leader", "running", nil, nil
		} else if i%7 == 0 {
			m.Tags = pyjson.Object{{Key: "replicatefrom", Value: fmt.Sprintf("member-%03d", i-1)}}
		}
		d.Members = append(d.Members, m)
	}
	return d
}

func TestManyMembers(t *testing.T) {
	d := many(300)
	got := rendered(t, d, listOptions{format: formatTopology})
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 300+4 {
		t.Errorf("%d lines", len(lines))
	}
	for _, l := range lines {
		if len(l) != len(lines[0]) {
			t.Fatalf("uneven: %s", l)
		}
	}
	if !strings.Contains(got, "| + member-006   |") || !strings.Contains(got, "|   + member-007 |") {
		t.Errorf("the tree is wrong:\n%s", got)
	}
}

// TestNarrowScreen: on a terminal of 80 columns the positions make room, their
// lags stay; nothing changes where there is none, with -e, and under the old
// name.
func TestNarrowScreen(t *testing.T) {
	w := newWorld(t, demo())
	w.opts.Screen = &Screen{Columns: 80, Lines: 24}
	w.run("", "list").want(t, 0, `+ Cluster: lab (7412345678901234567) -----+----+---------+--------+
| Member | Host     | Role    | State     | TL | Receive | Replay |
+--------+----------+---------+-----------+----+---------+--------+
| n1     | 10.0.0.1 | Leader  | running   |  2 |         |        |
| n2     | 10.0.0.2 | Replica | streaming |  2 |       0 |      0 |
+--------+----------+---------+-----------+----+---------+--------+
 Receive and Replay are lags in MiB; -e shows all
`, "")
	w.run("", "list", "-e").contains(t, 0, "Receive LSN")
	w.opts.Screen.Columns = 87
	w.run("", "list").contains(t, 0, "Receive LSN")
	w.opts.Screen.Columns, w.opts.Patronictl = 80, true
	w.run("", "list").want(t, 0, shown, "")
}

func TestNarrowScreenShowsEverythingBelow(t *testing.T) {
	w := newWorld(t, three())
	w.opts.Screen = &Screen{Columns: 80, Lines: 24}
	w.run("", "list").want(t, 0, `+ Cluster: lab (7412345678901234567) ----------+----+---------+--------+
| Member | Host          | Role    | State     | TL | Receive | Replay |
+--------+---------------+---------+-----------+----+---------+--------+
| n1     | 10.0.0.1:5432 | Leader  | running   |  2 |         |        |
| n2     | 10.0.0.2:5432 | Replica | streaming |  2 |       0 |      2 |
| n3     | 10.0.0.2:5433 | Replica | starting  |    |         |        |
+--------+---------------+---------+-----------+----+---------+--------+
 n3: Pending restart reason: max_connections: 100->200, shared_preload_libraries: [hidden - too long]
 n3: Tags: {nofailover: true, replicatefrom: n2, zone: b}
 Receive and Replay are lags in MiB; -e shows all
`, "")
}

func TestColours(t *testing.T) {
	w := newWorld(t, three())
	w.opts.Screen = &Screen{Columns: 200, Lines: 50, Colour: true}
	got := w.run("", "list").out
	for _, want := range []string{"| \x1b[1mLeader\x1b[0m  |", "| \x1b[32mrunning\x1b[0m   |", "| \x1b[33mstarting\x1b[0m  |", "| \x1b[32mstreaming\x1b[0m |"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q\n%s", want, got)
		}
	}
	plain := strings.NewReplacer("\x1b[1m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[0m", "").Replace(got)
	w.opts.Screen = nil
	if want := w.run("", "list").out; plain != want {
		t.Errorf("without colours\n%s\nwant\n%s", plain, want)
	}
	w.opts.Screen = &Screen{Columns: 80, Lines: 50, Colour: true}
	w.run("n\n", "edit-config", "-s", "ttl=20").contains(t, 0, "\x1b[31m-ttl: 30\x1b[0m\n\x1b[32m+ttl: 20\x1b[0m\n")
}

// TestPager: a difference that does not fit the screen goes through $PAGER.
func TestPager(t *testing.T) {
	w := newWorld(t, demo())
	w.opts.Screen = &Screen{Columns: 80, Lines: 8}
	w.opts.Env = append(w.opts.Env, "PAGER=sed s/^/paged:/")
	w.run("n\n", "edit-config", "-s", "ttl=20").contains(t, 0, "paged:-ttl: 30\npaged:+ttl: 20\n")
}

func TestRolesAndStates(t *testing.T) {
	w := newWorld(t, demo())
	w.c.Change(func(v *cluster.View) {
		v.Config.JSON = `{"synchronous_mode":true}`
		v.Sync = cluster.SyncState{Leader: "n1", Standbys: []string{"n2"}}
	})
	w.run("", "list").contains(t, 0, "| Sync Standby |")
	w.c.Change(func(v *cluster.View) {
		v.Config.JSON = `{"synchronous_mode":"quorum"}`
		v.Members[0].Role = cluster.RoleStandbyLeader
		v.Members[0].ReplicationState = "in archive recovery"
	})
	w.run("", "list").contains(t, 0, "| Quorum Standby |", "| Standby Leader | in archive recovery |")
	w.run("", "dsn", "-r", "standby-leader").want(t, 0, "host=10.0.0.1 port=5432\n", "")
	w.run("", "dsn", "-r", "primary").want(t, 1, "", "Error: Can not find a suitable member")
}

// TestNarrowerScreen: the lag of what was received goes when a long state or
// address needs the room.
func TestNarrowerScreen(t *testing.T) {
	d := many(2)
	d.Members[1].State = "in archive recovery"
	got := rendered(t, d, listOptions{narrow: true, screen: &Screen{Columns: 80, Lines: 24}})
	want := `+ Cluster: x (1) -------+---------+---------------------+----+--------+
| Member     | Host     | Role    | State               | TL | Replay |
+------------+----------+---------+---------------------+----+--------+
| member-000 | 10.0.0.0 | Leader  | running             |  1 |        |
| member-001 | 10.0.0.1 | Replica | in archive recovery |  1 |      0 |
+------------+----------+---------+---------------------+----+--------+
 Replay is a lag in MiB; -e shows all
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}
