package postgres

import (
	"context"
	"strings"

	"github.com/matriarch-ha/matriarch/postgres/conf"
	"github.com/matriarch-ha/matriarch/postgres/probe"
)

// ruleFile is what is known of pg_hba.conf or pg_ident.conf.
type ruleFile struct {
	good    string // the text that the server last found right
	refused string // the text that it refused
	// unproven is a text that was written while the server ran and could not be
	// asked.
	unproven string
	why      string
}

// RefusedRules says that the server cannot read the configured lines of
// pg_hba.conf or pg_ident.conf: the former ones stay, on disk too.
type RefusedRules struct{ Reasons []string }

// Error names file, line and the server's own words.
func (e *RefusedRules) Error() string {
	return strings.Join(e.Reasons, "; ") + "; the former lines stay in force: correct the configuration and reload"
}

// writeRules writes pg_hba.conf or pg_ident.conf. The server would go on with
// its old rules when it cannot read the new ones, and would not start with them
// again: so a running server is asked what it thinks of the file, and one that
// it refuses is replaced by the former at once.
func (s *Server) writeRules(ctx context.Context, path, text string) (bool, error) {
	known := s.knownRules(path)
	if text == known.refused {
		return false, nil
	}
	old, had := s.readPrivate(path)
	changed, err := s.replace(path, text)
	if err != nil || !changed && text == known.good {
		return changed, err
	}
	bad, asked := s.ruleErrors(ctx, path)
	switch {
	case !asked: // nobody to ask: a start will tell
		unproven := ""
		if s.process() != nil {
			unproven = text
		}
		s.noteRules(path, ruleFile{unproven: unproven})
	case len(bad) == 0:
		s.noteRules(path, ruleFile{good: text})
	default:
		why := path + ": " + strings.Join(bad, "; ")
		s.noteRules(path, ruleFile{refused: text, why: why})
		return false, s.restoreRules(ctx, path, old, had == nil && changed)
	}
	return changed, nil
}

// restoreRules puts the former lines back: what was on disk before, unless that
// was left there by an agent that did not live to put it right; then the copy of
// what was last in force.
func (s *Server) restoreRules(ctx context.Context, path, old string, had bool) error {
	if had {
		if _, err := s.replace(path, old); err != nil {
			return err
		}
		if bad, _ := s.ruleErrors(ctx, path); len(bad) == 0 {
			return nil
		}
	}
	copied, err := s.readPrivate(s.dataPath(baseName(path) + ".backup"))
	if err != nil {
		return nil // there is nothing better
	}
	_, err = s.replace(path, copied)
	return err
}

// startRefusedRules puts back the lines of pg_hba.conf that were last in force,
// when the server did not start for the configured ones: it would never again,
// and the next start is soon. What somebody wrote by hand is left alone.
func (s *Server) startRefusedRules(why string) {
	path := s.hbaConf()
	text, err := s.readPrivate(path)
	if err != nil || text != conf.RenderLines(s.config().HBA) {
		return
	}
	former, err := s.readPrivate(s.dataPath(baseName(path) + ".backup"))
	if err != nil || former == text {
		return
	}
	if _, err := s.replace(path, former); err != nil {
		s.log.Error("the former access rules could not be put back", "file", path, "error", err)
		return
	}
	s.noteRules(path, ruleFile{refused: text, why: why})
	s.log.Error("the server does not start with the configured access rules; the former ones are put back", "file", path, "reason", why)
}

func (s *Server) knownRules(path string) ruleFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rules[path]
}

func (s *Server) noteRules(path string, r ruleFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules[path] = r
}

// refusedRules returns what the server refuses, or nil.
func (s *Server) refusedRules() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var e RefusedRules
	for _, path := range []string{s.hbaConf(), s.identConf()} {
		if r := s.rules[path]; r.why != "" {
			e.Reasons = append(e.Reasons, r.why)
		}
	}
	if len(e.Reasons) == 0 {
		return nil
	}
	return &e
}

// ruleErrors asks the running server which lines of the file on disk it cannot
// read. asked is false when it does not run or accepts no sessions; one that reads
// another file, or is too old to say, has no objection.
func (s *Server) ruleErrors(ctx context.Context, path string) (bad []string, asked bool) {
	p := s.process()
	if p == nil || s.procState(p) != ProcRunning {
		return nil, false
	}
	c, err := s.session(ctx)
	if err != nil {
		return nil, false
	}
	defer c.Close()
	setting, view := "hba_file", "pg_hba_file_rules"
	if path == s.identConf() {
		setting, view = "ident_file", "pg_ident_file_mappings" // since 15
	}
	used, err := c.Value(ctx, "SELECT pg_catalog.current_setting("+probe.Literal(setting)+")")
	if err != nil || used != path {
		return nil, err == nil
	}
	rows, err := c.Query(ctx, "SELECT line_number, error FROM pg_catalog."+view+" WHERE error IS NOT NULL ORDER BY 1")
	if err != nil {
		return nil, probe.Code(err) != "" // a server that has no such view
	}
	for _, r := range rows {
		// Not the line itself: it may hold a password for another server.
		bad = append(bad, "line "+r[0]+": "+r[1])
	}
	return bad, true
}
