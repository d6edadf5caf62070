package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/matriarch-ha/matriarch/postgres/conf"
)

// adoptFiles reads what a generated postgresql.conf says about the upstream, about
// synchronous standbys and about kept log: a restarted agent must not drop any of
// them by rewriting the file before it decided anything.
func (s *Server) adoptFiles() {
	text, err := os.ReadFile(s.mainConf())
	if err != nil || !conf.Generated(string(text)) {
		return
	}
	params := conf.Parse(string(text))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recovery.conninfo, _ = conf.Lookup(params, "primary_conninfo")
	s.recovery.slot, _ = conf.Lookup(params, "primary_slot_name")
	s.syncText, s.syncMine = conf.Lookup(params, "synchronous_standby_names")
	kept, _ := conf.Lookup(params, "wal_keep_size")
	s.forkWAL = kept == keepAllWAL
}

// controlled returns the command-line settings; for a standby never less than
// the primary's that its log was written with, else it would refuse to start.
func (s *Server) controlled(ctx context.Context, standby bool) []Param {
	out := []Param{
		{Name: "listen_addresses", Value: strings.Join(s.opt.ListenHosts, ",")},
		{Name: "port", Value: strconv.Itoa(s.opt.Port)},
		{Name: "cluster_name", Value: s.opt.Scope},
	}
	out = append(out, s.config().Controlled...)
	if !standby {
		return out
	}
	ctl, err := s.control(ctx)
	if err != nil {
		return out
	}
	for name, least := range map[string]int{
		"max_connections": ctl.MaxConnections, "max_worker_processes": ctl.MaxWorkers, "max_wal_senders": ctl.MaxWalSenders,
		"max_prepared_transactions": ctl.MaxPrepared, "max_locks_per_transaction": ctl.MaxLocks,
	} {
		out = atLeast(out, name, least)
	}
	return out
}

func atLeast(ps []Param, name string, least int) []Param {
	for i, p := range ps {
		if strings.EqualFold(p.Name, name) {
			if n, err := strconv.Atoi(p.Value); err == nil && n < least {
				ps[i].Value = strconv.Itoa(least)
			}
			return ps
		}
	}
	return ps
}

// render makes the text of postgresql.conf.
func (s *Server) render(ctx context.Context, standby bool) string {
	cfg := s.config()
	params := append([]Param(nil), cfg.Parameters...)
	for _, p := range s.controlled(ctx, standby) {
		params = append(conf.Without(params, p.Name), p)
	}
	s.mu.Lock()
	if s.syncMine {
		params = conf.Without(params, "synchronous_standby_names")
		if s.syncText != "" {
			params = append(params, Param{Name: "synchronous_standby_names", Value: s.syncText})
		}
	}
	if cfg.HotStandbyFeedback {
		params = append(conf.Without(params, "hot_standby_feedback"), Param{Name: "hot_standby_feedback", Value: "on"})
	}
	if s.keepWAL || s.forkWAL {
		params = append(conf.Without(params, "wal_keep_size"), Param{Name: "wal_keep_size", Value: keepAllWAL})
	}
	for name := range s.bad {
		params = conf.Without(params, name)
	}
	m := conf.Main{Include: s.baseName(), Params: params, HBAFile: s.hbaConf(), IdentFile: s.identConf(),
		ConfigDir: s.opt.ConfigDir, Recovery: s.recoveryParams(cfg)}
	s.mu.Unlock()
	if cfg.CustomConf != "" {
		m.Include = cfg.CustomConf
	}
	return conf.RenderMain(m)
}

// recoveryParams builds the recovery section. It stays in the file of a primary
// too, where it means nothing. Called with mu held.
func (s *Server) recoveryParams(cfg Config) []Param {
	var out []Param
	for _, p := range append(append([]Param(nil), cfg.Parameters...), cfg.Recovery...) {
		ours := strings.HasPrefix(p.Name, "recovery_target") || strings.HasPrefix(p.Name, "primary_") || p.Name == "promote_trigger_file"
		if _, refused := s.bad[p.Name]; conf.IsRecovery(p.Name) && !ours && !refused {
			out = append(conf.Without(out, p.Name), p)
		}
	}
	for _, n := range []string{"recovery_target", "recovery_target_lsn", "recovery_target_name", "recovery_target_time", "recovery_target_xid"} {
		out = append(out, Param{Name: n})
	}
	out = append(out, Param{Name: "recovery_target_timeline", Value: "latest"})
	if s.recovery.conninfo != "" {
		out = append(out, Param{Name: "primary_conninfo", Value: s.recovery.conninfo})
	}
	if s.recovery.slot != "" {
		out = append(out, Param{Name: "primary_slot_name", Value: s.recovery.slot})
	}
	return out
}

