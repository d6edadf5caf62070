package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A line that the server cannot read is refused before it is in force: the file
// keeps the former lines, so that the server starts again with them.
func TestRefusedRulesLeaveTheFormer(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	before, err := os.ReadFile(a.hbaConf())
	must(t, err)
	cfg := testConfig(l.dir)
	cfg.HBA = append([]string{"local all all perhaps", "host all all nowhere"}, testHBA...)
	cfg.Ident = []string{"map /( postgres"}
	cfg.Parameters = append(cfg.Parameters, Param{Name: "work_mem", Value: "7MB"})
	a.SetConfig(cfg)
	for range 2 { // told each time, written never
		_, err = a.ApplyConfig(ctx)
		var refused *RefusedRules
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), a.hbaConf()+": line 3: invalid authentication method \"perhaps\"") ||
			!strings.Contains(err.Error(), "line 4") || !strings.Contains(err.Error(), a.identConf()) {
			t.Fatalf("error %v", err)
		}
		if now, _ := os.ReadFile(a.hbaConf()); string(now) != string(before) {
			t.Fatalf("pg_hba.conf became\n%s", now)
		}
	}
	if got := a.sql(t, ctx, "SHOW work_mem"); got != "7MB" {
		t.Errorf("the rest was not applied: work_mem %s", got)
	}
	must(t, restart(ctx, a))

	// An agent that died in between left the wrong file behind.
	must(t, a.user.WriteFile(a.hbaConf(), []byte("local all all perhaps\n"), 0o600))
	again, err := New(a.opt)
	must(t, err)
	defer again.Close()
	cfg.HBA, cfg.Ident = []string{"local all all perhaps"}, nil
	again.SetConfig(cfg)
	if _, err = again.ApplyConfig(ctx); err == nil {
		t.Error("the wrong file was taken for right")
	}
	if now, _ := os.ReadFile(a.hbaConf()); string(now) != string(before) {
		t.Errorf("pg_hba.conf became\n%s", now)
	}

	cfg.HBA = append([]string{"host all nobody 127.0.0.1/32 reject"}, testHBA...)
	again.SetConfig(cfg)
	_, err = again.ApplyConfig(ctx)
	must(t, err)
	if got := again.sql(t, ctx, "SELECT count(*) FROM pg_hba_file_rules"); got != "3" {
		t.Errorf("%s rules in force", got)
	}
}

// A server that was down when the configuration went wrong, and one that could
// not be asked, start again with the lines that were last in force.
func TestStartWithRefusedRules(t *testing.T) {
	for _, k := range []struct {
		name   string
		askers string // a line that the server has in force, so that nobody can ask it
	}{{"down", ""}, {"cannot be asked", "host all all all reject"}} {
		t.Run(k.name, func(t *testing.T) {
			l, ctx := newLab(t), testCtx(t)
			a := l.primary(ctx, "a")
			cfg := testConfig(l.dir)
			if k.askers != "" {
				cfg.HBA = []string{k.askers}
				a.SetConfig(cfg)
				_, err := a.ApplyConfig(ctx)
				must(t, err)
			}
			before, err := os.ReadFile(a.hbaConf())
			must(t, err)
			cfg.HBA = []string{"local all all perhaps"}
			if k.askers != "" {
				a.SetConfig(cfg)
				_, _ = a.ApplyConfig(ctx)
			}
			_, err = a.Stop(ctx, StopFast, StopOptions{EndArchiver: true})
			must(t, err)
			again, err := New(a.opt)
			must(t, err)
			defer again.Close()
			again.SetConfig(cfg)
			if err := again.StartPrimary(ctx, 0); err == nil || !strings.Contains(err.Error(), "pg_hba.conf") {
				t.Fatalf("the first start: %v", err)
			}
			must(t, again.StartPrimary(ctx, 0))
			if now, _ := os.ReadFile(a.hbaConf()); string(now) != string(before) {
				t.Errorf("pg_hba.conf became\n%s", now)
			}
			var refused *RefusedRules
			if _, err := again.ApplyConfig(ctx); !errors.As(err, &refused) {
				t.Errorf("not reported: %v", err)
			}
		})
	}
}

