package postgres

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/matriarch-ha/matriarch/postgres/runas"
)

// The majors that are supported.
const (
	minMajor = 13
	maxMajor = 18
)

// programs are those that must be there; pg_rewind and pg_waldump are asked for
// when needed.
var programs = []string{"postgres", "initdb", "pg_ctl", "pg_controldata", "pg_basebackup", "pg_rewind"}

// CheckBinaries verifies that every program is there, and that their major is
// supported and the data directory's.
func (s *Server) CheckBinaries(ctx context.Context) error {
	for _, name := range programs {
		if _, err := s.binary(name); err != nil {
			return err
		}
	}
	major, err := s.BinaryMajor(ctx)
	if err != nil {
		return err
	}
	path, _ := s.binary("postgres")
	if major < minMajor || major > maxMajor {
		return fmt.Errorf("%s is of PostgreSQL %d, which is not supported: install one of %d to %d, or correct postgresql.bin_dir", path, major, minMajor, maxMajor)
	}
	if dir := s.dataMajor(); dir != 0 && dir != major {
		return fmt.Errorf("the data directory %s belongs to PostgreSQL %d, but %s is version %d: install postgresql-%d, or correct postgresql.bin_dir",
			s.opt.DataDir, dir, path, major, dir)
	}
	return nil
}

// CheckPrograms is CheckBinaries without a server, and names everything that is
// wrong.
func CheckPrograms(ctx context.Context, opt Options) []error {
	s := &Server{opt: withDefaults(opt), user: runas.User{UID: os.Getuid(), GID: os.Getgid()}}
	var out []error
	for _, name := range programs {
		if _, err := s.binary(name); err != nil {
			out = append(out, err)
		}
	}
	if len(out) == 0 {
		if err := s.CheckBinaries(ctx); err != nil {
			out = append(out, err)
		}
	}
	return out
}

var versionText = regexp.MustCompile(`\) (\d+)`)

// BinaryMajor asks the server program for its major version.
func (s *Server) BinaryMajor(ctx context.Context) (int, error) {
	out, err := s.run(ctx, nil, "postgres", "--version")
	if err != nil {
		return 0, err
	}
	m := versionText.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("postgres --version said %q, which names no version", strings.TrimSpace(out))
	}
	return strconv.Atoi(m[1])
}

// binary finds a program: all come from the directory that holds the server.
func (s *Server) binary(name string) (string, error) {
	file := name
	if n := s.opt.BinName[name]; n != "" {
		file = n
	}
	dirs := s.binDirs()
	for _, dir := range dirs {
		path := filepath.Join(dir, file)
		if st, err := os.Stat(path); err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("the program %s was not found in %s: install PostgreSQL (on Debian: apt-get install postgresql-%d) or set postgresql.bin_dir",
		file, strings.Join(dirs, ", "), s.wantedMajor())
}

func (s *Server) wantedMajor() int {
	if m := s.dataMajor(); m != 0 {
		return m
	}
	return 15
}

// binDirs lists where to look. Without bin_dir that is PATH and then the usual
// places, the data directory's major first, then the newest.
func (s *Server) binDirs() []string {
	if s.opt.BinDir != "" {
		return []string{s.opt.BinDir}
	}
	all := filepath.SplitList(os.Getenv("PATH"))
	majors := []int{}
	if m := s.dataMajor(); m != 0 {
		majors = append(majors, m)
	}
	for m := maxMajor; m >= minMajor; m-- {
		majors = append(majors, m)
	}
	for _, m := range majors {
		all = append(all, fmt.Sprintf("/usr/lib/postgresql/%d/bin", m), fmt.Sprintf("/usr/pgsql-%d/bin", m))
	}
	all = append(all, "/usr/local/pgsql/bin", "/usr/local/bin")
	// Wrappers and links in PATH may lead to some of the programs only.
	for _, dir := range all {
		if s.complete(dir) {
			return []string{dir}
		}
	}
	return all
}

// complete reports whether a directory holds all programs that are needed.
func (s *Server) complete(dir string) bool {
	for _, name := range programs {
		if n := s.opt.BinName[name]; n != "" {
			name = n
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// dataMajor reads PG_VERSION; 0 when there is none.
func (s *Server) dataMajor() int {
	text, err := os.ReadFile(filepath.Join(s.opt.DataDir, "PG_VERSION"))
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

// programError is a failed program with what it said.
type programError struct {
	Program string
	Err     error
	Stderr  string
	Advised func(string) string // adds what to do about it
}

func (e *programError) Error() string {
	if said := complaint(e.Stderr); said != "" {
		return fmt.Sprintf("%s: %v: %s", e.Program, e.Err, e.Advised(said))
	}
	return fmt.Sprintf("%s: %v", e.Program, e.Err)
}

func (e *programError) Unwrap() error { return e.Err }

// run runs a program to its end and returns what it printed. An error names the
// program and carries the last lines of its standard error.
func (s *Server) run(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd, err := s.command(ctx, env, name, args...)
	if err != nil {
		return "", err
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return out.String(), &programError{Program: name, Err: err, Stderr: errs.String(), Advised: s.advised}
	}
	return out.String(), nil
}

func (s *Server) command(ctx context.Context, env []string, name string, args ...string) (*exec.Cmd, error) {
	path, err := s.binary(name)
	if err != nil {
		return nil, err
	}
	if name != "initdb" { // there the locale is not for messages only: the cluster inherits it
		env = append([]string{"LC_ALL=C", "LANG=C"}, env...)
	}
	return s.user.Command(ctx, env, path, args...), nil
}

// complaint is the end of what a program said, without what is no cause.
func complaint(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if line = bare(line); !strings.Contains(line, "removing contents of") && !strings.Contains(line, "child process exited") {
			kept = append(kept, line)
		}
	}
	return lastLines(strings.Join(kept, "\n"), 5)
}

// lastLines returns the last n non-empty lines, joined.
func lastLines(text string, n int) string {
	var lines []string
	for _, l := range strings.Split(text, "\n") {
		if l = strings.TrimSpace(l); l != "" {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}
