package ha_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
)

// TestScenarios runs the stories in testdata. A story is a list of commands
//
//	decide
//	edit
//	edit
//	----
//	what was decided
//
// where each edit changes what member a sees (scenario_edit_test.go lists the
// verbs), and the memory is carried from one decision to the next. The flag
// -rewrite writes the answers anew, to be read in review.
func TestScenarios(t *testing.T) {
	hit := map[ha.RuleID]bool{}
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if filepath.Ext(path) != ".txt" {
			return // what fuzzing and failed properties left
		}
		w := newWorld()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "decide" {
				d.Fatalf(t, "unknown command %q", d.Cmd)
			}
			for _, line := range strings.Split(d.Input, "\n") {
				if err := w.edit(line); err != nil {
					d.Fatalf(t, "%s: %v", line, err)
				}
			}
			decision := w.decide()
			hit[decision.Rule] = true
			if strings.Contains(decision.Why, "[") {
				t.Errorf("%s: a list as programs print it, in what people read: %s", d.Pos, decision.Why)
			}
			return printDecision(decision)
		})
	})
	for _, id := range ha.RuleIDs() {
		if !hit[id] {
			t.Errorf("no scenario in testdata reaches the rule %s", id)
		}
		if _, err := os.Stat(filepath.Join("testdata", string(id)+".txt")); err != nil {
			t.Errorf("rule %s has no scenario of its name: %v", id, err)
		}
	}
}

// decide runs one turn and does what the executor would do about questions: it
// notes when they were sent. A request that was answered is gone.
func (w *world) decide() ha.Decision {
	d := ha.Decide(w.o, w.m)
	w.m = d.Memory
	for _, a := range d.Actions {
		w.answered(a)
		if a.Kind != ha.AskPeers {
			continue
		}
		for _, n := range a.Names {
			p := w.peer(n)
			p.Asked, p.Error = w.o.Now, ""
		}
	}
	return d
}

func (w *world) answered(a ha.Action) {
	r := &w.o.Requests
	switch {
	case a.Kind == ha.DropScheduled:
		r.Scheduled = cluster.ScheduledRestart{}
	case a.Kind != ha.Reply || a.Request == 0:
	case a.Request == r.Restart.ID:
		r.Restart = ha.RestartRequest{}
	case a.Request == r.Reinit.ID:
		r.Reinit = ha.ReinitRequest{}
	}
}

func printDecision(d ha.Decision) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n  %s\n", d.Situation, d.Rule, d.Why)
	for _, a := range d.Actions {
		fmt.Fprintf(&b, "  - %s%s\n", a.Kind, printFields(a))
	}
	fmt.Fprintf(&b, "  wake %s\n", d.WakeAfter)
	return b.String()
}

// printFields lists what an action carries, leaving out what it does not.
func printFields(a ha.Action) string {
	var b strings.Builder
	add := func(show bool, format string, args ...any) {
		if show {
			fmt.Fprintf(&b, " "+format, args...)
		}
	}
	add(a.Session != "", "session=%s", a.Session)
	add(a.Version != "", "version=%s", a.Version)
	add(!a.Upstream.IsZero(), "upstream=%s(%s)", a.Upstream.Name, a.Upstream.Addr())
	add(a.Kind == ha.AskPeers || a.Kind == ha.SetSyncNames || len(a.Names) > 0, "names=%s", list(a.Names))
	if a.Kind == ha.KeepSlots {
		var slots []string
		for _, s := range a.Slots {
			slots = append(slots, printAt(s.Name, uint64(s.LSN) != 0, s.LSN))
		}
		add(true, "slots=%s", list(slots))
	}
	if a.Kind == ha.WriteSync || a.Kind == ha.RestoreSync {
		add(true, "sync=%s%s", orNone(a.Sync.Leader), list(a.Sync.Standbys))
		for b := a.Sync.Before; b != nil; b = b.Before {
			add(true, "before=%s%s@%d", orNone(b.Leader), list(b.Standbys), b.Timeline)
		}
	}
	if a.Kind == ha.WriteHistory {
		var lines []string
		for _, l := range a.Lines {
			lines = append(lines, fmt.Sprintf("%d@%s→%s", l.Timeline, l.LSN, orNone(l.NewLeader)))
		}
		add(true, "lines=%s", list(lines))
	}
	h := a.Handover
	add(h.Leader != "", "handover=%s:%s@%d%s", h.Leader, h.LSN, h.Timeline, list(h.Members))
	c := a.Claim
	add(c.Timeline != 0, "claim=%d:%s", c.Timeline, c.Winner)
	add(c.Identity.Known(), "identity=%s:%08x", c.Identity.Switch, c.Identity.CRC)
	if a.Kind == ha.AskFailsafe || a.Kind == ha.WriteFailsafe {
		var names []string
		for _, m := range a.Failsafe {
			names = append(names, m.Name)
		}
		add(true, "failsafe=%s", list(names))
	}
	add(a.Timeline != 0, "timeline=%d", a.Timeline)
	add(a.Optime != 0, "optime=%s", a.Optime)
	add(a.SystemID != "", "system=%s", a.SystemID)
	add(a.Kind == ha.Exit, "code=%d", a.Code)
	add(a.EndArchiver, "end-archiver")
	add(a.Kind == ha.Reply, "request=%d %s", a.Request, a.Outcome)
	add(a.Why != "", "why=%q", a.Why)
	add(a.Detail != "", "detail=%q", a.Detail)
	return b.String()
}

func printAt(name string, known bool, at any) string {
	if !known {
		return name
	}
	return fmt.Sprintf("%s@%s", name, at)
}

func list(names []string) string { return "[" + strings.Join(names, " ") + "]" }

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// member returns the published member of that name, made if it is missing.
func (w *world) member(name string) *cluster.Member {
	ms := &w.o.Store.View.Members
	if i := slices.IndexFunc(*ms, func(m cluster.Member) bool { return m.Name == name }); i >= 0 {
		return &(*ms)[i]
	}
	*ms = append(slices.Clone(*ms), published(name))
	slices.SortFunc(*ms, func(a, b cluster.Member) int { return strings.Compare(a.Name, b.Name) })
	return w.member(name)
}

// peer returns what is known of a peer's word, made if there is none.
func (w *world) peer(name string) *ha.Peer {
	ps := &w.o.Peers
	if i := slices.IndexFunc(*ps, func(p ha.Peer) bool { return p.Name == name }); i >= 0 {
		return &(*ps)[i]
	}
	*ps = append(*ps, ha.Peer{Name: name})
	slices.SortFunc(*ps, func(a, b ha.Peer) int { return strings.Compare(a.Name, b.Name) })
	return w.peer(name)
}
