package app

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/dcs/memory"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/wal"
)

// orphaned is a store in which n1 leads, and the helper of its guard.
func orphaned(t *testing.T, end wal.Position) (*memory.Server, *memory.Store, *release) {
	t.Helper()
	server := memory.NewServer(clock.Real{})
	agent, helper := server.Connect(), server.Connect()
	s, err := agent.Open(t.Context(), 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), layout.KeyLeader, "n1", dcs.Absent()); err != nil {
		t.Fatal(err)
	}
	return server, helper, &release{store: helper, handle: s.Handle(), member: "n1", end: end, log: slog.New(slog.DiscardHandler), clock: clock.Real{}}
}

func viewOf(t *testing.T, server *memory.Server) cluster.View {
	t.Helper()
	snap, err := server.Connect().Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return layout.Decode(snap)
}

var cleanEnd = wal.Position{Timeline: 3, LSN: 0x5000028}

func TestReleaseRecordsTheCleanEnd(t *testing.T) {
	server, _, r := orphaned(t, cleanEnd)
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	v := viewOf(t, server)
	if v.Leader.Held() || v.Handover.Leader != "n1" || v.Handover.Timeline != 3 || v.Handover.LSN != cleanEnd.LSN {
		t.Errorf("leader %+v, handover %+v", v.Leader, v.Handover)
	}
	// Once more, by a helper that did not hear: the session is over, which is what
	// it wanted.
	if err := r.run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestReleaseOfAKilledServerRecordsNothing(t *testing.T) {
	server, _, r := orphaned(t, wal.Position{})
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := viewOf(t, server); v.Leader.Held() || v.Handover.Present() {
		t.Errorf("leader %+v, handover %+v", v.Leader, v.Handover)
	}
}

// Answers are lost and the store is away for a moment: it is tried again.
func TestReleaseTriesAgain(t *testing.T) {
	for _, f := range []memory.Fault{memory.FaultLoseRequest, memory.FaultLoseReply, memory.FaultUnavailable} {
		server, helper, r := orphaned(t, cleanEnd)
		helper.FailNext(f, memory.FaultNone, f, memory.FaultNone, memory.FaultNone, f)
		if err := r.run(t.Context()); err != nil {
			t.Errorf("%v: %v", f, err)
		}
		if v := viewOf(t, server); v.Leader.Held() || v.Handover.LSN != cleanEnd.LSN {
			t.Errorf("%v: leader %+v, handover %+v", f, v.Leader, v.Handover)
		}
	}
}

// A store that does not answer: the helper gives up in time.
func TestReleaseGivesUp(t *testing.T) {
	server, helper, r := orphaned(t, cleanEnd)
	helper.Cut(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := r.run(ctx); err == nil {
		t.Error("released without a store")
	}
	if v := viewOf(t, server); !v.Leader.Held() {
		t.Error("the key is gone")
	}
}

// A helper that stands still acts when a successor leads: at each of its steps it
// harms neither the successor's key nor its handover.
func TestSlowHelperHarmsNoSuccessor(t *testing.T) {
	for _, at := range []memory.Op{memory.OpResume, memory.OpLoad, memory.OpPut, memory.OpEnd} {
		server, helper, r := orphaned(t, cleanEnd)
		other := server.Connect()
		// There is a handover already, which the successor clears: a record by
		// compare-and-set finds it changed.
		if _, err := other.Put(t.Context(), layout.KeyHandover, layout.EncodeHandover(cluster.Handover{Leader: "n9", Timeline: 2, LSN: 1}), dcs.Absent()); err != nil {
			t.Fatal(err)
		}
		took := false
		helper.SetHook(func(c memory.Call) memory.Fault {
			if c.Op != at || took {
				return memory.FaultNone
			}
			took = true
			first, err := other.Resume(t.Context(), r.handle)
			if err == nil {
				err = first.End(t.Context()) // as if it had run out
			}
			s, oerr := other.Open(t.Context(), 30*time.Second)
			if err = errors.Join(err, oerr); err == nil {
				_, err = s.Put(t.Context(), layout.KeyLeader, "n2", dcs.Absent())
			}
			if err = errors.Join(err, other.Delete(t.Context(), layout.KeyHandover, dcs.Always())); err != nil {
				t.Error(err)
			}
			return memory.FaultNone
		})
		if err := r.run(t.Context()); err != nil {
			t.Errorf("stopped before %s: %v", at, err)
		}
		if v := viewOf(t, server); !took || v.Leader.Name != "n2" || v.Handover.Present() {
			t.Errorf("stopped before %s: leader %+v, handover %+v", at, v.Leader, v.Handover)
		}
	}
}

// The record is written while the session certainly lives, and not after.
func TestNoRecordAfterTheSessionMayHaveEnded(t *testing.T) {
	server, _, r := orphaned(t, cleanEnd)
	late := &lateClock{}
	r.clock = late
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_ = r.run(ctx)
	if v := viewOf(t, server); v.Handover.Present() {
		t.Errorf("handover %+v", v.Handover)
	}
}

// lateClock is past every lease.
type lateClock struct{ clock.Real }

func (*lateClock) Now() boot.Instant { return clock.Real{}.Now().Add(time.Hour) }

// What the helper needs arrives whole, passwords too, and prints without them.
func TestAccess(t *testing.T) {
	f := &config.File{Name: "n1", Namespace: "/service/", Scope: "s", Store: config.StoreSection{Kind: "etcd3", Hosts: []string{"h:2379"},
		Password: "secret", TLS: config.TLS{KeyPassword: "secret"}, AuthData: []config.Auth{{Scheme: "digest", Credential: "me:secret"}}}}
	f.Postgres.DataDir, f.Matriarch.StateDir = "/data", "/state"
	text, err := accessOf(f)
	if err != nil {
		t.Fatal(err)
	}
	var a access
	if err := gob.NewDecoder(bytes.NewReader(text)).Decode(&a); err != nil {
		t.Fatal(err)
	}
	if a.Store.Password.Reveal() != "secret" || a.Store.TLS.KeyPassword.Reveal() != "secret" || a.Store.AuthData[0].Credential.Reveal() != "me:secret" ||
		a.Name != "n1" || a.DataDir != "/data" || a.StateDir != "/state" || a.Store.Hosts[0] != "h:2379" {
		t.Error("something got lost on the way")
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "access", a)
	if strings.Contains(log.String(), "secret") {
		t.Error("an access prints its passwords")
	}
}
