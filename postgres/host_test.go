package postgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Peer authentication on the socket works for an agent that is root.
func TestPeerAuthenticationOnTheSocket(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	opt := l.options("a", freePort(t))
	opt.UseUnixSocket, opt.Superuser = true, Credentials{}
	s, err := New(opt)
	must(t, err)
	defer s.Close()
	cfg := testConfig(l.dir)
	cfg.HBA = []string{"local all all peer"}
	s.SetConfig(cfg)
	must(t, s.Bootstrap(ctx, BootstrapOptions{}))
	must(t, s.AcceptBootstrap())
	must(t, s.StartPrimary(ctx, 0))
	f := s.Observe(ctx)
	if f.SQLError != "" || f.Role != RolePrimary {
		t.Errorf("%+v", f)
	}
	_, err = s.Stop(ctx, StopFast, StopOptions{})
	must(t, err)
}

// A postmaster.pid left by a crash may name a living process of the same user.
func TestStaleLockFileOfALivingStranger(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	text, err := a.readPrivate(a.dataPath("postmaster.pid"))
	must(t, err)
	a.crash(t, ctx)
	stranger := a.user.Command(ctx, nil, "/bin/sleep", "60")
	must(t, stranger.Start())
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	_, rest, _ := cutLine(text)
	must(t, a.user.WriteFile(a.dataPath("postmaster.pid"), fmt.Appendf(nil, "%d\n%s", stranger.Process.Pid, rest), 0o600))
	if f := a.Observe(ctx); f.Process != ProcStopped {
		t.Fatalf("a stranger passes for the server: %+v", f)
	}
	must(t, a.StartPrimary(ctx, 0))
	if f := a.Observe(ctx); f.Process != ProcRunning || f.PID == stranger.Process.Pid {
		t.Fatalf("%+v", f)
	}
}

func cutLine(s string) (line, rest string, ok bool) {
	for i := range s {
		if s[i] == '\n' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// A data directory that cannot be renamed is exchanged in place.
func TestCloneIntoALinkedDirectory(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.server("b")
	disk := filepath.Join(l.dir, "disk")
	must(t, b.user.MkdirAll(filepath.Dir(b.opt.DataDir), 0o755))
	must(t, os.Mkdir(disk, 0o755)) // root's, as a fresh mount is
	must(t, os.Mkdir(filepath.Join(disk, "lost+found"), 0o700))
	must(t, os.Symlink(disk, b.opt.DataDir))
	if f := b.Observe(ctx); f.Dir != DirEmpty {
		t.Fatalf("a fresh mount is %s", f.Dir)
	}
	// The source's directory may be such a one too; what it keeps inside is not ours.
	for _, name := range []string{keptInside, removingInside} {
		must(t, a.user.MkdirAll(a.dataPath(name), 0o700))
		must(t, a.user.WriteFile(a.dataPath(name, "of-a"), nil, 0o600))
	}
	for i := range 2 {
		must(t, b.Clone(ctx, a.source(), nil))
		must(t, b.StartStandby(ctx, a.upstream(), true))
		l.caughtUp(ctx, b, a)
		_, err := b.Stop(ctx, StopFast, StopOptions{})
		must(t, err)
		if found := ours(disk); i == 0 && len(found) != 0 {
			t.Errorf("the first copy has left %q", found)
		}
	}
	if exists(filepath.Join(disk, keptInside, "of-a")) || !exists(filepath.Join(disk, "lost+found")) || !exists(filepath.Join(disk, ".matriarch-replaced", "PG_VERSION")) || exists(filepath.Join(disk, ".matriarch-new")) {
		t.Error("the exchange in place left the wrong things")
	}
}

// A restarted agent neither drops the upstream nor the synchronous standbys
// when it writes the files before anything was decided.
func TestRestartedAgentKeepsWhatIsInForce(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)
	must(t, a.SetSyncNames(ctx, []string{"b"}))
	for _, s := range []*Server{a, b} {
		again, err := New(s.opt)
		must(t, err)
		cfg := testConfig(l.dir)
		cfg.Parameters = append(cfg.Parameters, Param{Name: "work_mem", Value: "5MB"})
		again.SetConfig(cfg)
		_, err = again.ApplyConfig(ctx)
		must(t, err)
		again.Close()
	}
	if got := a.Observe(ctx).SyncNames; got != "b" {
		t.Errorf("synchronous_standby_names became %q", got)
	}
	if got := b.Observe(ctx).Upstream.Port; got != a.upstream().Port {
		t.Errorf("the upstream became %q", got)
	}
}

// Stopping and starting are quick; nothing sleeps through a change.
func TestObserveIsCheap(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	pid := a.Observe(ctx)
	began := time.Now()
	for range 50 {
		if f := a.Observe(ctx); f.SQLError != "" {
			t.Fatal(f.SQLError)
		}
	}
	t.Logf("one observation takes %s", time.Since(began)/50)
	if n := a.sql(t, ctx, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'Matriarch heartbeat'"); n != "1" {
		t.Errorf("%s heartbeat sessions after 50 observations of %d", n, pid.PID)
	}
}

// Configuration files may live outside the data directory; a clone makes its
// own from the copies that came with the data.
func TestConfigDirElsewhere(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	var servers []*Server
	for _, name := range []string{"a", "b"} {
		opt := l.options(name, freePort(t))
		opt.ConfigDir = filepath.Join(l.dir, name, "etc")
		s, err := New(opt)
		must(t, err)
		cfg := testConfig(l.dir)
		if name == "b" {
			cfg.HBA = nil // not managed: it must come from the source
		}
		s.SetConfig(cfg)
		t.Cleanup(func() {
			if p := s.process(); p != nil {
				_ = s.kill(context.Background(), p)
			}
			s.Close()
		})
		servers = append(servers, s)
	}
	a, b := servers[0], servers[1]
	must(t, a.Bootstrap(ctx, BootstrapOptions{}))
	must(t, a.AcceptBootstrap())
	must(t, a.StartPrimary(ctx, 0))
	if got := a.sql(t, ctx, "SHOW config_file"); got != filepath.Join(a.opt.ConfigDir, "postgresql.conf") {
		t.Errorf("config_file %s", got)
	}
	must(t, b.Clone(ctx, a.source(), nil))
	must(t, b.StartStandby(ctx, a.upstream(), true))
	l.caughtUp(ctx, b, a)
	if text, _ := b.readPrivate(b.hbaConf()); !strings.Contains(text, testHBA[0]) {
		t.Errorf("pg_hba.conf of the clone:\n%s", text)
	}
	if text, _ := b.readPrivate(b.baseConf()); !strings.Contains(text, "lc_messages") {
		t.Error("the clone has no base configuration")
	}
}
