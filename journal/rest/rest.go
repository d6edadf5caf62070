// Package rest answers GET /journal, for members and entrypoints alike: what may
// be asked, how much at once, and how it is written.
package rest

import (
	"bytes"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/matriarch-ha/matriarch/internal/pyjson"
	"github.com/matriarch-ha/matriarch/journal"
)

const (
	// Limit bounds the records of one answer, Usual is how many it has when the
	// question does not say.
	Limit = 1000
	Usual = 100
	// AtOnce is how many answers may be made at the same time: each may have to
	// read files.
	AtOnce = 4
)

// Query reads ?since=N (a record's number) or ?since=TIME (RFC 3339), and
// ?limit=. An error is a sentence for who asked.
func Query(q url.Values) (journal.Query, error) {
	jq := journal.Query{Limit: Usual}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return jq, fmt.Errorf("limit %q: want a number from 1 to %d", text, Limit)
		}
		jq.Limit = min(n, Limit)
	}
	text := q.Get("since")
	if text == "" {
		return jq, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		jq.After = n
		return jq, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return jq, fmt.Errorf("since %q: want a record's number or a time such as 2026-11-22T23:06:22Z", text)
	}
	jq.Since = at
	return jq, nil
}

// Encode writes the records as a JSON list. It encodes one after the other: all
// at once they would take many times the memory of the answer, and anybody may
// ask.
func Encode(records []journal.Record) ([]byte, error) {
	b := bytes.NewBufferString("[")
	for i, r := range records {
		text, err := pyjson.Marshal(r)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.Write(text)
	}
	b.WriteByte(']')
	return b.Bytes(), nil
}
