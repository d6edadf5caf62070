package ha_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
)

// TestDecideHolds checks what must hold of every decision, whatever is seen and
// remembered, nonsense included.
func TestDecideHolds(t *testing.T) { rapid.Check(t, decideHolds) }

// FuzzDecide looks for the same with the fuzzer's help.
func FuzzDecide(f *testing.F) { f.Fuzz(rapid.MakeFuzz(decideHolds)) }

func decideHolds(t *rapid.T) {
	o := observations.Draw(t, "observation")
	m := memories.Draw(t, "memory")
	for range 3 {
		before := encode(t, o) + encode(t, m)
		d := ha.Decide(o, m)
		if after := encode(t, o) + encode(t, m); after != before {
			t.Fatalf("Decide changed its input\nfrom %s\nto   %s", before, after)
		}
		if again := ha.Decide(o, m); !reflect.DeepEqual(again, d) {
			t.Fatalf("Decide is not deterministic:\n%+v\n%+v", d, again)
		}
		checkProperties(t, o, d)
		later := observations.Draw(t, "next")
		later.Now += o.Now
		o, m = later, d.Memory
	}
}

func checkProperties(t *rapid.T, o ha.Observation, d ha.Decision) {
	for _, p := range properties {
		if why := p.broken(o, d); why != "" {
			t.Fatalf("%s: %s\n%s", p.name, why, printDecision(d))
		}
	}
}

// TestStoriesHold shuffles the edits of all scenarios into new stories, which
// come further than what is drawn freely, and checks the same.
func TestStoriesHold(t *testing.T) {
	edits := scenarioEdits(t)
	begin := slices.Sorted(maps.Keys(worlds))
	hit := map[ha.RuleID]bool{}
	rapid.Check(t, func(t *rapid.T) {
		w := worlds[some(t, begin...)]()
		for range rapid.IntRange(1, 12).Draw(t, "turns") {
			for range rapid.IntRange(0, 2).Draw(t, "edits") {
				line := rapid.SampledFrom(edits).Draw(t, "edit")
				_ = w.edit(line) // an answer to a question never asked is no edit
			}
			o := w.o
			d := w.decide()
			hit[d.Rule] = true
			checkProperties(t, o, d)
		}
	})
	for _, id := range ha.RuleIDs() {
		if !hit[id] {
			t.Logf("no story came to the rule %s", id)
		}
	}
}

