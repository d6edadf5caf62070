package postgres

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/internal/messages"
	"github.com/matriarch-ha/matriarch/wal"
)

// diverged makes a pair of which the first crashed with rows that the second,
// promoted, never had.
func diverged(t *testing.T, l *lab, ctx context.Context) (old, lead *Server, fork wal.LSN) {
	t.Helper()
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)
	a.sql(t, ctx, "CREATE TABLE t (i int); INSERT INTO t VALUES (1)")
	l.caughtUp(ctx, b, a)
	pos, err := b.StopReceiver(ctx)
	must(t, err)
	a.sql(t, ctx, "INSERT INTO t VALUES (2)")
	a.sql(t, ctx, "INSERT INTO t SELECT generate_series(3, 5000)")
	_, err = b.Promote(ctx, 2)
	must(t, err)
	b.sql(t, ctx, "INSERT INTO t VALUES (-1)")
	a.crash(t, ctx)
	return a, b, pos.LSN
}

func TestRewindOfKilledPrimary(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a, b, fork := diverged(t, l, ctx)
	must(t, a.MarkStandby())
	f := a.Observe(ctx)
	if f.Position.Timeline != 1 || f.Position.LSN <= fork {
		t.Fatalf("the crashed primary is at %s, the fork at %s", f.Position, fork)
	}
	hba, err := os.ReadFile(a.hbaConf())
	must(t, err)
	if _, ok := a.Loss(); ok {
		t.Fatal("a loss is told of before there is one")
	}
	end := f.Position
	must(t, a.Rewind(ctx, b.source(), nil))
	wantLoss(t, a, wal.Position{Timeline: 1, LSN: fork}, end, 2)

	f = a.Observe(ctx)
	if f.Dir != DirPresent || f.Rewinding.Stage != stageReplaying || f.Rewinding.Fork.LSN != fork || !exists(a.lostDir()) || !f.SignalFile {
		t.Fatalf("after the rewind: %+v", f)
	}
	if err := a.StartPrimary(ctx, 0); err == nil {
		t.Fatal("a rewound directory was started as primary")
	}
	must(t, a.StartStandby(ctx, b.upstream(), true))
	l.caughtUp(ctx, a, b)
	must(t, a.RewindDone())
	if got := a.sql(t, ctx, "SELECT string_agg(i::text, ',' ORDER BY i) FROM t"); got != "-1,1" {
		t.Errorf("rows after the rewind: %q", got)
	}
	if now, _ := os.ReadFile(a.hbaConf()); string(now) != string(hba) {
		t.Error("pg_hba.conf is the source's")
	}
	if f = a.Observe(ctx); f.Position.Timeline != 2 || f.Rewinding.Present() || f.Identity != b.Observe(ctx).Identity {
		t.Fatalf("following: %+v", f)
	}
	checkLost(t, a, 2)
}

// wantLoss takes note of a loss, which must be this one.
func wantLoss(t *testing.T, s *Server, from, to wal.Position, commits int) {
	t.Helper()
	l, ok := s.Loss()
	if !ok || l.From != from || l.To != to || l.Bytes != uint64(to.LSN-from.LSN) || !l.Readable || l.Commits != commits {
		t.Fatalf("loss %+v (%t), want %d commits from %s to %s", l, ok, commits, from, to)
	}
	if !exists(filepath.Join(l.Kept, LostReport)) {
		t.Errorf("%s holds no list", l.Kept)
	}
	must(t, s.LossNoted())
	if _, ok := s.Loss(); ok {
		t.Error("a loss that was noted is told of again")
	}
}

func checkLost(t *testing.T, s *Server, commits int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.lostDir(), "*", "*"))
	must(t, err)
	segments := 0
	for _, f := range files {
		if strings.HasPrefix(filepath.Base(f), "00000001") && !strings.HasSuffix(f, ".history") {
			segments++
		}
	}
	text, err := s.readPrivate(filepath.Join(filepath.Dir(files[0]), LostReport))
	must(t, err)
	if segments == 0 || strings.Count(text, "xid ") != commits || strings.Contains(text, "not complete") {
		t.Errorf("%d segments saved of %q; report:\n%s", segments, files, text)
	}
}

