package layout

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// object is a JSON object read without any expectation about its fields, so
// that one field of a wrong type does not spoil the others.
type object map[string]json.RawMessage

// parseObject reads a JSON object; null and everything else is not one.
func parseObject(text string) (object, bool) {
	var o object
	if json.Unmarshal([]byte(text), &o) != nil || o == nil {
		return nil, false
	}
	return o, true
}

// str returns a field that is a string, and "" otherwise.
func (o object) str(field string) string {
	s, _ := asString(o[field])
	return s
}

// uint returns a field that is a whole number or the text of one, at most
// bits wide, and 0 otherwise.
func (o object) uint(field string, bits int) uint64 {
	n, _ := asUint(o[field], bits)
	return n
}

// truthy reports whether a field counts as set in the reference's language:
// not absent, null, false, zero or empty.
func (o object) truthy(field string) bool {
	switch raw := string(bytes.TrimSpace(o[field])); raw {
	case "", "null", "false", `""`, "[]", "{}":
		return false
	default:
		f, err := strconv.ParseFloat(raw, 64)
		return err != nil || f != 0
	}
}

// keys returns the names of the fields, sorted.
func (o object) keys() []string {
	names := make([]string, 0, len(o))
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func asString(raw json.RawMessage) (string, bool) {
	var s *string
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

func asUint(raw json.RawMessage, bits int) (uint64, bool) {
	text := string(bytes.TrimSpace(raw))
	if s, ok := asString(raw); ok {
		text = strings.TrimSpace(s)
	}
	n, err := strconv.ParseUint(text, 10, bits)
	return n, err == nil
}

func asInt(raw json.RawMessage) (int, bool) {
	text := string(bytes.TrimSpace(raw))
	if s, ok := asString(raw); ok {
		text = strings.TrimSpace(s)
	}
	n, err := strconv.ParseInt(text, 10, 32)
	return int(n), err == nil
}

// unwrap returns the JSON inside a string that holds JSON, as annotations of
// Kubernetes do, and anything else as it is.
func unwrap(raw json.RawMessage) json.RawMessage {
	if s, ok := asString(raw); ok {
		return json.RawMessage(s)
	}
	return raw
}

// writer builds compact JSON in ASCII with the fields in the order in which
// they are added, as the reference writes it.
type writer struct {
	b     strings.Builder
	comma bool
}

func (w *writer) open(c byte)  { w.sep(); w.b.WriteByte(c); w.comma = false }
func (w *writer) close(c byte) { w.b.WriteByte(c); w.comma = true }

func (w *writer) sep() {
	if w.comma {
		w.b.WriteByte(',')
	}
	w.comma = true
}

// name begins a field; the value must follow.
func (w *writer) name(field string) {
	w.sep()
	writeString(&w.b, field)
	w.b.WriteByte(':')
	w.comma = false
}

func (w *writer) string(s string) { w.sep(); writeString(&w.b, s) }
func (w *writer) uint(n uint64)   { w.sep(); w.b.WriteString(strconv.FormatUint(n, 10)) }
func (w *writer) raw(text string) { w.sep(); w.b.WriteString(text) }

func (w *writer) stringField(field, s string) { w.name(field); w.string(s) }
func (w *writer) uintField(field string, n uint64) {
	w.name(field)
	w.uint(n)
}

// optional fields are left out when empty, never null.
func (w *writer) optString(field, s string) {
	if s != "" {
		w.stringField(field, s)
	}
}

func (w *writer) optUint(field string, n uint64) {
	if n != 0 {
		w.uintField(field, n)
	}
}

func (w *writer) optTrue(field string, set bool) {
	if set {
		w.name(field)
		w.raw("true")
	}
}

func (w *writer) strings(list []string) {
	w.open('[')
	for _, s := range list {
		w.string(s)
	}
	w.close(']')
}

func (w *writer) text() string { return w.b.String() }

// writeString writes s as a JSON string in printable ASCII; what is not UTF-8
// becomes U+FFFD.
func writeString(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch r {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		case '\b':
			b.WriteString(`\b`)
		case '\f':
			b.WriteString(`\f`)
		default:
			writeRune(b, r)
		}
	}
	b.WriteByte('"')
}

// writeRune writes printable ASCII as it is and the rest as \u escapes.
func writeRune(b *strings.Builder, r rune) {
	switch {
	case r >= ' ' && r <= '~':
		b.WriteByte(byte(r))
	case r > 0xffff:
		hi, lo := utf16.EncodeRune(r)
		writeEscape(b, hi)
		writeEscape(b, lo)
	default:
		writeEscape(b, r)
	}
}

func writeEscape(b *strings.Builder, r rune) {
	const hex = "0123456789abcdef"
	b.WriteString(`\u`)
	for shift := 12; shift >= 0; shift -= 4 {
		b.WriteByte(hex[r>>shift&0xf])
	}
}

// normalJSON brings JSON of unknown content into the form that is written:
// compact, ASCII. Text that is no JSON at all becomes a JSON string.
func normalJSON(text string) string {
	var compact bytes.Buffer
	if json.Compact(&compact, []byte(text)) != nil {
		var b strings.Builder
		writeString(&b, text)
		return b.String()
	}
	// Outside of strings JSON is ASCII, so whatever is not can be escaped blindly.
	var b strings.Builder
	for raw := compact.Bytes(); len(raw) > 0; {
		r, size := utf8.DecodeRune(raw)
		writeRune(&b, r)
		raw = raw[size:]
	}
	return b.String()
}
