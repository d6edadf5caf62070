package postgres

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/postgres/control"
	"github.com/matriarch-ha/matriarch/postgres/probe"
)

func TestBootstrapRolesAndSecrets(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	s := l.server("n1")
	must(t, s.CheckBinaries(ctx))
	script := filepath.Join(l.dir, "init.sh")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\nset -e\n/usr/lib/postgresql/*/bin/psql -X -q -w -d \"$1\" -c 'CREATE TABLE from_script()'\n"), 0o755))
	must(t, s.Bootstrap(ctx, BootstrapOptions{PostInit: script}))
	if f := s.Observe(ctx); f.Dir != DirBootstrapping || f.Process != ProcStopped || f.SystemID == "" {
		t.Fatalf("before it is accepted: %+v", f)
	}
	if err := s.StartPrimary(ctx, 0); err == nil {
		t.Fatal("started before the cluster accepted it")
	}
	must(t, s.AcceptBootstrap())
	must(t, s.StartPrimary(ctx, 0))
	f := s.Observe(ctx)
	if f.Dir != DirPresent || f.Process != ProcRunning || f.Role != RolePrimary || f.Position.Timeline != 1 || f.SystemID == "" {
		t.Fatalf("after bootstrap: %+v", f)
	}
	if f.SQLError != "" || len(f.Pending) != 0 || f.Major < 13 {
		t.Fatalf("after bootstrap: sql error %q, pending %v, major %d", f.SQLError, f.Pending, f.Major)
	}
	for _, role := range []string{"postgres", "replicator", "rewinder"} {
		got := s.sql(t, ctx, "SELECT rolpassword FROM pg_authid WHERE rolname = '"+role+"'")
		if !strings.HasPrefix(got, "SCRAM-SHA-256$") {
			t.Errorf("%s has verifier %q", role, got)
		}
	}
	if got := s.sql(t, ctx, "SELECT pg_catalog.to_regclass('public.from_script')"); got == "" {
		t.Error("the post_init script left no table")
	}
	log, err := os.ReadFile(s.opt.ServerLog)
	must(t, err)
	for _, secret := range []string{superPass, replPass, rwPass, "SCRAM-SHA-256$"} {
		if strings.Contains(string(log), secret) {
			t.Errorf("the server log contains %q", secret)
		}
	}
	st, err := os.Stat(s.mainConf())
	must(t, err)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("postgresql.conf has mode %v", st.Mode())
	}
	must(t, s.ReplicationCheck(ctx, s.source()))
}

// An archive command that never ends must not keep a cluster from being made:
// it is the server's that runs afterwards.
func TestBootstrapWithAHungArchiver(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	s := l.server("n1")
	l.hangArchiver(s)
	must(t, s.Bootstrap(ctx, BootstrapOptions{}))
	must(t, s.AcceptBootstrap())
	must(t, s.StartPrimary(ctx, 0))
	if waiting := s.sql(t, ctx, "SELECT count(*) > 0 FROM pg_catalog.pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"); waiting != "t" && waiting != "true" {
		t.Errorf("nothing is marked for the archiver any more: %q", waiting)
	}
}

func TestBootstrapFailureIsPutAside(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	s := l.server("n1")
	err := s.Bootstrap(ctx, BootstrapOptions{PostInit: "echo no luck; false"})
	if err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Fatalf("error %v", err)
	}
	f := s.Observe(ctx)
	if f.Dir != DirMissing || f.Process != ProcStopped || !exists(s.failedDir()) {
		t.Fatalf("after failure: %+v", f)
	}
	if err := s.Bootstrap(ctx, BootstrapOptions{InitDB: []Option{{Name: "pgdata", Value: "/x"}}}); err == nil {
		t.Fatal("a forbidden option was accepted")
	}
}

func TestCloneFollowPromoteToWantedTimeline(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	var said []string
	b := l.server("b")
	must(t, b.Clone(ctx, a.source(), func(s string) { said = append(said, s) }))
	if !strings.Contains(strings.Join(said, "\n"), "MB copied") {
		t.Errorf("no progress in %q", said)
	}
	must(t, b.StartStandby(ctx, a.upstream(), true))
	l.caughtUp(ctx, b, a)
	c := l.replica(ctx, "c", a)

	f := b.Observe(ctx)
	if f.Role != RoleStandby || f.Position.Timeline != 1 || f.Upstream.Port != a.upstream().Port || f.Receiver.Endpoint.Port != a.upstream().Port {
		t.Fatalf("standby: %+v", f)
	}
	if len(a.Observe(ctx).WalSenders) != 2 {
		t.Fatalf("primary sees %+v", a.Observe(ctx).WalSenders)
	}
	must(t, a.SetSyncNames(ctx, []string{"c", "b-1"}))
	if got := a.Observe(ctx).SyncNames; got != `2 ("b-1",c)` {
		t.Errorf("synchronous_standby_names %q", got)
	}
	must(t, a.SetSyncNames(ctx, nil))

	// The vote: no record of a reaches b any more.
	_, err := c.StopReceiver(ctx) // first, so that it cannot be ahead of b
	must(t, err)
	pos, err := b.StopReceiver(ctx)
	must(t, err)
	a.sql(t, ctx, "CREATE TABLE after_the_vote()")
	f = b.Observe(ctx)
	if f.Receiver.Running || f.Position != pos {
		t.Fatalf("after StopReceiver at %s: %+v", pos, f)
	}
	_, err = a.Stop(ctx, StopFast, StopOptions{})
	must(t, err)

	p, err := b.Promote(ctx, 4)
	must(t, err)
	if p.Timeline != 4 || p.Identity.CRC == 0 || p.Identity.Switch != pos.LSN {
		t.Fatalf("promotion %+v from %s", p, pos)
	}
	b.sql(t, ctx, "CREATE TABLE on_b()")
	if again, err := b.Promote(ctx, 4); err != nil || again.Timeline != 4 {
		t.Fatalf("promoting twice: %+v, %v", again, err)
	}

	// c follows across the gap of numbers and computes the same identity.
	must(t, c.Follow(ctx, b.upstream()))
	l.caughtUp(ctx, c, b)
	f = c.Observe(ctx)
	if f.Position.Timeline != 4 || f.Identity != p.Identity {
		t.Fatalf("follower: position %s identity %+v, want %+v", f.Position, f.Identity, p.Identity)
	}
}

func TestSameNumberDifferentIdentity(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	b, _, pb, pc := l.twoBranches(ctx)
	if pb.Identity.Switch != pc.Identity.Switch {
		t.Fatalf("both were to fork at one point: %+v %+v", pb, pc)
	}
	if !pb.Identity.Conflicts(pc.Identity) {
		t.Fatalf("two branches of timeline 2 are not told apart: %+v %+v", pb.Identity, pc.Identity)
	}
	if _, err := b.Promote(ctx, 3); err == nil {
		t.Fatal("a primary on 2 passed for one on 3")
	}

	// What was seen once outlives the segment that bears it.
	_, err := b.Stop(ctx, StopFast, StopOptions{})
	must(t, err)
	files, err := filepath.Glob(filepath.Join(b.walDir(), "00000002????????????????"))
	must(t, err)
	for _, f := range files {
		must(t, os.Remove(f))
	}
	again, err := New(b.opt)
	must(t, err)
	defer again.Close()
	if got := again.Identity(2); got != pb.Identity {
		t.Errorf("identity %+v, was %+v", got, pb.Identity)
	}
}

func TestStoppedPositions(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)

	a.sql(t, ctx, "CREATE TABLE t (i int); INSERT INTO t SELECT generate_series(1, 20000)")
	l.caughtUp(ctx, b, a)
	r, err := a.Stop(ctx, StopFast, StopOptions{Keep: []string{"b"}})
	must(t, err)
	if !r.Clean || !r.Position.Known() || len(r.Confirmed) != 1 {
		t.Fatalf("stop: %+v", r)
	}
	if got := b.Observe(ctx).Position; got.LSN != r.Position.LSN {
		t.Fatalf("the standby is at %s, the stopped primary ends at %s", got, r.Position)
	}
	if !exists(a.standbySignal()) {
		t.Error("no standby.signal after a stop")
	}

	// Clean, then crashed: the last flushed position is found in the log.
	must(t, a.StartPrimary(ctx, 0))
	a.sql(t, ctx, "INSERT INTO t SELECT generate_series(1, 300000)")
	a.sql(t, ctx, "SELECT pg_switch_wal(); INSERT INTO t VALUES (1)")
	want := a.Observe(ctx).Position
	a.crash(t, ctx)
	if f := a.Observe(ctx); f.Position.Timeline != 1 || f.Position.LSN < want.LSN || f.Control.State != control.InProduction {
		t.Fatalf("crashed: %s, had %s flushed (%s)", f.Position, want, f.ControlError)
	}
	// A crash restart stays on its timeline.
	must(t, a.StartPrimary(ctx, 0))
	if f := a.Observe(ctx); f.Position.Timeline != 1 || f.Role != RolePrimary {
		t.Fatalf("restarted: %+v", f)
	}

	// Promoted, crashed before the first checkpoint: the control file still
	// names the parent.
	l.caughtUp(ctx, b, a)
	b.sql(t, ctx, "CHECKPOINT")
	_, err = b.StopReceiver(ctx)
	must(t, err)
	p, err := b.Promote(ctx, 2)
	must(t, err)
	b.sql(t, ctx, "CREATE TABLE on_b()")
	want = b.Observe(ctx).Position
	b.crash(t, ctx)
	f := b.Observe(ctx)
	if f.Position.Timeline != 2 || f.Position.LSN < want.LSN || f.Identity != p.Identity {
		t.Fatalf("promoted and crashed: %s (control says %d), want %s", f.Position, f.Control.Timeline, want)
	}
}

func TestStoppedStandbyPosition(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)
	a.sql(t, ctx, "CREATE TABLE t AS SELECT generate_series(1, 100000)")
	l.caughtUp(ctx, b, a)
	had := b.Observe(ctx).Position
	_, err := b.Stop(ctx, StopFast, StopOptions{})
	must(t, err)
	f := b.Observe(ctx)
	if f.Position.Timeline != 1 || f.Position.LSN < had.LSN || f.Role != RoleStandby {
		t.Fatalf("stopped standby at %s, had %s: %+v", f.Position, had, f)
	}
	if err := b.StartPrimary(ctx, 0); err == nil {
		t.Fatal("a standby's directory was started as primary")
	}
}

func TestPostmasterEventAndAdoption(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	other, err := New(a.opt)
	must(t, err)
	defer other.Close()
	other.SetConfig(testConfig(l.dir))
	if f := other.Observe(ctx); f.Process != ProcRunning || f.PID != a.Observe(ctx).PID {
		t.Fatalf("not adopted: %+v", f)
	}
	a.crash(t, ctx)
	for _, s := range []*Server{a, other} {
		select {
		case e := <-s.Events():
			if e.PID == 0 {
				t.Error("event without a process")
			}
		case <-ctx.Done():
			t.Fatal("no event")
		}
	}
	if f := a.Observe(ctx); f.Process != ProcStopped || f.Dir != DirPresent {
		t.Fatalf("after the crash: %+v", f)
	}
	// A start that fails says why.
	cfg := testConfig(l.dir)
	cfg.Parameters = append(cfg.Parameters, Param{Name: "shared_preload_libraries", Value: "no_such_library"})
	a.SetConfig(cfg)
	err = a.StartPrimary(ctx, 0)
	if err == nil || !strings.Contains(err.Error(), "no_such_library") {
		t.Fatalf("error %v", err)
	}
	if f := a.Observe(ctx); f.LastStartErr == "" {
		t.Error("the failed start left no reason")
	}
}

func TestConfigPendingRestartMaximaAndHBA(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)

	cfg := testConfig(l.dir)
	cfg.Parameters = append(cfg.Parameters, Param{Name: "work_mem", Value: "7MB"}, Param{Name: "no_such_setting", Value: "1"},
		Param{Name: "random_page_cost", Value: "dear"}, Param{Name: "my.own", Value: "it's \\ ok"})
	cfg.Parameters = append(cfg.Parameters[:2:2], cfg.Parameters[3:]...) // shared_buffers away: needs a restart
	for i := range cfg.Controlled {
		if cfg.Controlled[i].Name == "max_connections" {
			cfg.Controlled[i].Value = "30"
		}
	}
	cfg.HBA = append([]string{"host all nobody 127.0.0.1/32 reject"}, testHBA...)
	a.SetConfig(cfg)
	pending, err := a.ApplyConfig(ctx)
	must(t, err)
	var names []string
	for _, p := range pending {
		names = append(names, p.Name+"="+p.Old+"→"+p.New)
	}
	if got := strings.Join(names, " "); !strings.Contains(got, "max_connections=50→30") || !strings.Contains(got, "shared_buffers=16MB→128MB") {
		t.Errorf("pending %q", got)
	}
	if got := a.sql(t, ctx, "SHOW work_mem") + a.sql(t, ctx, "SELECT current_setting('my.own')"); got != `7MBit's \ ok` {
		t.Errorf("settings in force: %q", got)
	}
	if got := a.sql(t, ctx, "SELECT string_agg(auth_method, ',' ORDER BY line_number) FROM pg_hba_file_rules"); got != "reject,scram-sha-256,scram-sha-256" {
		t.Errorf("hba %q", got)
	}

	// A standby never starts with less than its primary's log demands.
	b.SetConfig(cfg)
	must(t, restart(ctx, b))
	f := b.Observe(ctx)
	if got := b.sql(t, ctx, "SHOW max_connections"); got != "50" || f.Role != RoleStandby {
		t.Fatalf("standby has max_connections %s, %+v", got, f)
	}
	if len(f.Pending) != 1 || f.Pending[0].Name != "max_connections" || f.Pending[0].New != "30" {
		t.Errorf("standby's pending %+v", f.Pending)
	}
	must(t, restart(ctx, a))
	if f := a.Observe(ctx); len(f.Pending) != 0 || f.Role != RolePrimary || f.Position.Timeline != 1 {
		t.Errorf("after the restart: %+v", f)
	}
}

// A setting that was added and taken away again waits for no restart, although
// the server goes on saying so.
func TestPendingRestartEndsWhenTakenBack(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	apply := func(edit func(*Config)) []string {
		cfg := testConfig(l.dir)
		edit(&cfg)
		a.SetConfig(cfg)
		pending, err := a.ApplyConfig(ctx)
		must(t, err)
		var names []string
		for _, p := range pending {
			names = append(names, p.Name)
		}
		return names
	}
	add := func(c *Config) {
		c.Parameters = append(c.Parameters, Param{Name: "max_files_per_process", Value: "2000"})
	}
	if got := apply(add); !slices.Equal(got, []string{"max_files_per_process"}) {
		t.Fatalf("pending %q", got)
	}
	if got := apply(func(*Config) {}); got != nil {
		t.Errorf("pending %q after it was taken back", got)
	}
	if got := apply(add); !slices.Equal(got, []string{"max_files_per_process"}) {
		t.Errorf("pending %q when it was added again", got)
	}
	must(t, restart(ctx, a))
	if f := a.Observe(ctx); len(f.Pending) != 0 {
		t.Errorf("pending %+v after the restart", f.Pending)
	}
	if got := apply(func(*Config) {}); !slices.Equal(got, []string{"max_files_per_process"}) {
		t.Errorf("pending %q when the value in force was removed", got)
	}
}

func TestAClusterNameThatTheServerRewritesIsNotPending(t *testing.T) {
	for scope, shown := range map[string]string{"zürich": "z??rich", strings.Repeat("x", 70): strings.Repeat("x", 63)} {
		s := &Server{opt: Options{Scope: scope}}
		if got := s.pending([]probe.GUC{{Name: "cluster_name", Value: shown}}); got != nil {
			t.Errorf("%s: pending %+v", scope, got)
		}
	}
	s := &Server{opt: Options{Scope: "demo"}}
	if got := s.pending([]probe.GUC{{Name: "cluster_name", Value: "other"}}); len(got) != 1 {
		t.Errorf("pending %+v", got)
	}
}

func TestADirectoryOfSomethingElse(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	s := l.server("a")
	must(t, os.MkdirAll(s.opt.DataDir, 0o755))
	must(t, os.WriteFile(s.dataPath("letter.txt"), nil, 0o644))
	if f := s.Observe(ctx); f.Dir != DirBroken || !strings.Contains(f.ControlError, "holds files, but no database of PostgreSQL") {
		t.Errorf("%s: %q", f.Dir, f.ControlError)
	}
}

// Files that were written when the server could not be told are read later.
func TestConfigIsReadAfterAFailure(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	cfg := testConfig(l.dir)
	cfg.Parameters = append(cfg.Parameters, Param{Name: "work_mem", Value: "7MB"})
	a.SetConfig(cfg)
	_, err := a.writeFiles(ctx, false) // and then the time was over, or the agent ended
	must(t, err)
	if _, err := a.ApplyConfig(ctx); err != nil || a.sql(t, ctx, "SHOW work_mem") != "7MB" {
		t.Errorf("work_mem is %s, %v", a.sql(t, ctx, "SHOW work_mem"), err)
	}
}

func TestSlots(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)
	must(t, a.SyncSlots(ctx, []Slot{{Name: "b"}, {Name: "c"}}))
	must(t, a.SyncSlots(ctx, []Slot{{Name: "b"}}))
	f := a.Observe(ctx)
	if len(f.Slots) != 1 || f.Slots[0].Name != "b" || f.Slots[0].Restart == 0 {
		t.Fatalf("slots %+v", f.Slots)
	}
	must(t, b.SyncSlots(ctx, []Slot{{Name: "c"}}))
	before := b.Observe(ctx).Slots[0].Restart
	a.sql(t, ctx, "CREATE TABLE t AS SELECT generate_series(1, 1000)")
	l.caughtUp(ctx, b, a)
	must(t, b.SyncSlots(ctx, []Slot{{Name: "c", LSN: a.Observe(ctx).Flushed}}))
	if after := b.Observe(ctx).Slots[0].Restart; after <= before {
		t.Errorf("slot on the standby at %s, was %s", after, before)
	}
}

// What a role, a database, or the server itself sets below "on" is seen, whatever
// it is written as, and nothing else is.
func TestWeakCommitsAreSeen(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)
	if f := a.Observe(ctx); len(f.WeakCommits) != 0 || f.SyncCommit != "on" {
		t.Fatalf("of a new cluster: %v, %q", f.WeakCommits, f.SyncCommit)
	}
	for _, q := range []string{`CREATE ROLE "A b"`, `CREATE ROLE fine`, `ALTER ROLE "A b" SET synchronous_commit = 'Off'`,
		`ALTER ROLE fine SET synchronous_commit = remote_apply`, `ALTER ROLE fine SET application_name = 'synchronous_commit=off'`,
		`ALTER DATABASE postgres SET synchronous_commit = local`, `ALTER ROLE fine IN DATABASE template1 SET synchronous_commit = remote_write`,
		`ALTER ROLE ALL SET synchronous_commit = false`} {
		a.sql(t, ctx, q)
	}
	// A session keeps what it began with: that of ALTER ROLE ALL is not told as the
	// server's.
	anew := func() {
		a.sql(t, ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
	}
	anew()
	var f Facts
	must(t, poll(ctx, 5*time.Millisecond, "the server to be asked in a new session", func() (bool, error) {
		f = a.Observe(ctx)
		return f.SQLError == "" && f.SyncCommit != "on", nil
	}))
	if f.SyncCommit != "" {
		t.Errorf("by the server's files: %q, want that it is not known", f.SyncCommit)
	}
	want := []WeakCommit{{Value: "false"}, {Database: "postgres", Value: "local"}, {Role: "A b", Value: "off"}, {Role: "fine", Database: "template1", Value: "remote_write"}}
	if !slices.Equal(f.WeakCommits, want) {
		t.Errorf("seen: %v, want %v (%s)", f.WeakCommits, want, f.SQLError)
	}
	l.caughtUp(ctx, b, a)
	if f := b.Observe(ctx); f.SQLError != "" || len(f.WeakCommits) != 0 {
		t.Errorf("of a standby: %v %s", f.WeakCommits, f.SQLError)
	}
	for _, w := range f.WeakCommits {
		_, remedy, _ := strings.Cut(w.String(), ": ")
		a.sql(t, ctx, remedy)
	}
	if f := a.Observe(ctx); len(f.WeakCommits) != 0 {
		t.Errorf("after the remedies: %v", f.WeakCommits)
	}
	cfg := testConfig(l.dir)
	a.SetConfig(set(cfg, "synchronous_commit", "local"))
	_, err := a.ApplyConfig(ctx)
	must(t, err)
	anew()
	must(t, poll(ctx, 5*time.Millisecond, "the server's own setting to be seen", func() (bool, error) {
		return a.Observe(ctx).SyncCommit == "local", nil
	}))
}