func TestRewindKilledMidwayLeavesMarker(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a, b, fork := diverged(t, l, ctx)
	must(t, a.MarkStandby())
	end := a.Observe(ctx).Position
	// The copying program dies as soon as it begins.
	fake := filepath.Join(l.dir, "pg_rewind")
	must(t, os.WriteFile(fake, []byte("#!/bin/sh\nkill -9 $$\n"), 0o755))
	a.opt.BinName = map[string]string{"pg_rewind": "../../../../.." + fake}
	if err := a.Rewind(ctx, b.source(), nil); err == nil {
		t.Fatal("a killed rewind passed for a finished one")
	}
	if l, ok := a.Loss(); ok {
		t.Errorf("told of as lost although the rewind did not come to its end: %+v", l)
	}
	if f := a.Observe(ctx); f.Dir != DirRewinding || f.Rewinding.Source != "b" {
		t.Fatalf("after the kill: %+v", f)
	}
	if err := a.StartStandby(ctx, b.upstream(), true); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Fatalf("starting a half-rewound directory: %v", err)
	}
	if err := a.RewindDone(); err == nil {
		t.Fatal("the marker of an unfinished rewind was removed")
	}
	a.opt.BinName = nil
	must(t, a.Rewind(ctx, b.source(), nil)) // again, and it works
	wantLoss(t, a, wal.Position{Timeline: 1, LSN: fork}, end, 2)
	must(t, a.StartStandby(ctx, b.upstream(), true))
	l.caughtUp(ctx, a, b)
	must(t, a.RewindDone())

	// A clone replaces anything, and keeps what was there.
	_, err := a.Stop(ctx, StopFast, StopOptions{})
	must(t, err)
	must(t, a.Clone(ctx, b.source(), nil))
	if !exists(a.replacedDir()) {
		t.Error("the replaced directory was not kept")
	}
	if l, ok := a.Loss(); ok {
		t.Errorf("a copy of what it had lost it %+v", l)
	}
	must(t, a.StartStandby(ctx, b.upstream(), true))
	l.caughtUp(ctx, a, b)
}

// pg_rewind removes what its source does not have, and copies all that it has: it is
// not run over what is kept inside, and brings nothing that the source keeps.
func TestRewindDestroysNothingKept(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a, b, _ := diverged(t, l, ctx)
	must(t, a.MarkStandby())
	space := filepath.Join(l.dir, "space")
	must(t, os.Mkdir(space, 0o755))
	link := a.dataPath("pg_tblspc", "16384")
	must(t, os.Symlink(space, link))
	for _, dir := range []string{a.opt.DataDir, space} {
		kept := mkfile(t, filepath.Join(dir, keptInside, "only-copy"))
		err := a.Rewind(ctx, b.source(), nil)
		if err == nil {
			t.Fatal("rewound all the same")
		}
		messages.Check(t, "rewind-kept", err.Error())
		if !strings.Contains(err.Error(), filepath.Dir(kept)) || !exists(kept) || a.Observe(ctx).Dir != DirPresent {
			t.Errorf("%s is gone, or not named: %v", kept, err)
		}
		must(t, os.RemoveAll(filepath.Dir(kept)))
	}
	must(t, os.Remove(link))
	mkfile(t, a.dataPath(removingInside, "rest"))
	must(t, b.user.MkdirAll(b.dataPath(keptInside), 0o700))
	must(t, b.user.WriteFile(b.dataPath(keptInside, "of-b"), nil, 0o600))
	must(t, a.Rewind(ctx, b.source(), nil))
	if found := ours(a.opt.DataDir); len(found) != 0 {
		t.Errorf("the rewind has brought or left %q", found)
	}
	must(t, a.StartStandby(ctx, b.upstream(), true))
	l.caughtUp(ctx, a, b)
}