// scenarioEdits collects the edit lines of all scenarios.
func scenarioEdits(t *testing.T) []string {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	seen := map[string]bool{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			verb, _, _ := strings.Cut(line, " ")
			if verbs[verb] != nil && verb != "world" {
				seen[line] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func encode(t *rapid.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// property is one thing that holds of every decision; broken says how it does
// not.
type property struct {
	name   string
	broken func(ha.Observation, ha.Decision) string
}

var properties = []property{
	{"a decision is complete", func(o ha.Observation, d ha.Decision) string {
		switch {
		case d.Situation == "" || d.Rule == "" || d.Why == "":
			return "something is missing"
		case d.WakeAfter <= 0 || d.WakeAfter > max(o.Settings.LoopWait, 10*time.Second):
			return "WakeAfter is out of bounds"
		}
		return ""
	}},
	{"only a live lease allows to write, or to write what the leader writes", forbid(
		func(o ha.Observation, a ha.Action) bool { return !o.Lease.Live(o.Now) },
		ha.Promote, ha.StartPrimary, ha.WriteSync, ha.PublishStatus, ha.WriteHistory, ha.ClaimTimeline, ha.PublishIdentity,
		ha.WriteFailsafe, ha.AskFailsafe)},
	{"a promise to leave the lease alone is kept (V6)", forbid(
		func(o ha.Observation, a ha.Action) bool {
			return o.Failsafe.Promised(o.Now) && !o.Lease.Held && o.Server.Dir != ha.DirUnfinished
		}, ha.TakeLeader, ha.ClaimInitialize, ha.StopReceiver)},
	{"nobody is promoted whom a leader without the store would not ask (V6)", forbid(
		func(o ha.Observation, a ha.Action) bool {
			return o.Settings.Failsafe && len(o.Store.View.Failsafe) > 0 && !slices.ContainsFunc(o.Store.View.Failsafe,
				func(m cluster.FailsafeMember) bool { return m.Name == o.Self.Name })
		}, ha.Promote)},
	{"all are asked or none (V6)", func(o ha.Observation, d ha.Decision) string {
		for _, a := range d.Actions {
			if a.Kind != ha.AskFailsafe {
				continue
			}
			for _, m := range o.Store.View.Failsafe {
				if !slices.Contains(a.Failsafe, m) {
					return m.Name + " is not"
				}
			}
		}
		return ""
	}},
	{"the sync key is put back only by who wrote it to be promoted, and is a standby on the same timeline still (I2)", forbid(
		func(o ha.Observation, a ha.Action) bool {
			k, s := o.Store.View.Sync, o.Server
			return k.Before == nil || k.Leader != o.Self.Name || a.Version != k.Version || s.Role != ha.ServerStandby ||
				s.Process != ha.ProcessStopped && !s.ReplayDone || s.Position.Timeline > k.Before.Timeline || o.Task.Kind == ha.Promote || !o.Lease.Held && o.Store.View.Leader.Held()
		}, ha.RestoreSync)},
	{"a leader whose key is gone writes nothing that leaders write", forbid(
		func(o ha.Observation, a ha.Action) bool { return o.Lease.Held && o.Lease.Adrift && o.Store.Reachable },
		ha.WriteSync, ha.PublishStatus, ha.WriteHistory, ha.ClaimTimeline, ha.PublishIdentity, ha.WriteFailsafe)},
	{"what relies on the lease says on which", forbid(
		func(o ha.Observation, a ha.Action) bool { return a.Session != o.Lease.Session },
		ha.Promote, ha.StartPrimary, ha.WriteSync, ha.PublishStatus, ha.WriteHistory, ha.ClaimTimeline, ha.PublishIdentity,
		ha.TakeLeader, ha.ReleaseLeader, ha.ClaimInitialize)},
	{"which database the cluster is, is never unsaid (D5)", forbid(
		func(o ha.Observation, a ha.Action) bool { return o.Store.View.Initialize.SystemID != "" },
		ha.ReleaseInitialize)},
	{"a half rewound directory is not started (D1)", forbid(
		func(o ha.Observation, a ha.Action) bool { return o.Server.Rewinding },
		ha.StartReplica, ha.StartPrimary, ha.Promote)},
	{"what was rewound is not written to before it was consistent (D1)", forbid(
		func(o ha.Observation, a ha.Action) bool { return o.Server.RewindUnproven && !o.Settings.Paused },
		ha.StartPrimary, ha.TakeLeader)},
	{"data are only replaced where the settings or a person allow it, or where a rewind left no server's data (I8)", except(forbid(
		func(o ha.Observation, a ha.Action) bool {
			return o.Server.Dir != ha.DirEmpty && !o.Server.Rewinding && !o.Settings.RecloneOnDivergence && !o.Settings.RecloneOnRewindFailure
		}, ha.Clone), ha.Reinitialize)},
	{"data are only made where there are none (I8)", forbid(
		func(o ha.Observation, a ha.Action) bool { return o.Server.Dir != ha.DirEmpty }, ha.Bootstrap)},
	{"only data that were never accepted are set aside", forbid(
		func(o ha.Observation, a ha.Action) bool { return o.Server.Dir != ha.DirUnfinished }, ha.DiscardBootstrap)},
	{"only a stopped server is started or replaced", forbid(
		func(o ha.Observation, a ha.Action) bool { return o.Server.Process != ha.ProcessStopped },
		ha.Bootstrap, ha.Clone, ha.Rewind, ha.StartReplica, ha.StartPrimary)},
	{"only a running standby is promoted, and not while it may still receive (V1)", func(o ha.Observation, d ha.Decision) string {
		for i, a := range d.Actions {
			s := o.Server
			if a.Kind != ha.Promote {
				continue
			}
			if s.Process != ha.ProcessRunning || s.Role != ha.ServerStandby || !s.Position.Known() {
				return "it is none"
			}
			if (s.Receiver || s.Upstream != "") && deeds(d)[0].Kind != ha.StopReceiver {
				return "the receiver is not stopped first"
			}
			if a.Timeline <= s.Position.Timeline || a.Timeline <= o.Store.View.Timelines.Highest() {
				return "the number is taken"
			}
			if c := d.Actions[i-1]; c.Kind != ha.ClaimTimeline || c.Claim.Timeline != a.Timeline || c.Claim.Winner != o.Self.Name {
				return "the number is not claimed just before"
			}
		}
		return ""
	}},
	{"in synchronous mode the key comes before the promotion (I2)", func(o ha.Observation, d ha.Decision) string {
		v := o.Store.View
		if !has(d, ha.Promote) || !v.Sync.Active() {
			return ""
		}
		i := slices.IndexFunc(d.Actions, func(a ha.Action) bool { return a.Kind == ha.WriteSync })
		switch {
		case i < 0 || d.Actions[i].Version != v.Sync.Version || d.Actions[i].Sync.Leader != o.Self.Name || len(d.Actions[i].Sync.Standbys) > 0:
			return "it does not"
		case !v.Sync.Holds(o.Self.Name) && !(v.Failover.Candidate == o.Self.Name && v.Failover.Leader == ""):
			return "this member is not in it, and nobody forced it"
		}
		return ""
	}},
	{"a vote is a promise: the lease is not taken while a receiver may run (V1)", forbid(
		func(o ha.Observation, a ha.Action) bool {
			primary := o.Server.Role == ha.ServerPrimary && (o.Server.Process == ha.ProcessRunning || o.Server.Process == ha.ProcessStopped)
			return (o.Server.Receiver || o.Server.Upstream != "") && !((o.Settings.Paused || o.Lease.Adrift) && primary) && o.Server.Dir != ha.DirUnfinished
		}, ha.TakeLeader)},
	{"the key is not taken from anybody (L5)", forbid(
		func(o ha.Observation, a ha.Action) bool {
			return o.Store.View.Leader.Held() && !(o.Lease.Held && o.Store.View.Leader.Session == o.Lease.Session)
		}, ha.TakeLeader)},
	{"only a key that no session holds is removed, of this member's name, after a full ttl, and not in a new store (L5, L6)", func(o ha.Observation, d ha.Decision) string {
		l, m := o.Store.View.Leader, d.Memory
		for _, a := range d.Actions {
			switch {
			case a.Kind != ha.RemoveLeader:
			case l.Session != "" || l.Name != o.Self.Name || a.Version == "" || a.Version != l.Version:
				return "it is another"
			case m.PermanentVersion != l.Version || o.Now.Sub(m.PermanentSince) < o.Settings.TTL:
				return "it was not seen for so long"
			case o.Lease.Held || o.Settings.Paused || !o.Store.Known || !o.Store.Reachable:
				return "this is not the time"
			case !o.Store.NewSince.IsZero() && o.Now.Sub(o.Store.NewSince) < o.Settings.TTL:
				return "the store is new"
			}
		}
		return ""
	}},
	{"a replaced store makes nobody a leader who is none (L6)", forbid(
		func(o ha.Observation, a ha.Action) bool {
			return !o.Lease.Adrift && !o.Store.NewSince.IsZero() && o.Now.Sub(o.Store.NewSince) < o.Settings.TTL && !o.Settings.Paused && o.Server.Dir != ha.DirUnfinished
		}, ha.TakeLeader, ha.ClaimInitialize)},
	{"with data and no note of their store nobody becomes a leader who is none (L6)", forbid(
		func(o ha.Observation, a ha.Action) bool {
			return !o.Lease.Adrift && !o.Store.FirstSeen.IsZero() && o.Store.Known && o.Now.Sub(o.Store.FirstSeen) < o.Settings.TTL && !o.Settings.Paused &&
				o.Server.Dir != ha.DirUnfinished && o.Server.Dir != ha.DirEmpty
		}, ha.TakeLeader)},
	{"without the store nothing is decided that needs it", forbid(
		func(o ha.Observation, a ha.Action) bool { return !o.Store.Known || !o.Store.Reachable },
		ha.TakeLeader, ha.Promote, ha.Clone, ha.Rewind, ha.StartReplica, ha.Bootstrap, ha.Follow, ha.DiscardBootstrap)},
	{"what writes without a lease is stopped first", func(o ha.Observation, d ha.Decision) string {
		if !writable(o) || o.Lease.Live(o.Now) || o.Settings.Paused || o.Task.Kind == ha.Stop {
			return ""
		}
		if len(deeds(d)) == 0 {
			return "nothing is done"
		}
		switch k := deeds(d)[0].Kind; {
		case k == ha.Fence, k == ha.Stop, k == ha.CancelTask && o.Task.Kind == ha.Checkpoint:
			return ""
		}
		return "something else is done"
	}},
	{"past the hard deadline it is fenced", func(o ha.Observation, d ha.Decision) string {
		if writable(o) && !o.Settings.Paused && (!o.Lease.Held || o.Now >= o.Lease.Deadlines.Hard && !o.Lease.Live(o.Now)) && !has(d, ha.Fence) {
			return "it is not"
		}
		return ""
	}},
	{"one task at a time", func(o ha.Observation, d ha.Decision) string {
		n := 0
		for _, a := range d.Actions {
			if a.Kind.IsTask() {
				n++
			}
		}
		if n > 1 || n > 0 && o.Task.Kind != "" {
			return "two are begun, or one beside another"
		}
		return ""
	}},
	{"a person's pause holds: no task, unless a person asked", func(o ha.Observation, d ha.Decision) string {
		f := o.Store.View.Failover
		asked := d.Rule == ha.HandOver || d.Rule == ha.Restart || d.Rule == ha.Reinitialize
		if !o.Settings.Paused || f.Requested() && f.ScheduledAt == "" || asked || !o.Store.Reachable || !o.Store.Known {
			return ""
		}
		for _, a := range d.Actions {
			if a.Kind.IsTask() && a.Kind != ha.Checkpoint || a.Kind == ha.Fence || a.Kind == ha.Follow || a.Kind == ha.StopReceiver {
				return "something is started or stopped"
			}
		}
		return ""
	}},
	{"whoever asks is answered, or sees it begin, or sees way made for it (I7)", func(o ha.Observation, d ha.Decision) string {
		for _, id := range []int{o.Requests.Restart.ID, o.Requests.Reinit.ID} {
			if id != 0 && !replied(d, id) && d.Memory.Restart.ID != id && d.Memory.Reinit.ID != id && !has(d, ha.CancelTask) {
				return "a request is left lying"
			}
		}
		return ""
	}},
	{"no answer is without words", forbid(
		func(_ ha.Observation, a ha.Action) bool { return a.Why == "" }, ha.Reply, ha.DropScheduled)},
	{"a restart keeps lease and timeline", func(o ha.Observation, d ha.Decision) string {
		for _, k := range []ha.ActionKind{ha.ReleaseLeader, ha.Promote, ha.ClaimTimeline, ha.Fence, ha.Clone} {
			if d.Rule == ha.Restart && has(d, k) {
				return "it does " + string(k)
			}
		}
		return ""
	}},
	{"a restart begins only when its conditions hold, and a scheduled one not before its time", func(o ha.Observation, d ha.Decision) string {
		r := d.Memory.Restart
		begins := strings.HasPrefix(d.Why, "a restart was asked for: stopping") || strings.HasPrefix(d.Why, "the time of the scheduled restart")
		if d.Rule != ha.Restart || !begins {
			return ""
		}
		c := r.Conditions
		switch {
		case c.OnlyPending && len(o.Server.Pending) == 0, c.OlderThan > 0 && (o.Server.Version == 0 || o.Server.Version >= c.OlderThan),
			c.Role == cluster.RolePrimary && o.Server.Role != ha.ServerPrimary, c.Role == cluster.RoleReplica && o.Server.Role != ha.ServerStandby:
			return "the conditions do not hold"
		case r.ID == 0 && (o.Settings.Paused || o.Wall.Before(o.Requests.Scheduled.At)):
			return "it is scheduled for later"
		}
		return ""
	}},
	{"the leader's data are not copied anew", func(o ha.Observation, d ha.Decision) string {
		if d.Rule == ha.Reinitialize && o.Lease.Held && !has(d, ha.StartReplica) {
			return "they are"
		}
		return ""
	}},
	{"a switchover begins neither before its time nor long after", func(o ha.Observation, d ha.Decision) string {
		f := o.Store.View.Failover
		at, err := f.At()
		if d.Rule == ha.SwitchoverAway && has(d, ha.AskPeers) && (err != nil || o.Wall.Before(at)) {
			return "it begins"
		}
		return ""
	}},
	{"nothing follows the end", func(o ha.Observation, d ha.Decision) string {
		if i := slices.IndexFunc(d.Actions, func(a ha.Action) bool { return a.Kind == ha.Exit }); i >= 0 && i < len(d.Actions)-1 {
			return "something does"
		}
		return ""
	}},
}

// forbid makes a property of actions that must not be taken when when holds.
func forbid(when func(ha.Observation, ha.Action) bool, kinds ...ha.ActionKind) func(ha.Observation, ha.Decision) string {
	return func(o ha.Observation, d ha.Decision) string {
		for _, a := range d.Actions {
			if slices.Contains(kinds, a.Kind) && when(o, a) {
				return "it does " + string(a.Kind)
			}
		}
		return ""
	}
}

// except lifts a property for one rule.
func except(broken func(ha.Observation, ha.Decision) string, id ha.RuleID) func(ha.Observation, ha.Decision) string {
	return func(o ha.Observation, d ha.Decision) string {
		if d.Rule == id {
			return ""
		}
		return broken(o, d)
	}
}

// deeds are the actions but for words to people, which stand before them.
func deeds(d ha.Decision) []ha.Action {
	return slices.DeleteFunc(slices.Clone(d.Actions), func(a ha.Action) bool { return a.Kind == ha.Reply || a.Kind == ha.DropScheduled })
}

func replied(d ha.Decision, id int) bool {
	return slices.ContainsFunc(d.Actions, func(a ha.Action) bool { return a.Kind == ha.Reply && a.Request == id })
}

func has(d ha.Decision, k ha.ActionKind) bool {
	return slices.ContainsFunc(d.Actions, func(a ha.Action) bool { return a.Kind == k })
}

func writable(o ha.Observation) bool {
	switch o.Task.Kind {
	case ha.Bootstrap:
		return false
	case ha.Promote, ha.StartPrimary:
		return true
	}
	shutDown := o.Server.Process == ha.ProcessStopping && o.Server.ShutDown
	return o.Server.Process != ha.ProcessStopped && !shutDown && o.Server.Role == ha.ServerPrimary
}

// TestWord checks that a member which could not take the lease does not keep
// others from it: it says that it is not eligible.
func TestWord(t *testing.T) {
	for name, edits := range map[string][]string{
		"the store does not answer it": {"store down"},
		"it has no session":            {"lease session=_"},
		"its agent ends":               {"stopping"},
		"its guard does not run":       {"guard running=no"},
		"its server is down":           {"server process=stopped"},
		"it has WAL to replay":         {"server replay_done=no"},
		"it is diverged":               {"server lsn=0/3500000 tl=1 identity=_ history=_"},
		"nofailover":                   {"self nofailover=yes"},
		"the store is another one":     {"store new"},
		"no note of which store":       {"store first"},
		"it lacks the handover":        {"handover leader=b lsn=0/5000001 tl=2"},
		"it is not synchronous":        {"sync leader=b standbys=c"},
	} {
		t.Run(name, func(t *testing.T) {
			w := worlds["racing"]()
			if w.decide(); !w.m.Eligible {
				t.Fatalf("a healthy member is not eligible: %s", w.m.WhyNot)
			}
			for _, e := range edits {
				if err := w.edit(e); err != nil {
					t.Fatal(err)
				}
			}
			if w.decide(); w.m.Eligible || w.m.WhyNot == "" {
				t.Error("it says that it is eligible")
			}
		})
	}
}

// TestMemoryIsPlain: the journal can store a memory and give it back.
func TestMemoryIsPlain(t *testing.T) {
	w := worlds["leading"]()
	w.m.SlotsSeen = nil
	m := w.decide().Memory
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back ha.Memory
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(m, back) {
		t.Errorf("the memory does not survive the journal:\n%+v\n%+v", m, back)
	}
}
