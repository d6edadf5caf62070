package logging

import (
	"fmt"
	"log/slog"
	"os"
	"path"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/internal/strftime"
)

// entry is a record to be rendered.
type entry struct {
	time    time.Time
	level   slog.Level
	message string
	at      place
	attrs   []slog.Attr
}

// style is which records are logged, and how they look.
type style struct {
	json    bool
	parts   []config.LogPart
	date    string // of strftime
	static  []config.Param
	level   slog.Level
	loggers map[string]slog.Level
	least   slog.Level // the lowest of all levels

	heartbeat, deduplicate bool
}

func newStyle(c config.Log) *style {
	s := &style{json: c.Type == "json", parts: c.Format, date: c.DateFormat, static: c.StaticFields,
		level: levelOf(c.Level), loggers: map[string]slog.Level{}, heartbeat: c.Heartbeat, deduplicate: c.Deduplicate}
	s.least = s.level
	for _, l := range c.Loggers {
		level := levelOf(l.Value)
		s.loggers[config.LoggerName(l.Name)] = level
		s.least = min(s.least, level)
	}
	if s.json && s.parts == nil {
		for _, f := range []string{"asctime", "levelname", "message"} {
			s.parts = append(s.parts, config.LogPart{Field: f, As: f})
		}
	}
	return s
}

// levelOf: nothing is logged above the level error, so critical is as far as
// one can turn it down: it shows errors.
func levelOf(name string) slog.Level {
	switch strings.ToLower(name) {
	case "debug":
		return slog.LevelDebug
	case "warning":
		return slog.LevelWarn
	case "error", "critical":
		return slog.LevelError
	}
	return slog.LevelInfo
}

func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "DEBUG"
	case l < slog.LevelWarn:
		return "INFO"
	case l < slog.LevelError:
		return "WARNING"
	}
	return "ERROR"
}

// levelFor is the level of a package: its own, or that of the nearest above it.
func (s *style) levelFor(pkg string) slog.Level {
	if len(s.loggers) == 0 {
		return s.level
	}
	for pkg != "" && pkg != "." {
		if l, ok := s.loggers[pkg]; ok {
			return l
		}
		pkg = path.Dir(pkg)
	}
	return s.level
}

// own renders a record of this package's own.
func (s *style) own(level slog.Level, message string, attrs ...slog.Attr) []byte {
	return s.render(entry{time: time.Now(), level: level, message: message, at: placeOf(0), attrs: attrs})
}

// render makes one line.
func (s *style) render(e entry) []byte {
	switch {
	case s.json:
		return s.renderJSON(e)
	case s.parts != nil:
		return s.renderParts(e)
	}
	date := s.date
	at := e.time.Format("2006-01-02 15:04:05.000")
	if date != "" {
		at = strftime.Format(date, e.time)
	}
	return fmt.Appendf(nil, "%s %-7s %s\n", at, levelName(e.level), e.text())
}

// renderParts follows a format of Python's logging.
func (s *style) renderParts(e entry) []byte {
	var b []byte
	for _, p := range s.parts {
		if p.Field == "" {
			b = append(b, oneLine(p.Text)...)
			continue
		}
		b = append(b, show(p.Verb, s.field(p.Field, e, e.text))...)
	}
	return append(b, '\n')
}

// show prints a field's value as Python would: a number where the conversion
// wants one, and text where it wants that.
func show(verb string, v any) string {
	conversion := verb[len(verb)-1]
	flags := verb[:len(verb)-1]
	switch n := v.(type) {
	case float64:
		if conversion == 'd' || conversion == 'x' || conversion == 'X' {
			v = int64(n)
		}
	case int64:
		if conversion == 'f' || conversion == 'g' {
			v = float64(n)
		}
	default: // text cannot be shown as a number
		if conversion != 's' && conversion != 'q' {
			conversion, flags = 's', ""
		}
	}
	if conversion == 's' {
		v = fmt.Sprint(v)
	}
	return fmt.Sprintf("%"+flags+string(conversion), v)
}

var started = time.Now()

// field is the attribute of a Python LogRecord; message makes the text.
func (s *style) field(name string, e entry, message func() string) any {
	switch name {
	case "asctime":
		if s.date != "" {
			return strftime.Format(s.date, e.time)
		}
		return e.time.Format("2006-01-02 15:04:05,000")
	case "created":
		return float64(e.time.UnixMicro()) / 1e6
	case "msecs":
		return float64(e.time.Nanosecond()/1e3) / 1e3
	case "relativeCreated":
		return float64(e.time.Sub(started).Microseconds()) / 1e3
	case "levelname":
		return levelName(e.level)
	case "levelno":
		return int64(20 + e.level/4*10) // 10, 20, 30, 40
	case "message", "msg":
		return message()
	case "name":
		return e.at.pkg
	case "module":
		return strings.TrimSuffix(path.Base(e.at.file), ".go")
	case "filename":
		return path.Base(e.at.file)
	case "pathname":
		return e.at.file
	case "lineno":
		return int64(e.at.line)
	case "funcName":
		return e.at.fn
	case "process":
		return int64(os.Getpid())
	case "processName":
		return "MainProcess"
	case "thread": // goroutines have no number that means anything
		return int64(0)
	case "threadName":
		return "MainThread"
	}
	return ""
}
