package postgres

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/internal/messages"
)

// told compares an error with the table.
func told(t *testing.T, id string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", id)
		return
	}
	messages.Check(t, id, err.Error())
}

// set changes parameters of a configuration.
func set(c Config, nameValue ...string) Config {
	for i := 0; i < len(nameValue); i += 2 {
		list := &c.Parameters
		for _, p := range c.Controlled {
			if p.Name == nameValue[i] {
				list = &c.Controlled
			}
		}
		var kept []Param
		for _, p := range *list {
			if p.Name != nameValue[i] {
				kept = append(kept, p)
			}
		}
		*list = append(kept, Param{Name: nameValue[i], Value: nameValue[i+1]})
	}
	return c
}

// TestMessagesBinaries: what is wrong with the installed programs.
func TestMessagesBinaries(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	bin := func(version string, programs ...string) string {
		dir := filepath.Join(l.dir, "bin"+version+strconv.Itoa(len(programs)))
		must(t, os.MkdirAll(dir, 0o755))
		for _, p := range programs {
			must(t, os.WriteFile(filepath.Join(dir, p), []byte("#!/bin/sh\necho 'postgres (PostgreSQL) "+version+"'\n"), 0o755))
		}
		return dir
	}
	check := func(id, dir, major string) {
		t.Helper()
		opt := l.options("x", 1)
		opt.BinDir = dir
		if major != "" {
			must(t, os.MkdirAll(opt.DataDir, 0o700))
			must(t, os.WriteFile(filepath.Join(opt.DataDir, "PG_VERSION"), []byte(major+"\n"), 0o600))
		}
		s, err := New(opt)
		must(t, err)
		defer s.Close()
		told(t, id, s.CheckBinaries(ctx))
	}
	check("no-programs", "/nonexistent", "")
	check("no-pg-rewind", bin("15.4", programs[:len(programs)-1]...), "")
	check("old-postgresql", bin("12.22", programs...), "")
	check("other-major", bin("15.4", programs...), "14")
}

// TestMessagesDirectories: what is wrong with the places of the configuration.
func TestMessagesDirectories(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	file := filepath.Join(l.dir, "file")
	must(t, os.WriteFile(file, nil, 0o644))
	opt := l.options("s", 1)
	opt.StateDir = filepath.Join(file, "state")
	_, err := New(opt)
	told(t, "state-dir", err)

	opt = l.options("d", 1)
	opt.DataDir = file
	s, err := New(opt)
	must(t, err)
	defer s.Close()
	messages.Check(t, "data-dir-file", s.Observe(ctx).DirError)
}

// TestMessagesBootstrap: a database that cannot be made.
func TestMessagesBootstrap(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	bootstrap := func(s *Server, initdb ...Option) error { return s.Bootstrap(ctx, BootstrapOptions{InitDB: initdb}) }
	told(t, "no-locale", bootstrap(l.server("locale"), Option{Name: "locale", Value: "xx_YY.UTF-8"}))

	s := l.server("port")
	held, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.opt.Port))
	must(t, err)
	defer held.Close()
	told(t, "port-taken", bootstrap(s))
	if exists(s.opt.DataDir) {
		t.Error("a database was made for a port that is taken")
	}
}

// TestMessagesFullDisk: the second attempt says the same, not that the first one
// left something behind.
func TestMessagesFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	l, ctx := newLab(t), testCtx(t)
	s := l.server("a")
	must(t, s.user.MkdirAll(s.opt.DataDir, 0o700))
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=8m", "none", s.opt.DataDir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", s.opt.DataDir).Run() })
	for range 2 {
		told(t, "disk-full-initdb", s.Bootstrap(ctx, BootstrapOptions{InitDB: []Option{{Name: "no-instructions"}}}))
	}
}

