package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/matriarch-ha/matriarch/cluster"
)

func TestParseDynamicDefaults(t *testing.T) {
	d, w, err := ParseDynamic("{}")
	if err != nil || len(w) > 0 {
		t.Fatal(w, err)
	}
	if diff := cmp.Diff(cluster.DefaultSettings(), d.Settings); diff != "" {
		t.Error(diff)
	}
}

func TestParseDynamicValues(t *testing.T) {
	d, w, err := ParseDynamic(`{"ttl": "1min", "loop_wait": 5, "retry_timeout": "0x0A", "maximum_lag_on_failover": "16MB",
		"master_start_timeout": 60, "primary_stop_timeout": 7, "primary_stall_timeout": 0, "unguarded_veto": "45s", "missing_last_record": "lose", "member_slots_ttl": "2h",
		"synchronous_mode": "On", "pause": true, "check_timeline": "yes", "max_timelines_history": "010",
		"postgresql": {"use_slots": false, "use_pg_rewind": "1", "remove_data_directory_on_rewind_failure": true}}`)
	if err != nil || len(w) > 0 {
		t.Fatal(w, err)
	}
	want := cluster.Settings{
		TTL: time.Minute, LoopWait: 5 * time.Second, RetryTimeout: 10 * time.Second, MaxLagOnFailover: 16 << 20,
		PrimaryStartTimeout: time.Minute, PrimaryStopTimeout: 7 * time.Second, SlotsTTL: 2 * time.Hour,
		UnguardedVeto: 45 * time.Second, LoseLastRecord: true,
		SyncMode: cluster.SyncOn, Paused: true, CheckTimeline: true, MaxHistory: 8,
		UsePgRewind: true, RecloneOnRewindFailure: true,
	}
	if diff := cmp.Diff(want, d.Settings); diff != "" {
		t.Error(diff)
	}
}

// A document with any unusable value is rejected, and the setting is named.
func TestParseDynamicRejects(t *testing.T) {
	for doc, path := range map[string]string{
		`{"ttl": "abc", "loop_wait": 10}`:                "ttl",
		`{"ttl": true}`:                                  "ttl",
		`{"ttl": 1e30}`:                                  "ttl",
		`{"pause": "maybe"}`:                             "pause",
		`{"synchronous_mode": "quorum"}`:                 "synchronous_mode",
		`{"synchronous_mode": "sometimes"}`:              "synchronous_mode",
		`{"missing_last_record": "ask"}`:                 "missing_last_record",
		`{"synchronous_mode": {}}`:                       "synchronous_mode",
		`{"synchronous_mode_strict": true}`:              "synchronous_mode_strict",
		`{"standby_cluster": {"host": "h"}}`:             "standby_cluster",
		`{"standby_cluster": {"restore_command": "cp"}}`: "standby_cluster",
		`{"postgresql": 1}`:                              "postgresql",
		`{"postgresql": {"parameters": {"a": {}}}}`:      "postgresql.parameters.a",
		`{"postgresql": {"use_slots": "2"}}`:             "postgresql.use_slots",
		`{"postgresql": {"pg_hba": [["a"]]}}`:            "postgresql.pg_hba",
		`{"member_slots_ttl": "10MB"}`:                   "member_slots_ttl",
		`[]`:                                             "",
		`null`:                                           "",
		``:                                               "",
		`{"ttl": 30} x`:                                  "",
		strings.Repeat(`{"a":`, 100) + strings.Repeat("}", 100): "",
	} {
		_, _, err := ParseDynamic(doc)
		var p Problems
		if !errors.As(err, &p) || len(p) != 1 || p[0].Path != path {
			t.Errorf("%s: %v", clip(doc), err)
		}
	}
	for _, fine := range []string{`{"standby_cluster": {}}`, `{"standby_cluster": {"host": "", "port": 0}}`, `{"standby_cluster": null}`,
		`{"synchronous_mode": null}`, `{"synchronous_mode_strict": false}`, `{"synchronous_mode": "off"}`} {
		if _, _, err := ParseDynamic(fine); err != nil {
			t.Errorf("%s: %v", fine, err)
		}
	}
}

// The timing rule holds for every document that is accepted, and nothing is
// touched when it held already.
func TestTimingRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ttl := rapid.IntRange(-5, 200).Draw(t, "ttl")
		loop := rapid.IntRange(-5, 100).Draw(t, "loop")
		retry := rapid.IntRange(-5, 100).Draw(t, "retry")
		n := newMapping()
		for k, v := range map[string]int{"ttl": ttl, "loop_wait": loop, "retry_timeout": retry} {
			n.set(k, &node{kind: integer, scalar: itoa(v)})
		}
		r := &report{}
		s := readDynamic(n, r).Settings
		if s.LoopWait+2*s.RetryTimeout > s.TTL || s.TTL < 20*time.Second || s.LoopWait < time.Second || s.RetryTimeout < 3*time.Second {
			t.Fatalf("%v", s)
		}
		held := ttl >= 20 && loop >= 1 && retry >= 3 && loop+2*retry <= ttl
		if asked := s.TTL == secs(ttl) && s.LoopWait == secs(loop) && s.RetryTimeout == secs(retry); held != asked || held != (len(r.warnings) == 0) {
			t.Fatalf("%v %v", s, r.warnings)
		}
	})
}

func secs(n int) time.Duration { return time.Duration(n) * time.Second }

