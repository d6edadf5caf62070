// Package pyjson writes JSON the way Python's json.dumps does by default:
// ", " and ": " between things, everything outside ASCII escaped. Scripts that
// were written against such answers compare them as text. It also keeps the
// order of an object's keys, which encoding/json does not, so that a document
// of a person can be changed without shuffling it.
//
// It knows nothing of what the documents mean.
package pyjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds nesting, so that a hostile document cannot exhaust the stack.
const maxDepth = 200

// Field is one entry of an object.
type Field struct {
	Key   string
	Value any
}

// Object is a JSON object whose keys keep their order. Values are Object,
// []any, string, json.Number, bool or nil.
type Object []Field

// Get returns the value of a key.
func (o Object) Get(key string) (any, bool) {
	for _, f := range o {
		if f.Key == key {
			return f.Value, true
		}
	}
	return nil, false
}

// Set replaces the value of a key, or adds the key at the end.
func (o Object) Set(key string, value any) Object {
	for i, f := range o {
		if f.Key == key {
			o[i].Value = value
			return o
		}
	}
	return append(o, Field{key, value})
}

// Delete removes a key.
func (o Object) Delete(key string) Object {
	for i, f := range o {
		if f.Key == key {
			return append(o[:i:i], o[i+1:]...)
		}
	}
	return o
}

// MarshalJSON lets an Object be part of a value given to encoding/json.
func (o Object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	err := write(&b, o)
	return b.Bytes(), err
}

// UnmarshalJSON lets an Object be part of a value read by encoding/json.
func (o *Object) UnmarshalJSON(text []byte) error {
	v, err := Parse(text)
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		*o = nil
	case Object:
		*o = v
	default:
		return errors.New("want a JSON object") // not its text, which may be long and is a stranger's
	}
	return nil
}

// Parse reads exactly one JSON value. Of equal keys the last one counts.
func Parse(text []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	v, err := parseValue(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more text after the JSON value")
	}
	return v, nil
}

func parseValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("JSON nested deeper than %d", maxDepth)
	}
	tok, err := dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		return parseObject(dec, depth)
	case json.Delim('['):
		return parseArray(dec, depth)
	}
	return tok, nil
}

func parseObject(dec *json.Decoder, depth int) (any, error) {
	o := Object{}
	seen := map[string]int{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key, ok := tok.(string)
		if !ok {
			return nil, fmt.Errorf("JSON object key %v is not a string", tok)
		}
		v, err := parseValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		if i, ok := seen[key]; ok {
			o[i].Value = v
			continue
		}
		seen[key] = len(o)
		o = append(o, Field{key, v})
	}
	_, err := dec.Token()
	return o, err
}

func parseArray(dec *json.Decoder, depth int) (any, error) {
	a := []any{}
	for dec.More() {
		v, err := parseValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	_, err := dec.Token()
	return a, err
}

// Marshal encodes any value that encoding/json can encode.
func Marshal(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return Reformat(text)
}

// Reformat rewrites one JSON text.
func Reformat(text []byte) ([]byte, error) {
	v, err := Parse(text)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := write(&b, v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func write(b *bytes.Buffer, v any) error {
	switch v := v.(type) {
	case Object:
		b.WriteByte('{')
		for i, f := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			writeString(b, f.Key)
			b.WriteString(": ")
			if err := write(b, f.Value); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			if err := write(b, e); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case string:
		writeString(b, v)
	case json.Number:
		b.WriteString(v.String())
	case bool:
		fmt.Fprintf(b, "%t", v)
	case nil:
		b.WriteString("null")
	default: // a Go value put into an Object by hand
		text, err := Marshal(v)
		if err != nil {
			return err
		}
		b.Write(text)
	}
	return nil
}

// writeString escapes as json.dumps with ensure_ascii does.
func writeString(b *bytes.Buffer, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case strings.ContainsRune("\n\r\t\b\f", r):
			b.WriteByte('\\')
			b.WriteByte("nrtbf"[strings.IndexRune("\n\r\t\b\f", r)])
		case r >= 0x10000:
			r -= 0x10000
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		case r < 0x20 || r >= utf8.RuneSelf-1:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

// Merge applies a patch to a document: null deletes, objects merge, anything
// else replaces. It returns the new document and whether anything changed;
// numbers and texts that read the same count as equal. Neither argument is
// changed.
func Merge(doc, patch Object) (Object, bool) {
	out := append(Object(nil), doc...)
	changed := false
	for _, f := range patch {
		old, has := out.Get(f.Key)
		switch v := f.Value.(type) {
		case nil:
			if has {
				out, changed = out.Delete(f.Key), true
			}
		case Object:
			oldObject, isObject := old.(Object)
			merged, c := Merge(oldObject, v)
			if c || !isObject {
				out, changed = out.Set(f.Key, merged), true
			}
		default:
			if !has || !sameText(old, v) {
				out, changed = out.Set(f.Key, v), true
			}
		}
	}
	return out, changed
}

// sameText reports whether two values print the same, ignoring whether one is
// quoted: the numbers 200 and "200" mean the same in a configuration.
func sameText(a, b any) bool { return textOf(a) == textOf(b) }

func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool: // true and "true" differ
		return fmt.Sprintf("bool %t", v)
	}
	var b bytes.Buffer
	if err := write(&b, v); err != nil {
		return fmt.Sprint(v)
	}
	return b.String()
}

// Equal reports whether two values are the same apart from the order of keys.
func Equal(a, b any) bool {
	switch a := a.(type) {
	case Object:
		bo, ok := b.(Object)
		if !ok || len(a) != len(bo) {
			return false
		}
		for _, f := range a {
			v, has := bo.Get(f.Key)
			if !has || !Equal(f.Value, v) {
				return false
			}
		}
		return true
	case []any:
		ba, ok := b.([]any)
		if !ok || len(a) != len(ba) {
			return false
		}
		for i := range a {
			if !Equal(a[i], ba[i]) {
				return false
			}
		}
		return true
	}
	if _, ok := b.(Object); ok {
		return false
	}
	if _, ok := b.([]any); ok {
		return false
	}
	return a == b
}