func TestReplicationCheckSaysWhy(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.server("b")
	b.opt.Replication.Password = "wrong"
	if err := b.ReplicationCheck(ctx, a.source()); !errors.Is(err, ErrPassword) {
		t.Errorf("wrong password: %v", err)
	}
	b.opt.Replication = Credentials{Username: "rewinder", Password: rwPass}
	if err := b.ReplicationCheck(ctx, a.source()); !errors.Is(err, ErrHBA) {
		t.Errorf("no hba line: %v", err)
	}
	src := a.source()
	src.Port = "1"
	if err := b.ReplicationCheck(ctx, src); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestStopDoesNotWaitForAFrozenStandby(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b, c := l.replica(ctx, "b", a), l.replica(ctx, "c", a)
	pid := receiverPID(c.process().PID)
	must(t, freeze(pid))
	defer thaw(pid)
	a.sql(t, ctx, "CREATE TABLE t()")
	l.caughtUp(ctx, b, a)
	began := time.Now()
	r, err := a.Stop(ctx, StopFast, StopOptions{Keep: []string{"b"}})
	must(t, err)
	if !r.Clean || len(r.Confirmed) != 1 {
		t.Errorf("report %+v", r)
	}
	if took := time.Since(began); took > 15*time.Second { // wal_sender_timeout alone is 60 s
		t.Errorf("the stop took %s", took)
	}
}

// A standby that must have the last record is waited for, however long it is silent.
func TestStopWaitsForWhoMustHaveTheLastRecord(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)
	pid := receiverPID(b.process().PID)
	must(t, freeze(pid))
	defer thaw(pid)
	r, err := a.Stop(ctx, StopFast, StopOptions{Keep: []string{"b"}, OnShutdownCheckpoint: func() {
		time.AfterFunc(4*restGrace, func() { thaw(pid) }) // the others would be ended by then
	}})
	must(t, err)
	if at := b.Observe(ctx).Position.LSN; !r.Clean || len(r.Confirmed) != 1 || at != r.Position.LSN {
		t.Errorf("stopped: %+v, and the standby is at %s", r, at)
	}
}

// An archive command that never ends holds a clean shutdown for ever. Whoever
// takes over need not wait for it: the last record is written, seen, and safe
// from a foreign start.
func TestShutDownWhileTheArchiverHangs(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)
	release := l.hangArchiver(a)
	must(t, restart(ctx, a))
	l.caughtUp(ctx, b, a)

	told, done := make(chan struct{}), make(chan StopReport, 1)
	var failed error
	go func() {
		r, err := a.Stop(ctx, StopFast, StopOptions{Keep: []string{"b"}, OnShutdownCheckpoint: func() { close(told) }})
		failed = err
		done <- r
	}()
	select {
	case <-told:
	case <-ctx.Done():
		t.Fatal("the last record was never written")
	}
	f := a.Observe(ctx)
	if !f.ShutDown || f.Process != ProcStopping || f.Role != RolePrimary || !f.Position.Known() || !f.SignalFile {
		t.Fatalf("while the archiver hangs: %+v", f)
	}
	must(t, poll(ctx, 10*time.Millisecond, "the standby to get the last record", func() (bool, error) {
		return b.Observe(ctx).Position.LSN == f.Position.LSN, nil
	}))
	select {
	case r := <-done:
		t.Fatalf("the stop did not wait for the archiver: %+v", r)
	default:
	}
	release()
	r := <-done
	must(t, failed)
	if !r.Clean || r.Position != f.Position || len(r.Confirmed) != 1 {
		t.Fatalf("stopped: %+v, had %s", r, f.Position)
	}
}

func TestStopByForce(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	must(t, freeze(a.process().PID))
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	r, err := a.Stop(short, StopFast, StopOptions{Force: 4 * time.Second})
	must(t, err)
	if !r.Killed || a.Observe(ctx).Process != ProcStopped {
		t.Errorf("report %+v", r)
	}
}