// A limit shorter than the time between two proofs would have a healthy primary killed.
func TestPrimaryStallTimeoutIsNotTooShort(t *testing.T) {
	for doc, want := range map[string]int{`{}`: 30, `{"primary_stall_timeout":0}`: 0, `{"primary_stall_timeout":1}`: 5,
		`{"primary_stall_timeout":"4s"}`: 5, `{"primary_stall_timeout":5}`: 5, `{"primary_stall_timeout":9}`: 9} {
		d, w, err := ParseDynamic(doc)
		if err != nil || d.Settings.PrimaryStallTimeout != secs(want) || (len(w) > 0) != (strings.ContainsAny(doc, "14") && want == 5) {
			t.Errorf("%s: %v %v %v", doc, d.Settings.PrimaryStallTimeout, w, err)
		}
	}
}

func TestTimingExamples(t *testing.T) {
	for doc, want := range map[string][3]int{
		`{"ttl":20,"loop_wait":10,"retry_timeout":10}`: {20, 1, 9},
		`{"ttl":30,"loop_wait":20,"retry_timeout":10}`: {30, 10, 10},
		`{"ttl":21,"loop_wait":10,"retry_timeout":10}`: {21, 1, 10},
		`{"ttl":5,"loop_wait":0,"retry_timeout":1}`:    {20, 1, 3},
	} {
		d, w, err := ParseDynamic(doc)
		if err != nil || len(w) == 0 {
			t.Error(doc, w, err)
		}
		if s := d.Settings; s.TTL != secs(want[0]) || s.LoopWait != secs(want[1]) || s.RetryTimeout != secs(want[2]) {
			t.Errorf("%s: %v", doc, s)
		}
	}
}

func TestDynamicWarnings(t *testing.T) {
	_, w, err := ParseDynamic(`{"slots": {"a": {}}, "synchronous_node_count": 2, "lop_wait": 3,
		"postgresql": {"create_replica_methods": ["x"], "x": {}, "y": 1}, "ignore_slots": [], "maximum_lag_on_syncnode": -1}`)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, x := range w {
		paths = append(paths, x.Path)
	}
	slices.Sort(paths)
	if d := cmp.Diff([]string{"lop_wait", "postgresql.create_replica_methods", "postgresql.y", "slots", "synchronous_node_count"}, paths); d != "" {
		t.Error(d)
	}
}

func TestPatch(t *testing.T) {
	for _, c := range []struct {
		old, patch, want string
		changed          bool
	}{
		{`{"a":1,"b":{"c":2,"d":3}}`, `{"b":{"c":null,"e":[1, 2]}}`, `{"a":1,"b":{"d":3,"e":[1,2]}}`, true},
		{`{"a":1}`, `{"a":null,"z":null}`, `{}`, true},
		{`{"a":1}`, `{"z":null}`, `{"a":1}`, false},
		{`{"a":30}`, `{"a":"30"}`, `{"a":30}`, false},
		{`{"a":true}`, `{"a":"true"}`, `{"a":"true"}`, true},
		{`{"a":{"b":1}}`, `{"a":5}`, `{"a":5}`, true},
		{`{"a":5}`, `{"a":{"b":1,"c":null}}`, `{"a":{"b":1}}`, true},
		{`{"unknown":{"x":1.50}}`, `{"pause":true}`, `{"unknown":{"x":1.50},"pause":true}`, true},
		{`{"l":[1]}`, `{"l":[1]}`, `{"l":[1]}`, false},
		{`{}`, `{"s":"ä\u2028😀\n\"\\/<"}`, `{"s":"\u00e4\u2028\ud83d\ude00\n\"\\/<"}`, true},
		{`null`, `{"a":1}`, `{"a":1}`, true},
	} {
		got, changed, err := Patch(c.old, c.patch)
		if err != nil || got != c.want || changed != c.changed {
			t.Errorf("Patch(%s, %s) = %s, %v, %v; want %s, %v", c.old, c.patch, got, changed, err, c.want, c.changed)
		}
	}
	for _, bad := range [][2]string{{`{`, `{}`}, {`{}`, `[]`}, {`{}`, ``}, {`{}`, `{"a":}`}, {`{}`, `null`}} {
		if _, _, err := Patch(bad[0], bad[1]); err == nil {
			t.Errorf("Patch(%s, %s) did not fail", bad[0], bad[1])
		}
	}
}

// A patch applied twice changes nothing the second time.
func TestPatchIsIdempotent(t *testing.T) {
	doc := rapid.Custom(func(t *rapid.T) string {
		n := newMapping()
		for range rapid.IntRange(0, 4).Draw(t, "n") {
			n.set(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "k"), randomNode(t, 2))
		}
		return n.json()
	})
	rapid.Check(t, func(t *rapid.T) {
		old, patch := doc.Draw(t, "old"), doc.Draw(t, "patch")
		once, _, err := Patch(old, patch)
		if err != nil {
			t.Fatal(err)
		}
		twice, changed, err := Patch(once, patch)
		if err != nil || changed || twice != once {
			t.Fatalf("%s then %s, %v %v", once, twice, changed, err)
		}
	})
}

func randomNode(t *rapid.T, depth int) *node {
	switch k := rapid.IntRange(0, 4).Draw(t, "kind"); {
	case k == 0:
		return &node{kind: null}
	case k == 1:
		return &node{kind: integer, scalar: itoa(rapid.IntRange(0, 3).Draw(t, "i"))}
	case k == 2 || depth == 0:
		return newText(rapid.SampledFrom([]string{"1", "x", ""}).Draw(t, "s"), "")
	case k == 3:
		return &node{kind: boolean, scalar: "true"}
	}
	n := newMapping()
	for range rapid.IntRange(0, 2).Draw(t, "n") {
		n.set(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "k"), randomNode(t, depth-1))
	}
	return n
}