// New credentials reach the connection string of a running standby, and a
// reload is done even when no file differs.
func TestSetRoles(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)
	a.sql(t, ctx, "CREATE ROLE copier REPLICATION LOGIN PASSWORD 'other'")
	cfg := testConfig(l.dir)
	cfg.HBA = append([]string{"host replication copier 127.0.0.1/32 scram-sha-256"}, testHBA...)
	a.SetConfig(cfg)
	_, err := a.ApplyConfig(ctx)
	must(t, err)
	loaded := b.sql(t, ctx, "SELECT pg_conf_load_time()")

	r := b.roles()
	r.Replication = Credentials{Username: "copier", Password: "other"}
	b.SetRoles(r)
	_, err = b.ApplyConfig(ctx)
	must(t, err)
	must(t, poll(ctx, readyPoll, "replication as the new role", func() (bool, error) {
		return a.sql(t, ctx, "SELECT count(*) FROM pg_stat_replication WHERE usename = 'copier' AND state = 'streaming'") == "1", nil
	}))
	if text, _ := os.ReadFile(b.mainConf()); strings.Contains(string(text), "other") || !strings.Contains(string(text), "user=copier") {
		t.Errorf("postgresql.conf:\n%s", text)
	}
	files, _ := filepath.Glob(b.opt.PgPass + "-copier-*")
	if len(files) != 1 {
		t.Fatalf("password files %v", files)
	}
	if st, _ := os.Stat(files[0]); st.Mode().Perm() != 0o600 {
		t.Errorf("password file has mode %o", st.Mode().Perm())
	}
	now := b.sql(t, ctx, "SELECT pg_conf_load_time()")
	if now == loaded {
		t.Error("not reloaded")
	}
	b.SetRoles(r) // nothing new
	_, err = b.ApplyConfig(ctx)
	must(t, err)
	if b.sql(t, ctx, "SELECT pg_conf_load_time()") == now {
		t.Error("not reloaded when nothing differs")
	}
}

// What waits for a restart is told with both values as the server writes them,
// and goes when the value is set back.
func TestPendingRestartSetBack(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)
	for _, s := range []*Server{a, b} {
		cfg := testConfig(l.dir)
		for i, p := range cfg.Parameters {
			if p.Name == "shared_buffers" {
				cfg.Parameters[i].Value = "24576kB"
			}
		}
		cfg.Controlled[2].Value = "70" // max_connections
		s.SetConfig(cfg)
		pending, err := s.ApplyConfig(ctx)
		must(t, err)
		if len(pending) != 2 || pending[0] != (SettingDelta{Name: "max_connections", Old: "50", New: "70"}) ||
			pending[1] != (SettingDelta{Name: "shared_buffers", Old: "16MB", New: "24MB"}) {
			t.Errorf("%s: pending %+v", s.opt.Name, pending)
		}
		s.SetConfig(testConfig(l.dir))
		if pending, err = s.ApplyConfig(ctx); err != nil || len(pending) != 0 {
			t.Errorf("%s, set back: pending %+v, %v", s.opt.Name, pending, err)
		}
	}
}

// Files follow the data directory's mode, whichever it is at the time.
func TestModesFollowTheDataDirectory(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	for _, c := range []struct{ dir, file os.FileMode }{{0o750, 0o640}, {0o700, 0o600}} {
		must(t, os.Chmod(a.opt.DataDir, c.dir))
		_, err := a.ApplyConfig(ctx)
		must(t, err)
		for _, f := range []string{a.mainConf(), a.hbaConf()} {
			if st, err := os.Stat(f); err != nil || st.Mode().Perm() != c.file {
				t.Errorf("directory %o: %s has %v, %v", c.dir, f, st.Mode(), err)
			}
		}
	}
}

// The directories of the server's files belong to its user, who must not lead an
// agent that runs as root to other files by links.
func TestLinksLeadNowhere(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	if !a.user.Drop {
		t.Skip("only root has rights that the user lacks")
	}
	other := filepath.Join(l.dir, "other")
	must(t, os.WriteFile(other, []byte("root's"), 0o600))
	must(t, os.Remove(a.baseConf()))
	must(t, os.Symlink(other, a.baseConf()))
	a.backupConf()
	if text, _ := os.ReadFile(a.dataPath(baseName(a.baseConf()) + ".backup")); strings.Contains(string(text), "root's") {
		t.Error("a file of root's was copied for the server's user")
	}
	_, err := a.Stop(ctx, StopFast, StopOptions{EndArchiver: true})
	must(t, err)
	must(t, os.Remove(a.baseConf()))
	must(t, os.Remove(a.opt.ServerLog))
	must(t, os.Symlink(other, a.opt.ServerLog))
	if err := a.StartPrimary(ctx, 0); err == nil {
		t.Error("the server's messages go to a file of root's")
	}
	if text, _ := os.ReadFile(other); string(text) != "root's" {
		t.Errorf("the other file holds %q", text)
	}
}
