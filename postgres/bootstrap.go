package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/matriarch-ha/matriarch/postgres/conf"
	"github.com/matriarch-ha/matriarch/postgres/probe"
)

// Bootstrap founds a new cluster: initdb, first start, roles, the operator's
// script. It returns with the server stopped cleanly and the mark of an
// unfinished bootstrap still in place: nothing may start the new database before
// AcceptBootstrap says that the cluster is it. On failure the server is stopped
// and the directory put aside as <data_dir>.failed; a bootstrap that was
// interrupted is put aside in the same way when the next one begins.
func (s *Server) Bootstrap(ctx context.Context, o BootstrapOptions) error {
	s.task.Lock()
	defer s.task.Unlock()
	if err := s.readyForBootstrap(ctx); err != nil {
		return err
	}
	args, err := conf.Args("initdb", o.InitDB, conf.ForbiddenInitDB)
	if err != nil {
		return err
	}
	if err := s.portFree(); err != nil {
		return err
	}
	if err := s.user.WriteFile(s.bootstrapMark(), []byte(claimWord+o.Claim+"\n"), 0o600); err != nil {
		return err
	}
	if err := s.bootstrap(ctx, o, args); err != nil {
		return errors.Join(fmt.Errorf("bootstrap: %w", err), s.abandonBootstrap(bounded(ctx)))
	}
	return nil
}

// claimWord begins the mark of an unfinished bootstrap.
const claimWord = "bootstrap under the claim "

// bootstrapClaim is the claim of the unfinished bootstrap, if there is one.
func (s *Server) bootstrapClaim() string {
	text, err := s.readPrivate(s.bootstrapMark())
	claim, ok := strings.CutPrefix(strings.TrimSpace(text), claimWord)
	if err != nil || !ok {
		return ""
	}
	return claim
}

// AcceptBootstrap removes the mark of an unfinished bootstrap: the cluster is
// this database.
func (s *Server) AcceptBootstrap() error { return removeIfThere(s.bootstrapMark()) }

// DiscardBootstrap puts an unfinished bootstrap aside as <data_dir>.failed. It
// refuses to touch a directory without the mark.
func (s *Server) DiscardBootstrap(ctx context.Context) error {
	s.task.Lock()
	defer s.task.Unlock()
	if state, err := s.dirState(); state != DirBootstrapping {
		return fmt.Errorf("the data directory %s holds no unfinished bootstrap: it is %s (%v)", s.opt.DataDir, state, err)
	}
	return s.abandonBootstrap(ctx)
}

func (s *Server) readyForBootstrap(ctx context.Context) error {
	switch state, err := s.dirState(); state {
	case DirMissing, DirEmpty:
		return nil
	case DirBootstrapping:
		return s.abandonBootstrap(ctx)
	default:
		return fmt.Errorf("bootstrap: %s is %s (%v); only a missing or empty directory is initialised", s.opt.DataDir, state, err)
	}
}

func (s *Server) bootstrap(ctx context.Context, o BootstrapOptions, args []string) error {
	s.forgetIdentities()
	s.mu.Lock()
	s.recovery = recoveryState{}
	s.mu.Unlock()
	s.say(o.Progress, "initdb")
	if err := s.initdb(ctx, args); err != nil {
		return err
	}
	if err := s.appendHBA(o.HBA); err != nil {
		return err
	}
	s.say(o.Progress, "first start")
	private, done, err := s.privately()
	if err != nil {
		return err
	}
	defer done()
	p, err := s.launch(ctx, false, private...)
	if err != nil {
		return err
	}
	if err := s.waitReady(ctx, p, s.startTimeout()); err != nil {
		return err
	}
	s.say(o.Progress, "roles")
	if err := s.createRoles(ctx, s.superuserSQL); err != nil {
		return err
	}
	if o.PostInit != "" {
		s.say(o.Progress, "post_init script")
		if err := s.postInit(ctx, o.PostInit); err != nil {
			return err
		}
	}
	if err := s.createRoles(ctx, s.replicationSQL, s.rewindSQL); err != nil {
		return err
	}
	s.say(o.Progress, "stopping it until the cluster accepts it")
	report, err := s.Stop(ctx, StopFast, StopOptions{EndArchiver: true})
	if err == nil && !report.Clean {
		err = errors.New("the new database did not shut down cleanly")
	}
	return err
}

