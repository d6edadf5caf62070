package conf

import (
	"fmt"
	"strings"
)

// Credentials are a role's name, password and TLS settings, as the section
// authentication has them. Empty fields are left to libpq's defaults.
type Credentials struct {
	Username       string
	Password       Secret
	SSLMode        string
	SSLCert        string
	SSLKey         string
	SSLPassword    Secret
	SSLRootCert    string
	SSLCRL         string
	SSLCRLDir      string
	GSSEncMode     string
	ChannelBinding string
	SSLNegotiation string
}

// Target is whom to connect to and as what.
type Target struct {
	Host, Port  string // Host may be a comma list
	DBName      string
	Passfile    string // names the password's file; the password itself is never in a conninfo
	Application string
	KrbSrvName  string
	SessionAttr string // target_session_attrs
	Credentials Credentials
	Major       int // PostgreSQL major that will read the text; decides on keywords
}

// keyword is one pair of a connection string with the first major that knows it.
type keyword struct {
	name, value string
	since       int
}

// Conninfo writes a connection string in the usual order of keywords, unset
// ones omitted, values escaped by backslash. It never contains a password.
func Conninfo(t Target) string {
	c := t.Credentials
	var b strings.Builder
	for _, k := range []keyword{
		{"dbname", t.DBName, 0}, {"user", c.Username, 0}, {"passfile", t.Passfile, 10},
		{"host", t.Host, 0}, {"port", t.Port, 0},
		{"sslmode", or(c.SSLMode, "prefer"), 0}, {"sslcert", c.SSLCert, 0}, {"sslkey", c.SSLKey, 0},
		{"sslpassword", c.SSLPassword.Reveal(), 13}, {"sslrootcert", c.SSLRootCert, 0}, {"sslcrl", c.SSLCRL, 0},
		{"sslcrldir", c.SSLCRLDir, 14}, {"application_name", t.Application, 0}, {"krbsrvname", t.KrbSrvName, 0},
		{"gssencmode", or(c.GSSEncMode, "prefer"), 12}, {"channel_binding", or(c.ChannelBinding, "prefer"), 13},
		{"target_session_attrs", t.SessionAttr, 10}, {"sslnegotiation", or(c.SSLNegotiation, "postgres"), 17},
	} {
		if k.value == "" || t.Major > 0 && t.Major < k.since {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(k.name + "=" + escapeConninfo(k.value))
	}
	return b.String()
}

func or(v, def string) string {
	if v == "" {
		return def
	}
	return v
}

func escapeConninfo(v string) string {
	return strings.NewReplacer(`\`, `\\`, `'`, `\'`, " ", `\ `).Replace(v)
}

// ParseConninfo reads a keyword/value connection string.
func ParseConninfo(s string) ([]Param, error) {
	var out []Param
	for i := 0; ; {
		for i < len(s) && isSpace(s[i]) {
			i++
		}
		if i >= len(s) {
			return out, nil
		}
		start := i
		for i < len(s) && s[i] != '=' && !isSpace(s[i]) {
			i++
		}
		name := s[start:i]
		for i < len(s) && isSpace(s[i]) {
			i++
		}
		if i >= len(s) || s[i] != '=' {
			return nil, fmt.Errorf("connection string: keyword %q has no value", name)
		}
		i++
		for i < len(s) && isSpace(s[i]) {
			i++
		}
		value, next, err := conninfoValue(s, i, name)
		if err != nil {
			return nil, err
		}
		out, i = append(out, Param{Name: name, Value: value}), next
	}
}

// conninfoValue reads the value that begins at i and returns where it ends.
func conninfoValue(s string, i int, name string) (string, int, error) {
	quoted := i < len(s) && s[i] == '\''
	if quoted {
		i++
	}
	var b strings.Builder
	for ; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case quoted && s[i] == '\'':
			return b.String(), i + 1, nil
		case !quoted && isSpace(s[i]):
			return b.String(), i, nil
		default:
			b.WriteByte(s[i])
		}
	}
	if quoted {
		return "", 0, fmt.Errorf("connection string: the value of %q has no closing quote", name)
	}
	return b.String(), i, nil
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'
}