// TestMessagesStart: a server that does not start says why, once, and is not
// harmed: it starts when that is mended.
func TestMessagesStart(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	s := l.primary(ctx, "a")
	_, err := s.Stop(ctx, StopFast, StopOptions{})
	must(t, err)
	start := func(id string, c Config) {
		t.Helper()
		s.SetConfig(c)
		told(t, id, s.StartPrimary(ctx, 0))
	}
	good := testConfig(l.dir)
	start("preload-library", set(good, "shared_preload_libraries", "nolib"))
	start("huge-pages", set(good, "huge_pages", "on"))
	start("socket-dir-long", set(good, "unix_socket_directories", filepath.Join(l.dir, strings.Repeat("long", 30))))
	start("socket-dir-missing", set(good, "unix_socket_directories", "/proc/nothere"))
	bad := good
	bad.HBA = []string{"local all all perhaps"}
	start("hba-syntax", bad)

	held, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.opt.Port))
	must(t, err)
	start("port-taken", good)
	held.Close()

	must(t, os.Chmod(s.opt.DataDir, 0o777))
	start("data-dir-mode", good)
	must(t, os.Chmod(s.opt.DataDir, 0o700))

	if os.Geteuid() == 0 {
		must(t, os.Chown(s.opt.DataDir, 0, 0))
		s.mu.Lock()
		s.cache.controlKey = ""
		s.mu.Unlock()
		start("data-dir-owner", good)
		must(t, s.user.Chown(s.opt.DataDir))
	}

	s.opt.BinDir = limited(t, l, s, "ulimit -n 40")
	start("open-files", good)
	s.opt.BinDir = ""

	s.SetConfig(good)
	must(t, s.StartPrimary(ctx, 0))
	if got := s.sql(t, ctx, "SELECT 1"); got != "1" {
		t.Errorf("it answers %q", got)
	}
	leftovers(t, ctx, l, s)

	_, err = s.Stop(ctx, StopFast, StopOptions{})
	must(t, err)
	slow := set(good, "restore_command", "sleep 3; false")
	slow.StartTimeout = 500 * time.Millisecond
	s.SetConfig(slow)
	told(t, "slow-start", s.StartStandby(ctx, nil, true))
	s.crash(t, ctx)
	s.SetConfig(set(good, "restore_command", "/nonexistent/restore %f %p"))
	told(t, "restore-command", s.StartStandby(ctx, nil, true))
}

// leftovers: what an earlier life left behind, while another server runs.
func leftovers(t *testing.T, ctx context.Context, l *lab, a *Server) {
	// Another data directory's server on the port.
	b := l.server("b")
	b.opt.Port = a.opt.Port
	must(t, b.user.MkdirAll(filepath.Dir(b.opt.DataDir), 0o755))
	must(t, exec.Command("cp", "-a", filepath.Join(template.dir, "data"), b.opt.DataDir).Run())
	err := b.StartPrimary(ctx, 0)
	told(t, "other-server-on-port", err)
	if err != nil && !strings.Contains(err.Error(), a.opt.DataDir) {
		t.Errorf("the message does not name the other's directory: %v", err)
	}

	// postmaster.pid of a process that is somebody else's by now.
	b.opt.Port = freePort(t)
	sleep := exec.Command("sleep", "60")
	must(t, sleep.Start())
	defer func() { _ = sleep.Process.Kill(); _ = sleep.Wait() }()
	pid := fmt.Sprintf("%d\n%s\n%d\n%d\n\n127.0.0.1\n", sleep.Process.Pid, b.opt.DataDir, time.Now().Add(-time.Hour).Unix(), b.opt.Port)
	must(t, b.user.WriteFile(b.dataPath("postmaster.pid"), []byte(pid), 0o600))
	log := record(b)
	must(t, b.StartPrimary(ctx, 0))
	messages.Check(t, "stale-pid-file", log())
}

// limited makes a directory of programs of which the server runs under a limit.
func limited(t *testing.T, l *lab, s *Server, limit string) string {
	t.Helper()
	real, err := s.binary("postgres")
	must(t, err)
	dir := filepath.Join(l.dir, "limited")
	must(t, os.MkdirAll(dir, 0o755))
	entries, err := os.ReadDir(filepath.Dir(real))
	must(t, err)
	for _, e := range entries {
		if e.Name() != "postgres" {
			must(t, os.Symlink(filepath.Join(filepath.Dir(real), e.Name()), filepath.Join(dir, e.Name())))
		}
	}
	script := fmt.Sprintf("#!/bin/sh\n%s\nexec %s \"$@\"\n", limit, real)
	must(t, os.WriteFile(filepath.Join(dir, "postgres"), []byte(script), 0o755))
	return dir
}