// privately returns arguments with which only this host is let in. The new
// database is writable before anybody holds the lease, and may yet be set
// aside: nobody's rows may be acknowledged in it. Without a password there is
// nothing to let this host in by but the configured rules, which then stay.
func (s *Server) privately() (args []string, done func(), err error) {
	if s.roles().Superuser.Password == "" {
		return nil, func() {}, nil
	}
	path := s.statePath("bootstrap_hba.conf")
	// md5 accepts a SCRAM verifier too, and whichever kind initdb made.
	text := "local all all md5\nhost all all samehost md5\nlocal replication all md5\nhost replication all samehost md5\n"
	if err := s.user.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, nil, err
	}
	return []string{"--hba_file=" + path}, func() { os.Remove(path) }, nil
}

// initdb hands the superuser's password over in a file that only its owner can
// read and that is gone afterwards.
func (s *Server) initdb(ctx context.Context, args []string) error {
	if err := s.takeDir(); err != nil {
		return err
	}
	su := s.roles().Superuser
	if su.Username != "" {
		args = append(args, "--username="+su.Username)
	}
	if su.Password != "" {
		file := s.statePath("initdb.pw")
		if err := s.user.WriteFile(file, []byte(su.Password.Reveal()+"\n"), 0o600); err != nil {
			return err
		}
		defer os.Remove(file)
		args = append(args, "--pwfile="+file)
	}
	if !localeGiven(args) {
		// Without any locale initdb would choose SQL_ASCII, which nobody wants.
		args = append(args, "--encoding=UTF8")
	}
	_, err := s.run(ctx, nil, "initdb", append(args, s.opt.DataDir)...)
	return err
}

// localeGiven reports whether options or environment name a locale or encoding.
func localeGiven(args []string) bool {
	for _, a := range args {
		if strings.HasPrefix(a, "--encoding") || strings.Contains(a, "locale") || strings.HasPrefix(a, "--lc-") {
			return true
		}
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := os.Getenv(name); v != "" && v != "C" && v != "POSIX" {
			return true
		}
	}
	return false
}

// appendHBA adds the bootstrap's lines to initdb's pg_hba.conf, where that
// file is not managed.
func (s *Server) appendHBA(lines []string) error {
	if s.config().HBA != nil || len(lines) == 0 {
		return nil
	}
	path := s.dataPath("pg_hba.conf")
	text, err := s.readPrivate(path)
	if err != nil {
		return err
	}
	text += strings.Join(lines, "\n") + "\n"
	if s.hbaConf() != path {
		path = s.hbaConf()
	}
	return s.user.WriteFile(path, []byte(text), s.fileMode(path))
}

// abandonBootstrap stops what runs and puts the unfinished directory aside.
func (s *Server) abandonBootstrap(ctx context.Context) error {
	if _, err := s.Stop(ctx, StopImmediate, StopOptions{}); err != nil {
		return err
	}
	if exists(s.opt.DataDir) {
		if err := s.putAsideFailed(); err != nil {
			return err
		}
	}
	return errors.Join(removeIfThere(s.statePath("initdb.pw")), removeIfThere(s.bootstrapMark()))
}

// takeDir makes the data directory, or takes an empty one that an
// administrator or a fresh volume left to root.
func (s *Server) takeDir() error {
	if err := s.user.MkdirAll(s.opt.DataDir, 0o700); err != nil {
		return err
	}
	if state, _ := s.dirState(); state != DirEmpty && state != DirBootstrapping {
		return nil
	}
	// What an earlier bootstrap left in a directory that cannot be renamed: initdb
	// takes an empty one only.
	if failed := s.dataPath(failedInside); exists(filepath.Join(failed, failedNote)) {
		if err := os.RemoveAll(failed); err != nil {
			return err
		}
	}
	if err := os.Chmod(s.opt.DataDir, 0o700); err != nil {
		return err
	}
	if to, err := filepath.EvalSymlinks(s.opt.DataDir); err == nil {
		return s.user.Chown(to)
	}
	return nil
}

// failedNote is in a directory that is nothing but a failed bootstrap, and so
// may be replaced by the next one.
const failedNote = "matriarch.bootstrap-failed"

