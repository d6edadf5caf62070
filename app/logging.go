package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/matriarch-ha/matriarch/config"
)

// Logs is where the program's loggers write: one readable line per record, or
// JSON. It can be changed while they are in use.
type Logs struct {
	out     io.Writer
	handler atomic.Pointer[slog.Handler]
}

// NewLogs makes what a configuration asks for.
func NewLogs(w io.Writer, c config.Log) *Logs {
	l := &Logs{out: w}
	l.Change(c)
	return l
}

// Change makes all loggers follow another configuration.
func (l *Logs) Change(c config.Log) {
	var h slog.Handler
	if level := levelOf(c.Level); c.Type == "json" {
		h = slog.NewJSONHandler(l.out, &slog.HandlerOptions{Level: level})
	} else {
		h = &lineHandler{out: l.out, mu: &sync.Mutex{}, level: level}
	}
	l.handler.Store(&h)
}

// Logger returns a logger that follows every change.
func (l *Logs) Logger() *slog.Logger { return slog.New(following{logs: l}) }

// following hands records to the handler of the moment, with the attributes and
// groups that were added on the way.
type following struct {
	logs *Logs
	add  []func(slog.Handler) slog.Handler
}

func (f following) Enabled(ctx context.Context, level slog.Level) bool {
	return (*f.logs.handler.Load()).Enabled(ctx, level)
}

func (f following) Handle(ctx context.Context, r slog.Record) error {
	h := *f.logs.handler.Load()
	for _, add := range f.add {
		h = add(h)
	}
	return h.Handle(ctx, r)
}

func (f following) with(add func(slog.Handler) slog.Handler) slog.Handler {
	return following{f.logs, append(slices.Clip(f.add), add)}
}

func (f following) WithAttrs(as []slog.Attr) slog.Handler {
	return f.with(func(h slog.Handler) slog.Handler { return h.WithAttrs(as) })
}

func (f following) WithGroup(name string) slog.Handler {
	return f.with(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func levelOf(name string) slog.Level {
	switch strings.ToLower(name) {
	case "debug":
		return slog.LevelDebug
	case "warning", "warn":
		return slog.LevelWarn
	case "error", "critical":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// lineHandler writes time, level, the sentence, and the attributes after it.
type lineHandler struct {
	out   io.Writer
	mu    *sync.Mutex
	level slog.Level
	attrs string
	group string
}

func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-5s %s", r.Time.Format("2006-01-02 15:04:05.000"), r.Level, oneLine(r.Message))
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&b, h.group, a)
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.out, b.String())
	return err
}

func writeAttr(b *strings.Builder, group string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		for _, in := range v.Group() {
			writeAttr(b, group+a.Key+".", in)
		}
		return
	}
	text := oneLine(v.String())
	if d, ok := v.Any().(time.Duration); ok {
		text = d.Round(time.Millisecond).String()
	}
	if strings.ContainsAny(text, " \"=") {
		text = fmt.Sprintf("%q", text)
	}
	fmt.Fprintf(b, " %s%s=%s", group, a.Key, text)
}

func oneLine(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ") }

func (h *lineHandler) WithAttrs(as []slog.Attr) slog.Handler {
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range as {
		writeAttr(&b, h.group, a)
	}
	n := *h
	n.attrs = b.String()
	return &n
}

func (h *lineHandler) WithGroup(name string) slog.Handler {
	n := *h
	n.group += name + "."
	return &n
}
