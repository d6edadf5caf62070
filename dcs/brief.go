package dcs

import (
	"regexp"
	"slices"
	"strings"
)

// Brief tells a store's error on one line for people: what is the matter, and
// of each server that was asked why it did not help. The words that transports
// put around a cause are left out.
func Brief(err error) string {
	var class string
	var causes []string
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(line)
		for _, c := range []error{ErrConflict, ErrUnavailable, ErrUnknown, ErrSessionGone, ErrRefused} {
			// What stands before is the name of the store's own step.
			if _, after, ok := strings.Cut(line, c.Error()); ok {
				line = strings.TrimPrefix(after, ": ")
				if class == "" {
					class = c.Error()
				}
				break
			}
		}
		if line = cause(line); line != "" && !slices.Contains(causes, line) {
			causes = append(causes, line)
		}
	}
	text := strings.Join(causes, "; ")
	if class == "" || text == "" {
		return class + text
	}
	return class + ": " + text
}

// wrappings are what transports say around a cause, and what remains of it.
var wrappings = []struct {
	is *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`rpc error: code = \w+ desc = `), ""},
	{regexp.MustCompile(`(latest balancer error: |last (connection|resolver) error: |connection error: )`), ""},
	{regexp.MustCompile(`desc = "(.*)"`), "$1"},
	{regexp.MustCompile(`(transport: |[Ee]rror while dialing:? |error reading server preface: )`), ""},
	{regexp.MustCompile(`authentication handshake failed: (tls: )?`), "TLS: "},
	{regexp.MustCompile(`\bdial tcp: lookup (\S+)( on \S+)?: `), "$1: "},
	{regexp.MustCompile(`\bdial tcp (\S+): (connect: )?`), "$1: "},
	{regexp.MustCompile(`\b(?:raw-)?(?:read|write) tcp \S+->(\S+): (?:read: |write: )?`), "$1: "},
	{regexp.MustCompile(`(context deadline exceeded|use of closed network connection|i/o timeout)`), "no answer in time"},
}

func cause(line string) string {
	for _, w := range wrappings {
		line = w.is.ReplaceAllString(line, w.by)
	}
	return line
}
