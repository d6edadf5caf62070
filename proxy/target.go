package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/matriarch-ha/matriarch/route"
)

// BySession is the access of a port where each client's startup packet says whom the
// client wants.
const BySession route.Access = "session"

// DefaultSeparator stands between the name of a database and the target after it.
const DefaultSeparator = "@"

// The places of a target in a startup packet. Servers take the first for a setting of
// nobody's, and would refuse the second.
const (
	targetSetting = "matriarch.target"
	targetAttrs   = "target_session_attrs"
)

// denial is a refusal for a client to read.
type denial struct{ code, message, hint string }

func (d denial) Error() string { return d.message }

func errEncrypted(port string) error {
	return denial{stateUnsupported, "the port " + port + " reads whom a client wants, which it cannot in an encrypted connection",
		"Connect to it without TLS, have TLS end at the entrypoint (proxy.tls.mode: end), or use a port that is for one kind of server."}
}

// choose finds the service that the client's packet asks for, and returns the packet
// as the server is to get it.
func (s *session) choose(pkt packet) (packet, error) {
	if s.port.Access != BySession {
		return pkt, nil
	}
	if pkt.kind != packetStartup {
		return pkt, errEncrypted(s.port.Name)
	}
	raw, access, err := readTarget(pkt.raw, s.port.Separator)
	if err != nil {
		return pkt, err
	}
	for _, sv := range s.port.services {
		if sv.policy.Access == access {
			s.service = sv
		}
	}
	pkt.raw = raw
	return pkt, nil
}

// readTarget reads from a startup packet whom the client wants, the primary if it does
// not say. The suffix of the database counts before the setting, that before the
// parameter that some drivers send. The packet comes back without the suffix and
// without the parameter.
func readTarget(raw []byte, separator string) ([]byte, route.Access, error) {
	params, err := startupParams(raw)
	if err != nil {
		return nil, "", denial{stateBadProtocol, err.Error(), ""}
	}
	var suffix, setting, attrs string
	out := append(make([]byte, 0, len(raw)), raw[:8]...)
	for _, p := range params {
		switch {
		case p.name == targetAttrs:
			attrs = p.value
			continue
		case p.name == "database":
			p.value, suffix = cutTarget(p.value, separator)
		case strings.EqualFold(p.name, targetSetting):
			setting = p.value
		case p.name == "options":
			if v := settingIn(p.value, targetSetting); v != "" {
				setting = v
			}
		}
		out = append(append(append(append(out, p.name...), 0), p.value...), 0)
	}
	out = append(out, 0)
	binary.BigEndian.PutUint32(out, uint32(len(out)))
	access, err := wantedBy(suffix, setting, attrs)
	return out, access, err
}

func wantedBy(suffix, setting, attrs string) (route.Access, error) {
	for _, from := range []struct{ place, value string }{{"the database", suffix}, {targetSetting, setting}, {targetAttrs, attrs}} {
		if from.value == "" {
			continue
		}
		access := accessOf(from.value)
		if access == "" {
			return "", denial{stateBadValue, fmt.Sprintf("%s is %q, which is no target", from.place, from.value),
				"Write read-write, read-only, any or sync."}
		}
		return access, nil
	}
	return route.ReadWrite, nil
}

// accessOf reads a target: our own words and those of libpq.
func accessOf(word string) route.Access {
	switch strings.ToLower(word) {
	case "rw", "read-write", "primary":
		return route.ReadWrite
	case "ro", "read-only", "standby", "prefer-standby":
		return route.ReadOnly
	case "any":
		return route.Any
	case "sync":
		return route.Sync
	}
	return ""
}

// cutTarget takes the target off the name of a database. What is none of the short
// words belongs to the name.
func cutTarget(database, separator string) (name, target string) {
	i := strings.LastIndex(database, separator)
	if separator == "" || i < 0 {
		return database, ""
	}
	switch target = database[i+len(separator):]; target {
	case "rw", "ro", "any", "sync":
		return database[:i], target
	}
	return database, ""
}

type startupParam struct{ name, value string }

// startupParams reads the parameters of a startup packet.
func startupParams(raw []byte) ([]startupParam, error) {
	var out []startupParam
	rest := raw[min(8, len(raw)):]
	for {
		name, after, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return nil, errors.New("startup packet without an end: want names and values, a zero after each, and one more")
		}
		if len(name) == 0 {
			if len(after) > 0 {
				return nil, fmt.Errorf("startup packet with %d bytes after its end", len(after))
			}
			return out, nil
		}
		value, next, ok := bytes.Cut(after, []byte{0})
		if !ok {
			return nil, fmt.Errorf("startup packet in which the parameter %q has no value", name)
		}
		out, rest = append(out, startupParam{string(name), string(value)}), next
	}
}

// settingIn finds the last value that command-line options give to a setting: -c
// name=value, -cname=value or --name=value.
func settingIn(options, setting string) (value string) {
	words := splitOptions(options)
	for i := 0; i < len(words); i++ {
		text, ok := strings.CutPrefix(words[i], "--")
		if !ok {
			if text, ok = strings.CutPrefix(words[i], "-c"); !ok {
				continue
			}
			if text == "" && i+1 < len(words) {
				i++
				text = words[i]
			}
		}
		if name, v, given := strings.Cut(text, "="); given && strings.EqualFold(name, setting) {
			value = v
		}
	}
	return value
}

// splitOptions splits at spaces as the server does: a backslash makes the next
// character part of the word.
func splitOptions(options string) []string {
	var words []string
	var word []byte
	in := false
	for i := 0; i < len(options); i++ {
		c := options[i]
		switch {
		case strings.IndexByte(" \t\n\v\f\r", c) >= 0:
			if in {
				words, word, in = append(words, string(word)), word[:0], false
			}
			continue
		case c == '\\' && i+1 < len(options):
			i++
			c = options[i]
		}
		word, in = append(word, c), true
	}
	if in {
		words = append(words, string(word))
	}
	return words
}
