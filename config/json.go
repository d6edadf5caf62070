package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// maxDepth bounds how deep a document may nest; real ones have four levels.
const maxDepth = 64

// parseJSON reads one JSON value, keeping the order of keys and the spelling
// of numbers. Of a key given twice the last counts, as in other readers.
func parseJSON(s string) (*node, error) {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	n, err := jsonValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("there is more text after the value's end at byte %d", d.InputOffset())
	}
	return n, nil
}

func jsonValue(d *json.Decoder, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	tok, err := d.Token()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	switch v := tok.(type) {
	case bool:
		return &node{kind: boolean, scalar: fmt.Sprint(v)}, nil
	case string:
		return newText(v, ""), nil
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return &node{kind: real, scalar: v.String()}, nil
		}
		return &node{kind: integer, scalar: v.String()}, nil
	case json.Delim:
		if v == '[' {
			return jsonList(d, depth)
		}
		return jsonMapping(d, depth)
	}
	return &node{kind: null}, nil
}

func jsonList(d *json.Decoder, depth int) (*node, error) {
	n := &node{kind: list}
	for d.More() {
		item, err := jsonValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, item)
	}
	_, err := d.Token()
	return n, err
}

func jsonMapping(d *json.Decoder, depth int) (*node, error) {
	n := newMapping()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		item, err := jsonValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		n.set(key.(string), item)
	}
	_, err := d.Token()
	return n, err
}

// appendJSON writes a node as compact JSON in the spelling of the stored keys:
// no spaces, and everything outside ASCII escaped.
func appendJSON(b *bytes.Buffer, n *node) {
	switch n.kind {
	case null:
		b.WriteString("null")
	case boolean, integer, real:
		b.WriteString(n.scalar)
	case text:
		quoteJSON(b, n.scalar)
	case list:
		b.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			appendJSON(b, item)
		}
		b.WriteByte(']')
	case mapping:
		b.WriteByte('{')
		for i, k := range n.keys {
			if i > 0 {
				b.WriteByte(',')
			}
			quoteJSON(b, k)
			b.WriteByte(':')
			appendJSON(b, n.fields[k])
		}
		b.WriteByte('}')
	}
}

func (n *node) json() string {
	var b bytes.Buffer
	appendJSON(&b, n)
	return b.String()
}

// shortEscapes are the control characters that have a letter in JSON.
const shortEscapes = "\b\f\n\r\t"

func quoteJSON(b *bytes.Buffer, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch i := strings.IndexRune(shortEscapes, r); {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case i >= 0:
			b.WriteByte('\\')
			b.WriteByte("bfnrt"[i])
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
}