// writeFiles brings all configuration files up to date and reports whether a
// running server has to read them: also when an earlier change was written and
// the server could not be told.
func (s *Server) writeFiles(ctx context.Context, standby bool) (unread bool, err error) {
	changed, err := s.bringUpToDate(ctx, standby)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread = s.unread || changed
	return s.unread, err
}

// wereRead notes that the server has read the files, or will when it starts.
func (s *Server) wereRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread = false
}

func (s *Server) bringUpToDate(ctx context.Context, standby bool) (changed bool, err error) {
	if err := s.ensureBase(); err != nil {
		return false, err
	}
	if err := s.makeDirs(); err != nil {
		return false, err
	}
	if changed, err = s.writeMain(ctx, standby); err != nil {
		return changed, err
	}
	cfg := s.config()
	for _, f := range []struct {
		setting, path string
		lines         []string
	}{{"hba_file", s.hbaConf(), cfg.HBA}, {"ident_file", s.identConf(), cfg.Ident}} {
		if _, elsewhere := conf.Lookup(cfg.Parameters, f.setting); f.lines == nil || elsewhere {
			s.noteRules(f.path, ruleFile{})
			continue
		}
		c, err := s.writeRules(ctx, f.path, conf.RenderLines(f.lines))
		if err != nil {
			return changed, err
		}
		changed = changed || c
	}
	if err := errors.Join(s.recreate(s.hbaConf(), "pg_hba.conf"), s.recreate(s.identConf(), "pg_ident.conf")); err != nil {
		return changed, err
	}
	auto, err := s.cleanAuto()
	return changed || auto, err
}

// writeMain writes postgresql.conf once the server program itself has found
// nothing wrong with it; settings that it refuses are left out with a warning.
func (s *Server) writeMain(ctx context.Context, standby bool) (bool, error) {
	for range 4 {
		text := s.render(ctx, standby)
		if old, err := os.ReadFile(s.mainConf()); err == nil && string(old) == text {
			return s.replace(s.mainConf(), text)
		}
		refused, err := s.check(ctx, text, standby)
		if err != nil {
			return false, err
		}
		if len(refused) == 0 {
			return s.replace(s.mainConf(), text)
		}
		s.mu.Lock()
		maps.Copy(s.bad, refused)
		s.mu.Unlock()
		for name, why := range refused {
			s.log.Warn("setting left out: the server refuses it; correct it in postgresql.parameters", "setting", name, "reason", why)
		}
	}
	return false, errors.New("postgresql.conf: the server keeps refusing settings: " + fmt.Sprint(s.bad))
}

var badSetting = regexp.MustCompile(`(?:parameter|parameter:) "([^"]+)"`)

// check lets the server program read a configuration text and returns the
// settings that it refuses and that are ours to leave out.
func (s *Server) check(ctx context.Context, text string, standby bool) (map[string]string, error) {
	tmp := s.mainConf() + ".check"
	if err := s.user.WriteFile(tmp, []byte(text), s.fileMode(tmp)); err != nil {
		return nil, err
	}
	defer os.Remove(tmp)
	args := append([]string{"-D", s.opt.DataDir, "--config-file=" + tmp, "-c", "lc_messages=C"}, s.controlledArgs(ctx, standby)...)
	_, err := s.run(ctx, nil, "postgres", append(args, "-C", "config_file")...)
	if err == nil || ctx.Err() != nil {
		return nil, ctx.Err()
	}
	refused := map[string]string{}
	mine := conf.Parse(text)
	var failed *programError
	if !errors.As(err, &failed) {
		return nil, err
	}
	for part := range strings.Lines(failed.Stderr) {
		m := badSetting.FindStringSubmatch(part)
		if m == nil {
			continue
		}
		if _, ok := conf.Lookup(mine, m[1]); ok {
			_, why, _ := strings.Cut(part, "LOG:")
			refused[m[1]] = strings.TrimSpace(strings.ReplaceAll(why, tmp, s.mainConf()))
		}
	}
	for _, p := range s.controlled(ctx, standby) {
		delete(refused, p.Name)
	}
	if len(refused) == 0 {
		return nil, fmt.Errorf("the server refuses its configuration: %w", err)
	}
	return refused, nil
}

