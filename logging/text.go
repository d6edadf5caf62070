package logging

import (
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// longest is how much of one text is logged.
const longest = 16 << 10

// text is the message with the attributes after it, in one line.
func (e entry) text() string {
	var b strings.Builder
	b.WriteString(oneLine(e.message))
	for _, a := range e.attrs {
		text := oneLine(valueText(a.Value))
		if text == "" || strings.ContainsAny(text, " \"=") {
			text = strconv.Quote(text)
		}
		fmt.Fprintf(&b, " %s=%s", oneLine(a.Key), text)
	}
	return b.String()
}

func valueText(v slog.Value) string {
	switch v.Kind() {
	case slog.KindDuration:
		return v.Duration().Round(time.Millisecond).String()
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	}
	return v.String()
}

// oneLine keeps a text from outside from looking like several records, or from
// sending commands to a terminal.
func oneLine(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "; ")
	var b strings.Builder
	for _, r := range s {
		if unprintable(r) {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func unprintable(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

// renderJSON makes an object of the fields asked for, the attributes, and the
// fields that every record has.
func (s *style) renderJSON(e entry) []byte {
	o := object{keys: map[string]bool{}}
	for _, p := range s.parts {
		if p.Field != "" {
			o.add(p.As, s.field(p.Field, e, func() string { return clip(e.message) }))
		}
	}
	for _, a := range e.attrs {
		o.add(a.Key, jsonValue(a.Value))
	}
	for _, p := range s.static {
		o.add(p.Name, p.Value)
	}
	return append(o.text, "}\n"...)
}

func clip(s string) string {
	if len(s) > longest {
		return strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}

func jsonValue(v slog.Value) any {
	switch v.Kind() {
	case slog.KindBool:
		return v.Bool()
	case slog.KindInt64:
		return v.Int64()
	case slog.KindUint64:
		return v.Uint64()
	case slog.KindFloat64:
		if f := v.Float64(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
	}
	return clip(valueText(v))
}
