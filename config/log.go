package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/matriarch-ha/matriarch/internal/strftime"
)

// Log is where and how the agent logs.
type Log struct {
	Level string // debug, info, warning, error, critical
	Type  string // plain or json
	// Format is what a record looks like, nil for the default of the type: a line
	// of text and fields, or the fields of a JSON object alone.
	Format       []LogPart
	DateFormat   string  // of strftime; "" for the default of the format
	StaticFields []Param // added to every JSON object, sorted by name
	Loggers      []Param // levels of packages, sorted by name
	QueueSize    int     // how many records may wait to be written
	Dir          string  // "" logs to standard error
	FileNum      int     // how many rotated files are kept
	FileSize     int64   // bytes
	FileMode     int     // permission bits, 0 when not configured
	// Heartbeat adds a line per loop_wait in the words of the reference;
	// Deduplicate leaves out those that say the same as the one before.
	Heartbeat, Deduplicate bool
}

// LogPart is a piece of a log record: a literal text, or a field.
type LogPart struct {
	Text  string
	Field string // name of a Python LogRecord's attribute
	As    string // its key in a JSON object
	Verb  string // how text shows it, as fmt wants it without the %: "s", "-8s", "03d"
}

// DefaultLogQueue is how many records wait when the configuration says nothing,
// or 0, which another agent takes for no limit.
const DefaultLogQueue = 1000

// logNames are the packages that log, for log.loggers.
var logNames = []string{"agent", "api", "app", "dcs", "guard", "journal", "lease", "logging", "postgres", "proxy"}

// LogNames lists the packages that have a level of their own in log.loggers.
func LogNames() []string { return slices.Clone(logNames) }

var logLevels = []string{"debug", "info", "warning", "error", "critical"}

func logFields() []field {
	return []field{
		oneOf("type", "plain", "json"),
		oneOf("level", logLevels...),
		str("dir"), num("file_num", 0), unit("file_size", "B", 1), within("mode", 0, 0o777),
		whatever("format"), str("dateformat"), free("static_fields"), free("loggers"),
		num("max_queue_size", 0), yesno("deduplicate_heartbeat_logs"),
		later(oneOf("traceback_level", logLevels...), "has no effect: errors say in words where they come from", "ERROR"),
	}
}

func decodeLog(d reader, heartbeat bool, r *report) Log {
	l := Log{
		Level: d.word("level", "info"),
		Type:  d.word("type", "plain"),

		DateFormat:   d.text("dateformat", ""),
		StaticFields: d.params("static_fields"),
		Loggers:      d.params("loggers"),
		QueueSize:    int(min(d.int("max_queue_size", "", DefaultLogQueue), 1<<20)),
		Dir:          d.text("dir", ""),
		FileNum:      int(min(d.int("file_num", "", 4), 1<<20)),
		FileSize:     d.int("file_size", "B", 25_000_000),
		FileMode:     int(d.int("mode", "", 0)),
		Heartbeat:    heartbeat,
		Deduplicate:  d.flag("deduplicate_heartbeat_logs", false),
	}
	if l.QueueSize == 0 {
		l.QueueSize = DefaultLogQueue
	}
	if err := strftime.Check(l.DateFormat); err != nil {
		r.problem("log.dateformat", d.n.get("dateformat"), err.Error(), "write it as for strftime, such as %Y-%m-%d %H:%M:%S")
	}
	l.Format = logFormat(d.n.get("format"), l.Type, r)
	checkLoggers(d.n.get("loggers"), r)
	return l
}

// checkLoggers: levels must be levels, and names should be packages.
func checkLoggers(n *node, r *report) {
	if n == nil || n.kind != mapping {
		return
	}
	for _, k := range n.keys {
		v, at := n.fields[k], "log.loggers."+k
		if v.isScalar() && !slices.Contains(logLevels, strings.ToLower(v.scalar)) {
			r.problem(at, v, "must be one of "+strings.Join(logLevels, ", "), "")
		}
		name, _, _ := strings.Cut(LoggerName(k), "/")
		if !slices.Contains(logNames, name) {
			r.warn(WarnUnknown, at, v, "no package of that name logs, it has no effect; there are %s", strings.Join(logNames, ", "))
		}
	}
}

