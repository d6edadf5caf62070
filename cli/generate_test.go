package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/internal/freeport"
	"github.com/matriarch-ha/matriarch/postgres"
	"github.com/matriarch-ha/matriarch/postgres/runas"
)

// running starts a PostgreSQL and returns how to connect.
func running(t *testing.T) (dsn, dataDir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "mtr-gen-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	user, err := runas.For(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := user.Chown(dir); err != nil {
		t.Fatal(err)
	}
	port, err := freeport.Next()
	if err != nil {
		t.Fatal(err)
	}
	s, err := postgres.New(postgres.Options{Name: "n1", Scope: "gen", DataDir: filepath.Join(dir, "data"), ListenHosts: []string{"127.0.0.1"}, Port: port,
		Roles: postgres.Roles{Superuser: postgres.Credentials{Username: "postgres", Password: "s3cret-super"},
			Replication: postgres.Credentials{Username: "copier", Password: "s3cret-copier"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.SetConfig(postgres.Config{
		Parameters: []postgres.Param{{Name: "unix_socket_directories", Value: dir}, {Name: "fsync", Value: "off"}, {Name: "work_mem", Value: "7MB"},
			{Name: "archive_command", Value: "true"}, {Name: "my.own", Value: "x"}},
		Controlled: []postgres.Param{{Name: "max_connections", Value: "33"}},
		HBA:        []string{"host all all 127.0.0.1/32 scram-sha-256", `host all app "example db" ldap ldapserver=l ldapbasedn="o=x" ldapbindpasswd=s3cret-ldap`},
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Bootstrap(ctx, postgres.BootstrapOptions{InitDB: []postgres.Option{{Name: "no-locale"}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.AcceptBootstrap(); err != nil {
		t.Fatal(err)
	}
	if err := s.StartPrimary(ctx, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if _, err := s.Stop(ctx, postgres.StopImmediate, postgres.StopOptions{}); err != nil {
			t.Error(err)
		}
	})
	return fmt.Sprintf("postgres://postgres:s3cret-super@127.0.0.1:%d/postgres", port), filepath.Join(dir, "data")
}

func TestGenerateConfig(t *testing.T) {
	w := newWorld(t, demo())
	dsn, dataDir := running(t)
	path := filepath.Join(t.TempDir(), "n1.yml")
	if r := w.exec("", "generate-config", "--dsn", dsn, path); r.code != 0 || !strings.Contains(r.err, "wrote "+path) || r.out != "" {
		t.Fatalf("exit %d: %s%s", r.code, r.out, r.err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	f, _, err := config.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := f.Postgres
	if f.Scope != "gen" || p.DataDir != dataDir || !strings.HasPrefix(p.Listen, "127.0.0.1:") || !strings.HasSuffix(p.BinDir, "/bin") ||
		p.Superuser.Username != "postgres" || p.Superuser.Password.Reveal() != "s3cret-super" || p.Replication.Username != "copier" || len(p.PgHBA) != 2 {
		t.Errorf("%+v", p)
	}
	if len(p.Parameters) != 1 || p.Parameters[0].Name != "archive_command" {
		t.Errorf("own parameters %v", p.Parameters)
	}
	for _, want := range []string{`"work_mem":"7MB"`, `"max_connections":"33"`, `"my.own":"x"`, `"use_pg_rewind":false`} {
		if !strings.Contains(f.BootstrapDCS(), want) {
			t.Errorf("%s is not in %s", want, f.BootstrapDCS())
		}
	}
	for _, not := range []string{"listen_addresses", "hba_file", "cluster_name", "data_directory", "server_version"} {
		if strings.Contains(f.BootstrapDCS(), not) {
			t.Errorf("%s is in %s", not, f.BootstrapDCS())
		}
	}

	// On standard output no password, wherever it stands.
	r := w.exec("", "generate-config", "--dsn", dsn)
	if r.code != 0 || strings.Contains(r.out+r.err, "s3cret") || !strings.Contains(r.out, "ldapbindpasswd=#FIXME") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	// What exists is not overwritten; nothing is written when it fails.
	w.exec("", "generate-config", "--dsn", dsn, path).contains(t, 1, "exists: name another file")
	other := path + ".other"
	r = w.exec("", "generate-config", "--dsn", strings.Replace(dsn, "s3cret-super", "wr0ng", 1), other)
	if _, err := os.Stat(other); r.code != 1 || err == nil || strings.Contains(r.err, "wr0ng") || !strings.Contains(r.err, "PGPASSWORD") {
		t.Errorf("exit %d: %s, %v", r.code, r.err, err)
	}
	r = w.exec("", "generate-config", "--dsn", "postgres://u:s3cret@[::1/x")
	if r.code != 1 || strings.Contains(r.err, "s3cret") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

// The template says what is left to fill in, and nothing else is wrong with it.
func TestGenerateSample(t *testing.T) {
	w := newWorld(t, demo())
	r := w.exec("", "generate-config", "--sample")
	if r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	filled := strings.ReplaceAll(r.out, "'#FIXME'", "filled-in")
	f, warnings, err := config.Load(memberFile(t, filled), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Check(config.ForValidate); err != nil {
		t.Error(err)
	}
	for _, w := range warnings {
		if w.Code != config.WarnPlaintext {
			t.Error(w)
		}
	}
	w.exec("", "validate", memberFile(t, r.out)).contains(t, 1, "is not filled in")
}