// A stop that may be followed by a rewind removes no log.
func TestStopKeepsLogForARewind(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	cfg := testConfig(l.dir)
	for i := range cfg.Parameters {
		if cfg.Parameters[i].Name == "wal_keep_size" {
			cfg.Parameters[i].Value = "0"
		}
	}
	cfg.Parameters = append(cfg.Parameters, Param{Name: "min_wal_size", Value: "32MB"})
	a.SetConfig(cfg)
	_, err := a.ApplyConfig(ctx)
	must(t, err)
	must(t, a.Checkpoint(ctx))
	oldest := a.sql(t, ctx, "SELECT redo_wal_file FROM pg_control_checkpoint()")
	for range 4 {
		a.sql(t, ctx, "SELECT pg_switch_wal(); CREATE TABLE IF NOT EXISTS t(); DROP TABLE t")
	}
	_, err = a.Stop(ctx, StopFast, StopOptions{KeepWAL: true})
	must(t, err)
	if !exists(filepath.Join(a.walDir(), oldest)) {
		t.Error("the log before the stop is gone")
	}
	must(t, a.StartPrimary(ctx, 0))
	if got := a.sql(t, ctx, "SHOW wal_keep_size"); got != "0" {
		t.Errorf("wal_keep_size stayed %s", got)
	}
}

func TestSpans(t *testing.T) {
	h := wal.History{{Timeline: 1, LSN: 100}, {Timeline: 2, LSN: 200}}
	got := spans(wal.Position{Timeline: 1, LSN: 90}, wal.Position{Timeline: 3, LSN: 250}, h)
	want := []span{{1, 90, 100}, {2, 100, 200}, {3, 200, 250}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzParseStartupTitle(f *testing.F) {
	f.Add("postgres: lab: startup recovering 00000002000000000000000A")
	f.Add("postgres: startup   recovering 0000000")
	f.Fuzz(func(t *testing.T, s string) { _ = parseStartupTitle(s) })
}

func TestParseStartupTitle(t *testing.T) {
	for title, want := range map[string]uint32{
		"postgres: lab: startup recovering 0000000B000000000000000A":  11,
		"postgres: lab: startup waiting for 0000000B000000000000000A": 0,
		"postgres: startup recovering 0":                              0, "": 0,
	} {
		if got := parseStartupTitle(title); got != want {
			t.Errorf("%q gives %d", title, got)
		}
	}
}

// A paused replay does not pass the order on; the receiver ends all the same.
func TestStopReceiverWhileReplayIsPaused(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)
	b.sql(t, ctx, "SELECT pg_wal_replay_pause()")
	a.sql(t, ctx, "CREATE TABLE t(); DROP TABLE t; CREATE TABLE t()")
	pos, err := b.StopReceiver(ctx)
	must(t, err)
	a.sql(t, ctx, "DROP TABLE t")
	f := b.Observe(ctx)
	if f.Receiver.Running || f.Position != pos || !f.ReplayPaused {
		t.Fatalf("stopped at %s: %+v", pos, f)
	}
	must(t, b.ResumeReplay(ctx))
	must(t, poll(ctx, 20*time.Millisecond, "the replay of all local log", func() (bool, error) {
		f = b.Observe(ctx)
		return f.ReplayDone && !f.ReplayPaused, nil
	}))
	if f.Receiver.Running || f.Position.LSN != pos.LSN {
		t.Fatalf("the receiver came back: %+v", f)
	}
	must(t, b.StartStandby(ctx, a.upstream(), true))
	l.caughtUp(ctx, b, a)
}

// TestCloneOfDivergedDirectoryTellsTheLoss: a copy instead of a rewind takes the
// same records out, and leaves what was saved before, which may be all that is left.
func TestCloneOfDivergedDirectoryTellsTheLoss(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a, b, fork := diverged(t, l, ctx)
	must(t, a.MarkStandby())
	end := a.Observe(ctx).Position
	before := mkfile(t, filepath.Join(a.lostDir(), "20200101T000000.000Z", "000000010000000000000001"))
	must(t, a.Clone(ctx, b.source(), nil))
	wantLoss(t, a, wal.Position{Timeline: 1, LSN: fork}, end, 2)
	if !exists(before) {
		t.Error("the log that was saved before is gone")
	}
}
