package dcstest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/dcs"
)

// Run holds a store to the contract.
func Run(t *testing.T, h Harness) {
	s := &suite{Harness: h}
	for _, c := range []struct {
		name string
		test func(*suite, *testing.T)
	}{
		{"Load", (*suite).load},
		{"Conditions", (*suite).conditions},
		{"RecreatedKey", (*suite).recreatedKey},
		{"Race", (*suite).race},
		{"DeleteAll", (*suite).deleteAll},
		{"EndedContext", (*suite).endedContext},
		{"Values", (*suite).values},
		{"SessionKeys", (*suite).sessionKeys},
		{"SessionConditions", (*suite).sessionConditions},
		{"SessionsOfOneName", (*suite).sessionsOfOneName},
		{"SessionRunsOut", (*suite).sessionRunsOut},
		{"SessionIsKept", (*suite).sessionIsKept},
		{"SessionOutlivesStore", (*suite).sessionOutlivesStore},
		{"SessionEnd", (*suite).sessionEnd},
		{"SessionResumed", (*suite).sessionResumed},
		{"SessionResumedIsKept", (*suite).sessionResumedIsKept},
		{"ResumeRefused", (*suite).resumeRefused},
		{"TwoHolders", (*suite).twoHolders},
		{"Watch", (*suite).watch},
		{"WatchSeesSessionsEnd", (*suite).watchSeesSessionsEnd},
		{"WatchNewestOnly", (*suite).watchNewestOnly},
		{"WatchInterrupted", (*suite).watchInterrupted},
		{"Unavailable", (*suite).unavailable},
		{"LostReply", (*suite).lostReply},
		{"SessionSurvivesCut", (*suite).sessionSurvivesCut},
	} {
		t.Run(c.name, func(t *testing.T) { t.Parallel(); c.test(s, t) })
	}
}

func (s *suite) load(t *testing.T) {
	prefix := s.prefixes.next()
	a, b, other := s.openAt(t, prefix), s.openAt(t, prefix), s.openAt(t, prefix+"x")
	snap, err := a.Load(ctx(t))
	must(t, "load an empty cluster", err)
	if len(snap.Keys) != 0 {
		t.Errorf("an empty cluster has keys: %v", snap.Keys)
	}
	_, err = other.Put(ctx(t), "config", "{}", dcs.Always())
	must(t, "put", err)
	var last int64
	for _, key := range []string{"status", "members/n2", "members/n1", "config", "optime/leader"} {
		v, err := a.Put(ctx(t), key, "value of "+key, dcs.Always())
		must(t, "put "+key, err)
		// Another connection sees a confirmed write at once.
		snap, err := b.Load(ctx(t))
		must(t, "load", err)
		kv, ok := find(snap, key)
		if !ok || kv.Value != "value of "+key || kv.Version != v || kv.Session != "" {
			t.Errorf("after a put with version %q: %+v, %v", v, kv, ok)
		}
		if snap.Revision <= last {
			t.Errorf("revision %d after %d: it must grow", snap.Revision, last)
		}
		last = snap.Revision
	}
	snap, err = b.Load(ctx(t))
	must(t, "load", err)
	if len(snap.Keys) != 5 || !slices.IsSortedFunc(snap.Keys, func(x, y dcs.KV) int { return strings.Compare(x.Key, y.Key) }) {
		t.Errorf("keys are not the five written, sorted: %+v", snap.Keys)
	}
	must(t, "delete", a.Delete(ctx(t), "status", dcs.Always()))
	snap, err = b.Load(ctx(t))
	must(t, "load", err)
	if _, there := find(snap, "status"); there || snap.Revision <= last || snap.StoreID == "" {
		t.Errorf("after a delete: %+v", snap)
	}
}

func (s *suite) conditions(t *testing.T) {
	st := s.open(t)
	put := func(value string, c dcs.Condition) error {
		_, err := st.Put(ctx(t), "config", value, c)
		return err
	}
	wantErr(t, "put unchanged, absent key", put("0", dcs.Unchanged("1")), dcs.ErrConflict)
	v1, err := st.Put(ctx(t), "config", "1", dcs.Absent())
	must(t, "put absent", err)
	wantErr(t, "put absent, present key", put("x", dcs.Absent()), dcs.ErrConflict)
	wantErr(t, "put with the empty version, present key", put("x", dcs.Unchanged("")), dcs.ErrConflict)
	v2, err := st.Put(ctx(t), "config", "2", dcs.Unchanged(v1))
	must(t, "put unchanged", err)
	// The first version of a key is a version like any other.
	wantErr(t, "put with the first version after a change", put("x", dcs.Unchanged(v1)), dcs.ErrConflict)
	wantErr(t, "delete with an old version", st.Delete(ctx(t), "config", dcs.Unchanged(v1)), dcs.ErrConflict)
	v3, err := st.Put(ctx(t), "config", "2", dcs.Always())
	must(t, "put always", err)
	if v1 == v2 || v2 == v3 {
		t.Errorf("writes share versions: %s %s %s", v1, v2, v3)
	}
	wantErr(t, "put with a version of the same value", put("x", dcs.Unchanged(v2)), dcs.ErrConflict)
	if kv, _ := get(t, st, "config"); kv.Value != "2" || kv.Version != v3 {
		t.Errorf("after refused writes: %+v", kv)
	}
	must(t, "delete unchanged", st.Delete(ctx(t), "config", dcs.Unchanged(v3)))
	wantErr(t, "delete unchanged, absent key", st.Delete(ctx(t), "config", dcs.Unchanged(v3)), dcs.ErrConflict)
	must(t, "delete always, absent key", st.Delete(ctx(t), "config", dcs.Always()))
	wantErr(t, "put with rubbish as version", put("x", dcs.Unchanged("rubbish")), dcs.ErrConflict)
}

