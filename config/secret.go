package config

import "log/slog"

// masked is what a secret looks like wherever it is printed.
const masked = "***"

// Secret is a text that must never be printed: a password, a passphrase, a
// token. Every usual way of printing it (fmt with any verb, JSON, YAML, slog)
// gives "***", or "" when it is empty, so that "not set" can still be seen.
type Secret string

// Reveal returns the text itself. Call it only where the secret is used.
func (s Secret) Reveal() string { return string(s) }

// Empty reports whether the secret is not set.
func (s Secret) Empty() bool { return s == "" }

// String implements fmt.Stringer and hides the text.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// GoString implements fmt.GoStringer (the %#v verb) and hides the text.
func (s Secret) GoString() string { return `config.Secret("` + s.String() + `")` }

// MarshalText hides the text from encoding/json, YAML and every other encoder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the text from log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