// failedInside is where a failed bootstrap is kept when the data directory is a
// mount point or a link.
const failedInside = ".matriarch-failed"

func (s *Server) putAsideFailed() error {
	to := s.failedDir()
	if exists(filepath.Join(to, failedNote)) {
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	if exists(to) {
		to += "." + s.opt.Clock.Wall().UTC().Format("20060102T150405Z")
	}
	_ = s.user.WriteFile(s.dataPath(failedNote), nil, 0o600)
	if s.movable() {
		return os.Rename(s.opt.DataDir, to)
	}
	return s.moveContents(s.opt.DataDir, s.dataPath(failedInside))
}

// muted keeps the statements that follow out of every log while they carry
// verifiers, and does not wait for standbys that do not exist yet.
const muted = `SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = 'panic';
SET log_duration = off; SET "pg_stat_statements.track_utility" = off; SET "pgaudit.log" = 'none'; SET synchronous_commit = 'local';`

// createRoles runs the statements that the functions make.
func (s *Server) createRoles(ctx context.Context, makers ...func() (string, error)) error {
	c, err := s.session(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Exec(ctx, muted); err != nil {
		return errors.New(probe.Message(err))
	}
	for _, make := range makers {
		sql, err := make()
		if err != nil {
			return err
		}
		if sql == "" {
			continue
		}
		if err := c.Exec(ctx, sql); err != nil {
			return errors.New("create roles: " + probe.Message(err))
		}
	}
	return nil
}

func (s *Server) superuserSQL() (string, error) {
	c := s.roles().Superuser
	if c.Username == "" || c.Password == "" {
		return "", nil
	}
	return roleSQL(c, "SUPERUSER LOGIN")
}

func (s *Server) replicationSQL() (string, error) {
	c := s.roles().Replication
	if c.Username == "" {
		return "", nil
	}
	if c.Username == s.roles().Superuser.Username {
		return "", nil // a superuser may replicate, and its password is set
	}
	return roleSQL(c, "REPLICATION LOGIN")
}

func (s *Server) rewindSQL() (string, error) {
	c := s.roles().Rewind
	if c.Username == "" || c.Username == s.roles().Superuser.Username {
		return "", nil
	}
	sql, err := roleSQL(c, "LOGIN")
	if c.Username == s.roles().Replication.Username {
		sql, err = "", nil
	}
	for _, f := range []string{"pg_ls_dir(text, boolean, boolean)", "pg_stat_file(text, boolean)", "pg_read_binary_file(text)",
		"pg_read_binary_file(text, bigint, bigint, boolean)"} {
		sql += "GRANT EXECUTE ON FUNCTION pg_catalog." + f + " TO " + probe.Ident(c.Username) + ";\n"
	}
	return sql, err
}

// roleSQL creates or alters a role. The password travels as the verifier that
// the server would store.
func roleSQL(c Credentials, attributes string) (string, error) {
	if c.Password != "" {
		v, err := probe.Verifier(c.Password.Reveal())
		if err != nil {
			return "", err
		}
		attributes += " PASSWORD " + probe.Literal(v)
	}
	name := probe.Ident(c.Username)
	return fmt.Sprintf(`DO $matriarch$ BEGIN
IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %s) THEN ALTER ROLE %s WITH %s; ELSE CREATE ROLE %s WITH %s; END IF;
END $matriarch$;
`, probe.Literal(c.Username), name, attributes, name, attributes), nil
}

// postInit runs the operator's script as the server's user, with a connection
// string as last argument and the password in a file.
func (s *Server) postInit(ctx context.Context, script string) error {
	cred := s.roles().Superuser
	if cred.Username == "" {
		cred.Username = s.user.Name
	}
	t := conf.Target{Host: s.localAddr(), Port: s.port(), DBName: s.opt.Database, Credentials: cred, Major: s.dataMajor()}
	pass, err := s.passfile(t)
	if err != nil {
		return err
	}
	env := []string{"PGOPTIONS=-c synchronous_commit=local -c statement_timeout=0"}
	if pass != "" {
		env = append(env, "PGPASSFILE="+pass)
	}
	cmd := s.user.Command(ctx, env, "/bin/sh", "-c", script+` "$@"`, "post_init", conf.Conninfo(t))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("post_init %q: %w: %s", script, err, lastLines(string(out), 5))
	}
	return nil
}
