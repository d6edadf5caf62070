package config

import (
	"fmt"
	"sort"
	"strings"
)

// Problem is one reason why a configuration cannot be used.
type Problem struct {
	Path   string // dotted path of the setting, "" for the text as a whole
	Place  string // "file:line:col", "env NAME", or "" when nothing was written
	Value  string // what was written; "***" for secrets, "" when nothing was
	Reason string // what is wrong with it
	Remedy string // what to write instead
}

// String gives the problem on one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.Place != "" {
		b.WriteString(p.Place + ": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path)
		if p.Value != "" {
			fmt.Fprintf(&b, " = %q", p.Value)
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Reason)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return b.String()
}

// Problems is the error that Load, ParseDynamic, Patch and Check return: all
// that is wrong, at once.
type Problems []Problem

// Error lists the problems, one per line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// The codes of warnings; they are stable, for filters and metrics.
const (
	WarnUnknown     = "unknown-key"     // a key that means nothing to us
	WarnUnsupported = "unsupported"     // a known setting without effect yet
	WarnIgnored     = "ignored"         // a setting in a place where it has no effect
	WarnAdjusted    = "adjusted"        // a value that was replaced by a usable one
	WarnKept        = "kept"            // a value that was replaced, and what it is for is kept
	WarnConflict    = "conflict"        // two settings contradict each other
	WarnLegacy      = "legacy"          // an old spelling that still works
	WarnPlaintext   = "plaintext-store" // the store's traffic is neither encrypted nor authenticated
	WarnFile        = "file"            // something about the configuration file itself
)

// Warning is something the operator should know and that stops nothing.
type Warning struct {
	Code  string // one of the Warn constants
	Path  string // dotted path of the setting, may be ""
	Place string // "file:line:col", "env NAME", or ""
	Text  string // what is the case and what happens; never contains a secret
}

// Harmless reports whether there is nothing to do about it: programs tell it as
// information.
func (w Warning) Harmless() bool { return w.Code == WarnKept }

// String gives the warning on one line.
func (w Warning) String() string {
	s := w.Text
	if w.Path != "" {
		s = w.Path + ": " + s
	}
	if w.Place != "" {
		s = w.Place + ": " + s
	}
	return s
}

// report collects what is found while a configuration is read.
type report struct {
	problems Problems
	warnings []Warning
}

func (r *report) problem(path string, n *node, reason, remedy string) {
	p := Problem{Path: path, Reason: reason, Remedy: remedy}
	if n != nil {
		p.Place, p.Value = n.origin, n.brief()
		if secretPath(path) {
			p.Value = masked
		}
	}
	r.problems = append(r.problems, p)
}

func (r *report) warn(code, path string, n *node, format string, args ...any) {
	w := Warning{Code: code, Path: path, Text: fmt.Sprintf(format, args...)}
	if n != nil {
		w.Place = n.origin
	}
	r.warnings = append(r.warnings, w)
}

// err returns the problems as an error, or nil; what comes first in the file
// comes first in the list as far as that can be told.
func (r *report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	sort.SliceStable(r.problems, func(i, j int) bool {
		return r.problems[i].Path < r.problems[j].Path
	})
	return r.problems
}

// secretPath reports whether the setting of that name must not be shown: the
// last word of its path decides, in whatever section it stands, so that a
// password at an unknown place is not shown either.
func secretPath(path string) bool {
	last := strings.ToLower(path[strings.LastIndexByte(path, '.')+1:])
	for _, w := range []string{"password", "passwd", "passphrase", "secret", "auth_data"} {
		if strings.Contains(last, w) {
			return true
		}
	}
	// URLs and connection strings can carry credentials.
	return last == "token" || strings.HasSuffix(last, "_token") || last == "url" || strings.HasSuffix(last, "conninfo") ||
		strings.Contains(path, "auth_data.")
}