// TestMessagesReplication: why another server cannot be copied or followed.
func TestMessagesReplication(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)
	apply := func(s *Server, c Config) {
		t.Helper()
		s.SetConfig(c)
		_, err := s.ApplyConfig(ctx)
		must(t, err)
	}
	// notStreaming waits until the standby tells why.
	notStreaming := func(id string) {
		t.Helper()
		why := ""
		must(t, poll(ctx, 50*time.Millisecond, "the standby to tell why it does not stream", func() (bool, error) {
			why = b.Observe(ctx).ReceiverError
			return why != "", nil
		}))
		messages.Check(t, id, why)
	}
	cut := func() {
		a.sql(t, ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
	}
	c := l.server("c")

	closed := testConfig(l.dir)
	closed.HBA = []string{"host all all 127.0.0.1/32 scram-sha-256"}
	apply(a, closed)
	cut()
	notStreaming("stream-hba")
	told(t, "clone-hba", c.Clone(ctx, a.source(), nil))
	told(t, "check-hba", c.ReplicationCheck(ctx, a.source()))
	apply(a, testConfig(l.dir))
	l.caughtUp(ctx, b, a)
	if why := b.Observe(ctx).ReceiverError; why != "" {
		t.Errorf("it streams, and says %s", why)
	}

	a.sql(t, ctx, "ALTER ROLE replicator PASSWORD 'another'")
	cut()
	notStreaming("stream-password")
	told(t, "clone-password", c.Clone(ctx, a.source(), nil))
	a.sql(t, ctx, "ALTER ROLE replicator PASSWORD '"+replPass+"'")

	// The WAL that the standby needs is removed.
	_, err := b.Stop(ctx, StopFast, StopOptions{})
	must(t, err)
	apply(a, set(testConfig(l.dir), "wal_keep_size", "0", "max_wal_size", "2MB", "min_wal_size", "2MB"))
	a.sql(t, ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")
	for range 4 {
		a.sql(t, ctx, "SELECT pg_switch_wal() FROM (SELECT txid_current()) x")
		a.sql(t, ctx, "CHECKPOINT")
	}
	must(t, b.StartStandby(ctx, a.upstream(), true))
	notStreaming("wal-removed")

	// The source has no walsender.
	a.SetConfig(set(testConfig(l.dir), "max_wal_senders", "0"))
	must(t, restart(ctx, a))
	told(t, "clone-senders", c.Clone(ctx, a.source(), nil))
}

// TestMessagesRunning: a running server that cannot serve.
func TestMessagesRunning(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	_, err := a.Stop(ctx, StopFast, StopOptions{})
	must(t, err)
	conf := set(testConfig(l.dir), "max_connections", "6", "superuser_reserved_connections", "1", "max_wal_senders", "2", "max_replication_slots", "1",
		"archive_mode", "on", "archive_command", "false")
	a.SetConfig(conf)
	must(t, a.StartPrimary(ctx, 0))

	log := record(a)
	a.SetConfig(set(conf, "shared_bufers", "16MB", "work_mem", "plenty"))
	for range 2 { // said once
		_, err := a.ApplyConfig(ctx)
		must(t, err)
	}
	messages.Check(t, "parameter-unknown", log())
	messages.Check(t, "parameter-invalid", log())
	a.SetConfig(conf)

	told(t, "slots-exhausted", a.SyncSlots(ctx, []Slot{{Name: "one"}, {Name: "two"}}))

	a.sql(t, ctx, "SELECT pg_switch_wal() FROM (SELECT txid_current()) x")
	must(t, poll(ctx, 50*time.Millisecond, "the archiver's failure", func() (bool, error) {
		f := a.Observe(ctx)
		return f.Archive.Failures > 0 && strings.HasPrefix(f.Archive.File, "00000001"), nil
	}))

	// Every connection is used, the reserved ones too.
	a.probeMu.Lock()
	a.dropHeart()
	a.probeMu.Unlock()
	var held []interface{ Close() }
	for {
		c, err := a.session(ctx)
		if err != nil {
			break
		}
		held = append(held, c)
	}
	messages.Check(t, "connections-exhausted", a.Observe(ctx).SQLError)
	for _, c := range held {
		c.Close()
	}
	must(t, poll(ctx, 50*time.Millisecond, "connections to be free", func() (bool, error) { return a.Observe(ctx).SQLError == "", nil }))

	a.sql(t, ctx, "ALTER ROLE postgres PASSWORD 'another'")
	a.probeMu.Lock()
	a.dropHeart()
	a.probeMu.Unlock()
	messages.Check(t, "superuser-password", a.Observe(ctx).SQLError)
}

// TestMessagesRewind: a rewind whose role may not read what it must.
func TestMessagesRewind(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a, b, _ := diverged(t, l, ctx)
	must(t, a.MarkStandby())
	b.sql(t, ctx, "REVOKE EXECUTE ON FUNCTION pg_read_binary_file(text) FROM rewinder; REVOKE EXECUTE ON FUNCTION pg_ls_dir(text,boolean,boolean) FROM rewinder; REVOKE EXECUTE ON FUNCTION pg_read_binary_file(text,bigint,bigint,boolean) FROM rewinder")
	told(t, "rewind-grants", a.Rewind(ctx, b.source(), nil))
}
