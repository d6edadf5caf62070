package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
)

const notYAML = "this is not YAML that can be read"

// yamlError is a syntax error with its place. Its text never shows the source,
// which could be a line with a password.
type yamlError struct {
	place, reason string
}

func (e *yamlError) Error() string { return e.place + ": " + e.reason }

// explained says in words what the parser says with a character of the source,
// which could be one of a password.
var explained = []struct{ with, reason string }{
	{"is a reserved character", "a value must not begin with @ or ` unless it is quoted"},
	{"that cannot start any token", "a tab stands where a value or an indentation begins; use spaces"},
	{"found unknown escape character", `unknown escape after a backslash in double-quoted text; write \\ for a backslash, or use single quotes`},
	{"found invalid tag character", "a word that begins with ! is read as a tag; quote it if it is a value"},
	{"cannot assign default value for", "a word that begins with ! is read as a tag; quote it if it is a value"},
}

// fixed are the characters of YAML's own that the parser's messages name: they
// are the same whatever the source is.
var fixed = regexp.MustCompile(`'[\[\]{},:]'`)

// quoted finds the part of a parser's message that repeats the source.
var quoted = regexp.MustCompile(`["'\x60].*["'\x60]`)

// SyntaxError turns an error of the YAML parser into one that names file, line
// and column, and shows nothing of the text there.
func SyntaxError(name string, err error) error {
	var y yaml.Error
	if !errors.As(err, &y) || y.GetToken() == nil || y.GetToken().Position == nil {
		return &yamlError{name, notYAML}
	}
	pos := y.GetToken().Position
	return &yamlError{fmt.Sprintf("%s:%d:%d", name, pos.Line, pos.Column), reasonOf(y.GetMessage())}
}

func reasonOf(message string) string {
	if strings.HasPrefix(message, "mapping key ") { // a key given twice: the name helps and is no secret
		return message
	}
	for _, e := range explained {
		if strings.Contains(message, e.with) {
			return e.reason
		}
	}
	if !strings.ContainsAny(fixed.ReplaceAllString(message, ""), "\"'`") {
		return message
	}
	return quoted.ReplaceAllString(message, masked)
}

// checkText refuses what is no text at all, such as a program given by mistake.
func checkText(name string, data []byte) error {
	at := bytes.IndexByte(data, 0)
	if at < 0 && utf8.Valid(data) {
		return nil
	}
	if at < 0 {
		for at = 0; ; {
			r, n := utf8.DecodeRune(data[at:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			at += n
		}
	}
	before := data[:at]
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return &yamlError{fmt.Sprintf("%s:%d:%d", name, bytes.Count(before, []byte{'\n'})+1, column),
		"this is no text in UTF-8: a binary file, or another encoding"}
}
