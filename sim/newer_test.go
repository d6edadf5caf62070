package sim

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"github.com/matriarch-ha/matriarch/ha"
)

// TestActionKinds: every kind of action is counted, and interrupted on purpose.
func TestActionKinds(t *testing.T) {
	src, err := os.ReadFile("../ha/action.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`ActionKind = "([a-z-]+)"`).FindAllSubmatch(src, -1)
	for _, m := range found {
		if k := ha.ActionKind(m[1]); !slices.Contains(actionKinds[:], k) {
			t.Errorf("the action %s is not listed", k)
		}
	}
	if len(found) != len(actionKinds) || len(actionKinds) > maxActions {
		t.Errorf("%d kinds of actions, %d listed, room for %d", len(found), len(actionKinds), maxActions)
	}
}

// TestNewerFaultsMatter: what the newer faults and the wide worlds are there for
// does happen.
func TestNewerFaultsMatter(t *testing.T) {
	var focus []FaultKind
	for _, k := range newerKinds {
		focus = append(focus, k.kind)
	}
	all := Many(1, 150, Options{Focus: append(focus, Wide, HostOff, HostFreeze, Isolate, ServerCrash, CutStore)}, nil)
	for _, r := range all.Failures {
		t.Errorf("seed %d\n%s", r.Seed, r.Report())
	}
	seen := reflect.ValueOf(all.Total.Seen)
	for i := range seen.NumField() {
		if name := seen.Type().Field(i).Name; seen.Field(i).Int() == 0 {
			t.Errorf("%s was never seen in %d worlds", name, all.Worlds)
		}
	}
	t.Logf("%+v", all.Total.Seen)
}

// TestStruckAtEveryAction: the fault that aims at one kind of action finds it,
// wherever in the life of a cluster it is.
func TestStruckAtEveryAction(t *testing.T) {
	focus := []FaultKind{AgentStruck, AgentStop, HostOff, ServerCrash, Isolate, CutStore, AskSwitchover, AskRestart, AskReinit, AskSync, FailPromote, WriteLeader, ForeignDisk, StoreOutage}
	s := Many(1, 4000, Options{Focus: focus}, nil)
	for _, r := range s.Failures {
		t.Errorf("seed %d\n%s", r.Seed, r.Report())
	}
	for _, k := range s.Total.Interrupted.None() {
		t.Errorf("%s was never interrupted (begun %d times)", k, s.Total.Acted.Of(k))
	}
}