// LoggerName is the package that a name in log.loggers means.
func LoggerName(s string) string {
	return strings.ReplaceAll(strings.TrimPrefix(s, "matriarch."), ".", "/")
}

// logFormat reads the setting format: a text with %(field)s, or for JSON also a
// list of fields and of field: key pairs.
func logFormat(n *node, typ string, r *report) []LogPart {
	if n == nil || n.kind == null {
		return nil
	}
	const path = "log.format"
	var parts []LogPart
	switch {
	case n.isScalar():
		var err error
		if parts, err = parseLogFormat(n.scalar); err != nil {
			r.problem(path, n, err.Error(), "write fields as %(asctime)s, and %% for the character itself")
			return nil
		}
	case n.kind == list && typ == "json":
		parts = logKeys(n, r)
	case n.kind == list:
		r.warn(WarnIgnored, path, n, "a list of fields is for log.type json: the default format is used")
	default:
		r.problem(path, n, "must be a text or a list of fields", "")
	}
	for _, p := range parts {
		if p.Field != "" && !slices.Contains(recordFields(), p.Field) {
			near := nearest(p.Field, recordFields())
			if near != "" {
				near = "; did you mean " + near + "?"
			}
			r.warn(WarnUnknown, path, n, "%s is no field of a record and stays empty%s", strconv.Quote(clip(p.Field)), near)
		}
	}
	return parts
}

// recordFields are the attributes of a Python LogRecord.
func recordFields() []string {
	return []string{"args", "asctime", "created", "exc_info", "exc_text", "filename", "funcName", "levelname", "levelno", "lineno",
		"message", "module", "msecs", "msg", "name", "pathname", "process", "processName", "relativeCreated", "stack_info",
		"taskName", "thread", "threadName"}
}

func logKeys(n *node, r *report) []LogPart {
	var out []LogPart
	for _, item := range n.items {
		switch {
		case item.isScalar():
			out = append(out, LogPart{Field: item.scalar, As: item.scalar, Verb: "s"})
		case item.kind == mapping && len(item.keys) > 0:
			for _, k := range item.keys {
				v := item.fields[k]
				if !v.isScalar() || v.scalar == "" {
					r.problem("log.format", item, "the new name of a field must be a text", "write {field: name}")
					continue
				}
				out = append(out, LogPart{Field: k, As: v.scalar, Verb: "s"})
			}
		default:
			r.problem("log.format", item, "an item of the list must be a field's name", "write field, or {field: name}")
		}
	}
	return out
}

// parseLogFormat takes a text of Python's %-formatting apart.
func parseLogFormat(s string) ([]LogPart, error) {
	var out []LogPart
	literal := func(text string) {
		if text != "" {
			out = append(out, LogPart{Text: text})
		}
	}
	for {
		before, rest, found := strings.Cut(s, "%")
		literal(before)
		if !found {
			return out, nil
		}
		if after, escaped := strings.CutPrefix(rest, "%"); escaped {
			literal("%")
			s = after
			continue
		}
		p, after, err := parseLogField(rest)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
		s = after
	}
}

// parseLogField reads what follows a percent sign: (name), flags, width and
// precision, conversion.
func parseLogField(s string) (p LogPart, rest string, err error) {
	name, rest, closed := strings.Cut(strings.TrimPrefix(s, "("), ")")
	if !strings.HasPrefix(s, "(") || !closed || name == "" {
		return p, "", errors.New("a % without the (name) of a field after it")
	}
	end := strings.IndexAny(rest, "sdifrgxX")
	if end < 0 || strings.Trim(rest[:end], "0123456789.-+# ") != "" {
		return p, "", fmt.Errorf("%%(%s) without a conversion such as s or d after it", clip(name))
	}
	conversion := rest[end : end+1]
	switch conversion {
	case "i":
		conversion = "d"
	case "r":
		conversion = "q"
	}
	flags := rest[:end]
	for digits := range strings.FieldsFuncSeq(flags, func(c rune) bool { return c < '0' || c > '9' }) {
		if len(digits) > 3 {
			return p, "", fmt.Errorf("%%(%s)%s%s is wider than 999", clip(name), clip(flags), conversion)
		}
	}
	return LogPart{Field: name, As: name, Verb: flags + conversion}, rest[end+1:], nil
}
