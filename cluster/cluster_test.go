package cluster

import (
	"net"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/wal"
)

func TestSlotName(t *testing.T) {
	for member, want := range map[string]string{
		"postgresql0": "postgresql0", "Node-1.Example.com": "node_1_example_com", "a b": "au0032b", "ä": "u0228", "a_b": "a_b", "": "",
		"日本":                          "u26085u26412",
		strings.Repeat("x", 70):       strings.Repeat("x", 63),
		strings.Repeat("x", 60) + "é": strings.Repeat("x", 60) + "u02",
	} {
		if got := SlotName(member); got != want {
			t.Errorf("%q: %q, want %q", member, got, want)
		}
	}
}

// FuzzSlotName: what comes out is a name that PostgreSQL accepts, and is stable.
func FuzzSlotName(f *testing.F) {
	valid := regexp.MustCompile(`^[a-z0-9_]{1,63}$`)
	for _, s := range []string{"a", "A-b.c", "日本", "\x00\xff", strings.Repeat("é", 40)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, member string) {
		got := SlotName(member)
		if member != "" && !valid.MatchString(got) {
			t.Errorf("%q: %q", member, got)
		}
		if again := SlotName(got); again != got {
			t.Errorf("%q: %q, then %q", member, got, again)
		}
	})
}

func TestHostPort(t *testing.T) {
	for url, want := range map[string][2]string{
		"postgres://10.0.0.1:5433/postgres":       {"10.0.0.1", "5433"},
		"postgres://db.example.com/postgres":      {"db.example.com", "5432"},
		"postgres://[::1]:5432/postgres":          {"::1", "5432"},
		"postgres://u:p@h:1/postgres?sslmode=off": {"h", "1"},
		"":                   {"", "5432"},
		"postgres://h:port/": {"", ""},
		"\x00":               {"", ""},
	} {
		host, port := Member{ConnURL: url}.HostPort()
		if host != want[0] || port != want[1] {
			t.Errorf("%q: %q %q, want %q", url, host, port, want)
		}
	}
}

// FuzzHostPort: what is found can be joined again.
func FuzzHostPort(f *testing.F) {
	for _, s := range []string{"postgres://10.0.0.1:5433/postgres", "postgres://[::1]/x", "", ":", "postgres://%41:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, url string) {
		host, port := Member{ConnURL: url}.HostPort()
		if host == "" || strings.ContainsAny(host, "[]") {
			return // no host, or none that a resolver would take
		}
		h, p, err := net.SplitHostPort(net.JoinHostPort(host, port))
		if err != nil || h != host || p != port {
			t.Errorf("%q: %q %q: %v", url, host, port, err)
		}
	})
}

func TestTags(t *testing.T) {
	n := func(i int) *int { return &i }
	for _, c := range []struct {
		tags           Tags
		failover, sync int
	}{
		{Tags{}, 1, 1},
		{Tags{NoFailover: true, FailoverPriority: n(5)}, 0, 1},
		{Tags{FailoverPriority: n(0)}, 0, 1},
		{Tags{FailoverPriority: n(-3), SyncPriority: n(-3)}, 0, 0},
		{Tags{FailoverPriority: n(7), SyncPriority: n(2)}, 7, 2},
		{Tags{NoSync: true, SyncPriority: n(9)}, 1, 0},
	} {
		if c.tags.FailoverPriorityOr1() != c.failover || c.tags.SyncPriorityOr1() != c.sync || c.tags.MayLead() != (c.failover > 0) {
			t.Errorf("%+v: %d %d", c.tags, c.tags.FailoverPriorityOr1(), c.tags.SyncPriorityOr1())
		}
	}
}

func TestSync(t *testing.T) {
	s := SyncState{Leader: "Ada", Standbys: []string{"Bea"}}
	for name, want := range map[string][2]bool{"ada": {true, false}, "BEA": {true, true}, "cleo": {false, false}, "": {false, false}} {
		if s.Holds(name) != want[0] || s.HasStandby(name) != want[1] {
			t.Errorf("%q: %t %t", name, s.Holds(name), s.HasStandby(name))
		}
	}
	if (SyncState{Standbys: []string{"a"}}).Active() || !s.Active() || (SyncState{}).Holds("") {
		t.Error("a key without a leader is not active and holds nobody")
	}
}

func TestHistory(t *testing.T) {
	lines := []HistoryLine{{Timeline: 1, LSN: 10, Reason: "r"}, {Timeline: 3, LSN: 20}}
	for _, c := range []struct {
		h    History
		want wal.Timeline
	}{{History{}, 0}, {History{Lines: lines}, 0}, {History{Present: true}, 1}, {History{Present: true, Lines: lines}, 4}} {
		if got := c.h.Timeline(); got != c.want {
			t.Errorf("%+v: %d", c.h, got)
		}
	}
	want := wal.History{{Timeline: 1, LSN: 10, Reason: "r"}, {Timeline: 3, LSN: 20}}
	if got := (History{Lines: lines}).WAL(); !reflect.DeepEqual(got, want) {
		t.Error(got)
	}
}

func TestIdentity(t *testing.T) {
	all := []TimelineIdentity{{}, {CRC: 1}, {Switch: 5}, {Switch: 5, CRC: 1}, {Switch: 5, CRC: 2}, {Switch: 6, CRC: 1}}
	for i, a := range all {
		for j, b := range all {
			want := i >= 2 && j >= 2 && (a.Switch != b.Switch || a.CRC != 0 && b.CRC != 0 && a.CRC != b.CRC)
			if a.Conflicts(b) != want || a.Conflicts(b) != b.Conflicts(a) {
				t.Errorf("%+v and %+v: %t", a, b, a.Conflicts(b))
			}
		}
		if a.Conflicts(a) {
			t.Errorf("%+v conflicts with itself", a)
		}
	}
}

func TestView(t *testing.T) {
	v := View{Leader: Leader{Name: "b"}, Members: []Member{{Name: "a"}, {Name: "b", Role: RolePrimary, State: StateRunning}},
		Timelines: Timelines{Claims: []TimelineClaim{{Timeline: 2, Winner: "a"}, {Timeline: 4, Winner: "b"}}}}
	if m, ok := v.LeaderMember(); !ok || m.Name != "b" || !m.Running() {
		t.Error(m, ok)
	}
	if _, ok := (View{Members: []Member{{Name: "a"}}}).LeaderMember(); ok {
		t.Error("nobody leads")
	}
	if c, ok := v.Timelines.Claim(4); !ok || c.Winner != "b" || v.Timelines.Highest() != 4 {
		t.Error(c, ok)
	}
	if _, ok := v.Timelines.Claim(3); ok || (Timelines{}).Highest() != 0 {
		t.Error("never claimed")
	}
	for f, want := range map[Failover]bool{{}: false, {ScheduledAt: "x"}: false, {Leader: "a"}: true, {Candidate: "a"}: true} {
		if f.Requested() != want {
			t.Errorf("%+v", f)
		}
	}
	if (Handover{Leader: "a"}).Present() || (Handover{LSN: 1}).Present() || !(Handover{Leader: "a", LSN: 1}).Present() {
		t.Error("a handover has a leader and a position")
	}
}