// recreatedKey: a version never fits a later life of its key, however alike.
func (s *suite) recreatedKey(t *testing.T) {
	st := s.open(t)
	old, err := st.Put(ctx(t), "initialize", "", dcs.Absent())
	must(t, "put", err)
	must(t, "delete", st.Delete(ctx(t), "initialize", dcs.Unchanged(old)))
	again, err := st.Put(ctx(t), "initialize", "", dcs.Absent())
	must(t, "put again", err)
	if old == again {
		t.Errorf("two lives of a key share version %s", old)
	}
	_, err = st.Put(ctx(t), "initialize", "1", dcs.Unchanged(old))
	wantErr(t, "put with the version of the former life", err, dcs.ErrConflict)
	wantErr(t, "delete with the version of the former life", st.Delete(ctx(t), "initialize", dcs.Unchanged(old)), dcs.ErrConflict)
	if kv, ok := get(t, st, "initialize"); !ok || kv.Value != "" || kv.Version != again {
		t.Errorf("the key was touched: %+v %v", kv, ok)
	}
}

// race: of many that demand the same, exactly one wins.
func (s *suite) race(t *testing.T) {
	prefix := s.prefixes.next()
	st := s.openAt(t, prefix)
	rivals := []dcs.Store{st, s.openAt(t, prefix), s.openAt(t, prefix)}
	cond, version := dcs.Absent(), "none"
	for round := range 5 {
		errs := make(chan error, len(rivals))
		for i, r := range rivals {
			go func() {
				_, err := r.Put(ctx(t), "timelines", fmt.Sprintf("%d-%d", round, i), cond)
				errs <- err
			}()
		}
		won := 0
		for range rivals {
			if err := <-errs; err == nil {
				won++
			} else {
				wantErr(t, "lost race", err, dcs.ErrConflict)
			}
		}
		kv, _ := get(t, st, "timelines")
		if won != 1 {
			t.Errorf("round %d: %d winners over version %s", round, won, version)
		}
		cond, version = dcs.Unchanged(kv.Version), string(kv.Version)
	}
}

func (s *suite) deleteAll(t *testing.T) {
	prefix := s.prefixes.next()
	st, neighbour := s.openAt(t, prefix), s.openAt(t, prefix+"0")
	must(t, "delete nothing", st.DeleteAll(ctx(t)))
	for _, key := range []string{"config", "members/n1", "members/n2", "optime/leader"} {
		_, err := st.Put(ctx(t), key, key, dcs.Always())
		must(t, "put", err)
	}
	_, err := neighbour.Put(ctx(t), "config", "mine", dcs.Always())
	must(t, "put", err)
	must(t, "delete all", st.DeleteAll(ctx(t)))
	snap, err := st.Load(ctx(t))
	must(t, "load", err)
	if len(snap.Keys) != 0 {
		t.Errorf("left over: %v", snap.Keys)
	}
	if _, ok := get(t, neighbour, "config"); !ok {
		t.Error("another cluster's key was removed")
	}
	_, err = st.Put(ctx(t), "members/n1", "again", dcs.Absent())
	must(t, "put after delete all", err)
}

func (s *suite) endedContext(t *testing.T) {
	st := s.open(t)
	n := s.session(t, st)
	ended, cancel := context.WithCancel(ctx(t))
	cancel()
	_, err := st.Load(ended)
	wantErr(t, "load", err, dcs.ErrUnavailable)
	_, err = st.Put(ended, "config", "x", dcs.Always())
	wantErr(t, "put", err, dcs.ErrUnavailable)
	_, err = n.Renew(ended)
	wantErr(t, "renew", err, dcs.ErrUnavailable)
	_, err = n.Put(ended, "leader", "x", dcs.Absent())
	wantErr(t, "put in a session", err, dcs.ErrUnavailable)
	for range st.Watch(ended) {
		// The channel must close; what it says before does not matter.
	}
	if snap, err := st.Load(ctx(t)); err != nil || len(snap.Keys) != 0 {
		t.Errorf("afterwards: %v %v", snap.Keys, err)
	}
}

// values: every text comes back as it was.
func (s *suite) values(t *testing.T) {
	st := s.open(t)
	for i, value := range []string{"", " ", "größe \U0001F600", "a\nb\x00c", strings.Repeat("x", 200_000)} {
		key := fmt.Sprintf("k%d", i)
		_, err := st.Put(ctx(t), key, value, dcs.Absent())
		must(t, "put", err)
		if kv, ok := get(t, st, key); !ok || kv.Value != value {
			t.Errorf("value %d of %d bytes came back as %d bytes", i, len(value), len(kv.Value))
		}
	}
}
