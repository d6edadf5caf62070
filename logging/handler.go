package logging

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
)

const module = "github.com/matriarch-ha/matriarch/"

// handler gives records to the queue, with the attributes that its logger has.
type handler struct {
	logs  *Logs
	attrs []slog.Attr // resolved, groups resolved into the keys
	group string
}

// Enabled lets a record through that some package's level lets through; Handle
// looks closer.
func (h handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.logs.style.Load().least }

func (h handler) Handle(_ context.Context, r slog.Record) error {
	s := h.logs.style.Load()
	at := placeOf(r.PC)
	if r.Level < s.levelFor(at.pkg) {
		return nil
	}
	attrs := slices.Clip(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		attrs = flatten(attrs, h.group, a)
		return true
	})
	h.logs.queue.put(s.render(entry{time: r.Time, level: r.Level, message: r.Message, at: at, attrs: attrs}))
	return nil
}

func (h handler) WithAttrs(as []slog.Attr) slog.Handler {
	h.attrs = slices.Clip(h.attrs)
	for _, a := range as {
		h.attrs = flatten(h.attrs, h.group, a)
	}
	return h
}

func (h handler) WithGroup(name string) slog.Handler {
	if name != "" {
		h.group += name + "."
	}
	return h
}

// flatten adds an attribute, and those of a group under the group's name.
func flatten(to []slog.Attr, group string, a slog.Attr) []slog.Attr {
	v := a.Value.Resolve()
	if v.Kind() != slog.KindGroup {
		if a.Key == "" {
			return to
		}
		return append(to, slog.Attr{Key: group + a.Key, Value: v})
	}
	if a.Key != "" {
		group += a.Key + "."
	}
	for _, in := range v.Group() {
		to = flatten(to, group, in)
	}
	return to
}

// place is where a record was made.
type place struct {
	pkg  string // path below the module, as in log.loggers
	fn   string
	file string
	line int
}

var places sync.Map // of program counters: there are as many as log calls

func placeOf(pc uintptr) place {
	if pc == 0 {
		return place{pkg: "logging"}
	}
	if p, ok := places.Load(pc); ok {
		return p.(place)
	}
	f, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	name := strings.TrimPrefix(f.Function, module)
	slash := strings.LastIndexByte(name, '/') + 1
	pkg, fn, _ := strings.Cut(name[slash:], ".")
	p := place{pkg: name[:slash] + pkg, fn: fn, file: f.File, line: f.Line}
	places.Store(pc, p)
	return p
}
