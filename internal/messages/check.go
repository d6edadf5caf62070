package messages

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Row is one situation.
type Row struct {
	ID        string // how tests name it
	Section   string // heading of the page
	Situation string
	Message   string // with <words> for what differs from case to case
	Do        string
	Test      string // the test's name
}

var placeholder = regexp.MustCompile(`<[^<>]+>`)

// pattern matches the message with anything on one line for the placeholders.
func (r Row) pattern() *regexp.Regexp {
	parts := placeholder.Split(r.Message, -1)
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(strings.TrimSpace(p))
	}
	return regexp.MustCompile(strings.Join(parts, `.+?`))
}

// Check fails the test unless the text has the row's message, once: a trouble
// that is told twice hides what else there is. Quotes that a log has escaped are
// read as they were.
func Check(t testing.TB, id, said string) {
	t.Helper()
	i := slices.IndexFunc(Table, func(r Row) bool { return r.ID == id })
	if i < 0 {
		t.Errorf("the table has no row %q; what was said:\n%s", id, said)
		return
	}
	said = strings.ReplaceAll(said, `\"`, `"`)
	if n := len(Table[i].pattern().FindAllString(said, -1)); n != 1 {
		t.Errorf("%s: the message is there %d times, want once:\n  %s\nwhat was said:\n%s", id, n, Table[i].Message, said)
	}
}