func (s *Server) controlledArgs(ctx context.Context, standby bool) []string {
	var out []string
	for _, p := range s.controlled(ctx, standby) {
		out = append(out, "--"+p.Name+"="+p.Value)
	}
	return out
}

// replace writes a file if its content differs; it corrects the mode in any case.
func (s *Server) replace(path, text string) (bool, error) {
	mode := s.fileMode(path)
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		if st, err := os.Stat(path); err == nil && st.Mode().Perm() != mode {
			return false, os.Chmod(path, mode)
		}
		return false, nil
	}
	return true, s.user.WriteFile(path, []byte(text), mode)
}

// ensureBase keeps the operator's (or initdb's) postgresql.conf as the base
// file that the generated one includes.
func (s *Server) ensureBase() error {
	if err := s.user.MkdirAll(s.opt.ConfigDir, 0o700); err != nil {
		return err
	}
	if s.config().CustomConf != "" || exists(s.baseConf()) {
		return nil
	}
	text, err := s.readPrivate(s.mainConf())
	if err == nil && !conf.Generated(text) {
		return os.Rename(s.mainConf(), s.baseConf())
	}
	return s.recreate(s.baseConf(), s.opt.ConfigBaseName+".conf")
}

// recreate makes a missing configuration file from what the data directory
// holds: the copy that was made beside the data, which a clone brings along, or
// the file that initdb made there. Empty is better than missing, because the
// generated postgresql.conf names it.
func (s *Server) recreate(path, original string) error {
	if exists(path) {
		return nil
	}
	for _, from := range []string{s.dataPath(baseName(path) + ".backup"), s.dataPath(original)} {
		text, err := s.readPrivate(from)
		if err == nil && (from != s.dataPath(original) || !conf.Generated(text)) {
			_, err = s.replace(path, text)
			return err
		}
	}
	_, err := s.replace(path, "")
	return err
}

// cleanAuto removes recovery settings from postgresql.auto.conf, where they
// would win over ours.
func (s *Server) cleanAuto() (bool, error) {
	path := s.dataPath("postgresql.auto.conf")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	clean := conf.CleanAuto(string(text))
	if clean == string(text) {
		return false, nil
	}
	return true, s.user.WriteFile(path, []byte(clean), s.fileMode(path))
}

// makeDirs makes the directories that settings name.
func (s *Server) makeDirs() error {
	for _, setting := range []string{"unix_socket_directories", "stats_temp_directory"} {
		dirs, _ := conf.Lookup(s.config().Parameters, setting)
		for _, d := range strings.Split(dirs, ",") {
			d = strings.TrimSpace(d)
			if !strings.HasPrefix(d, "/") || exists(d) {
				continue
			}
			if err := s.user.MkdirAll(d, 0o700); err != nil {
				return fmt.Errorf("%s: %w: make that directory, or name another", setting, err)
			}
		}
	}
	return nil
}

// backupConf copies the configuration files beside the data, where a clone of
// this server will find them although they live elsewhere.
func (s *Server) backupConf() {
	files := []string{s.mainConf(), s.hbaConf(), s.identConf()}
	if s.config().CustomConf == "" {
		files = append(files, s.baseConf())
	}
	for _, f := range files {
		text, err := s.readPrivate(f)
		if err == nil && text != "" && text == s.knownRules(f).unproven {
			continue // the former copy is what a start can fall back on
		}
		if err == nil {
			_, err = s.replace(s.dataPath(baseName(f)+".backup"), text)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("configuration file not backed up", "file", f, "error", err)
		}
	}
}

func baseName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
