package config

import (
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
)

// check compares a mapping with a schema and reports every difference.
func (r *report) check(path string, n *node, fields []field, open bool) {
	for _, k := range n.keys {
		v, at := n.fields[k], join(path, k)
		f, known := find(fields, k)
		switch {
		case known:
			r.checkValue(at, v, f)
		case !open && !custom(n, k):
			r.unknown(at, v, k, fields)
		}
	}
}

// custom reports whether k is the section of a method that n itself names, such
// as bootstrap.method or postgresql.create_replica_methods.
func custom(n *node, k string) bool {
	if m := n.get("method"); m != nil && m.scalar == k {
		return true
	}
	for _, list := range []string{"create_replica_methods", "create_replica_method"} {
		if m := n.get(list); m != nil && slices.Contains(texts(m), k) {
			return true
		}
	}
	return false
}

func (r *report) unknown(path string, v *node, key string, fields []field) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	if near := nearest(key, names); near != "" {
		r.warn(WarnUnknown, path, v, "unknown setting, it has no effect; did you mean %s?", near)
		return
	}
	r.warn(WarnUnknown, path, v, "unknown setting, it has no effect")
}

func (r *report) checkValue(path string, n *node, f field) {
	if f.note != "" && !neutral(n, f) {
		r.warn(WarnUnsupported, path, n, "%s", f.note)
	}
	if n.kind == null {
		return // says nothing
	}
	switch f.typ {
	case tSection:
		if n.kind != mapping {
			r.problem(path, n, "must be a mapping of settings", "write its settings below it, indented")
			return
		}
		r.check(path, n, f.fields, f.open)
	case tMap:
		r.checkMap(path, n)
	case tList, tLines:
		r.checkList(path, n)
	case tOptions:
		if _, bad := parseOptions(n); bad != "" {
			r.problem(path, n, bad, "write a list of names and of name: value pairs")
		}
	case tItems:
		r.checkItems(path, n, f)
	case tAny:
	default:
		r.checkScalar(path, n, f)
	}
}

// neutral reports whether a setting without effect asks for nothing anyway.
func neutral(n *node, f field) bool {
	return !truthy(n) || n.kind == text && strings.EqualFold(n.scalar, "off") || n.isScalar() && n.scalar == f.neutral ||
		n.kind == list && slices.Equal(texts(n), []string{f.neutral})
}

func (r *report) checkScalar(path string, n *node, f field) {
	if !n.isScalar() {
		r.problem(path, n, "must be one value", "")
		return
	}
	s := n.scalarText()
	switch f.typ {
	case tBool:
		if _, err := ParseBool(s); err != nil {
			r.problem(path, n, "must be on or off", "write true or false")
		}
	case tInt:
		v, err := ParseInt(s, f.base)
		switch {
		case n.kind == boolean || err != nil:
			r.problem(path, n, "must be a whole number"+unitHint(f.base), "")
		case v < f.min:
			r.problem(path, n, "must be at least "+strconv.FormatInt(f.min, 10), "")
		case v > f.max:
			r.problem(path, n, "must be at most "+strconv.FormatInt(f.max, 10), "")
		}
	case tTime:
		if d, err := ParseDuration(s); n.kind == boolean || err != nil || d < 0 {
			r.problem(path, n, "must be a time", "write a number of seconds, or a number with ms, s, min, h or d")
		}
	case tHost:
		if f.optional && n.kind == boolean && n.scalar == "false" {
			return
		}
		if n.kind == boolean {
			r.problem(path, n, "must be an address", "write host:port")
		} else if _, _, err := splitHostPort(s, "1"); err != nil {
			r.problem(path, n, err.Error(), "write host:port")
		} else if host, port, ok := bareIPv6(s); ok {
			r.warn(WarnAdjusted, path, n, "is read as the address %s without a port; if its port is %s, write [%s]:%s", s, port, host, port)
		}
	case tText:
		if len(f.enum) > 0 && !slices.Contains(f.enum, orOff(n.scalar)) {
			r.problem(path, n, "must be one of "+strings.Join(f.enum, ", "), "")
		}
		if strings.ContainsRune(s, 0) {
			r.problem(path, n, "must not contain a zero byte", "")
		}
	}
}

// orOff is a word as the schema writes it: YAML reads a plain off as false.
func orOff(word string) string {
	if word = strings.ToLower(word); word == "false" {
		return "off"
	}
	return word
}

func unitHint(base string) string {
	switch _, family := unitSize(base); family {
	case 'b':
		return " of bytes, or a number with kB, MB, GB or TB"
	case 't':
		return " of seconds, or a number with ms, s, min, h or d"
	}
	return ""
}

func (r *report) checkMap(path string, n *node) {
	if n.kind != mapping {
		r.problem(path, n, "must be a mapping of names to values", "")
		return
	}
	for _, k := range n.keys {
		if v := n.fields[k]; !v.isScalar() && v.kind != null {
			r.problem(join(path, k), v, "must be one value", "")
		}
	}
}

func (r *report) checkList(path string, n *node) {
	if n.isScalar() {
		return
	}
	if n.kind != list {
		r.problem(path, n, "must be a list", "")
		return
	}
	for _, item := range n.items {
		if !item.isScalar() {
			r.problem(path, item, "every item of this list must be one value", "quote it if it contains a colon followed by a space")
			return
		}
	}
}

// checkItems compares each mapping of a list with the schema of its settings.
func (r *report) checkItems(path string, n *node, f field) {
	if n.kind != list {
		r.problem(path, n, "must be a list", "write each item after a dash, its settings below one another")
		return
	}
	for i, item := range n.items {
		at := path + "[" + strconv.Itoa(i) + "]"
		if item.kind != mapping {
			r.problem(at, item, "must be a mapping of settings", "write "+f.fields[0].name+": and its value")
			continue
		}
		r.check(at, item, f.fields, false)
	}
}

// texts reads a list of texts; a single text is split at commas, and quotes
// around its parts are dropped.
func texts(n *node) []string {
	if n == nil {
		return nil
	}
	if n.isScalar() {
		var out []string
		for part := range strings.SplitSeq(n.scalarText(), ",") {
			if part = strings.Trim(strings.TrimSpace(part), `'"`); part != "" {
				out = append(out, part)
			}
		}
		return out
	}
	var out []string
	for _, item := range n.items {
		if s := item.scalar; item.isScalar() && s != "" {
			out = append(out, s)
		}
	}
	return out
}

// textLines reads a list of lines; a single text is one line, or several.
func textLines(n *node) []string {
	if n != nil && n.isScalar() {
		return strings.Split(strings.TrimRight(n.scalar, "\n"), "\n")
	}
	return texts(n)
}

// parseOptions reads command-line options from a list of names and of
// name: value pairs, or from one mapping. bad says what is wrong.
func parseOptions(n *node) (out []Option, bad string) {
	add := func(name string, v *node) {
		name = strings.TrimPrefix(name, "--")
		switch {
		case name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || name[0] == '-':
			bad = strconv.Quote(clip(name)) + " is not the name of an option"
		case v != nil && !v.isScalar():
			bad = "the option " + name + " must have one value"
		case v == nil || v.kind == boolean && v.scalar == "true":
			out = append(out, Option{Name: name, Bare: true})
		case v.kind == boolean: // name: false means without it
		default:
			out = append(out, Option{Name: name, Value: v.scalar})
		}
	}
	switch n.kind {
	case mapping:
		for _, k := range n.keys {
			add(k, n.fields[k])
		}
	case list:
		for _, item := range n.items {
			addItem(item, add)
		}
	case null:
	default:
		bad = "must be a list of options"
	}
	return out, bad
}

func addItem(item *node, add func(string, *node)) {
	switch {
	case item.kind == mapping:
		for _, k := range item.keys {
			add(k, item.fields[k])
		}
	case item.isScalar():
		name, value, given := strings.Cut(item.scalar, "=")
		if !given {
			add(name, nil)
			return
		}
		add(name, newText(value, item.origin))
	default:
		add("", nil)
	}
}

// splitHostPort separates at the last colon, as the reference does; the host
// may be a list separated by commas, and an IPv6 address may have brackets.
func splitHostPort(s, defaultPort string) (host, port string, err error) {
	s = strings.ReplaceAll(strings.TrimSpace(s), ", ", ",")
	host, port = s, defaultPort
	if i := strings.LastIndexByte(s, ':'); i >= 0 && net.ParseIP(s) == nil && !strings.HasSuffix(s, "]") {
		host, port = s[:i], s[i+1:]
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if host == "" || strings.ContainsAny(host, " \t/") {
		return "", "", errors.New("has no host")
	}
	if strings.Trim(host, "0123456789") == "" {
		return "", "", errors.New("is a number where a host is needed")
	}
	if p, perr := strconv.Atoi(port); perr != nil || p < 0 || p > 65535 {
		return "", "", errors.New("its port is not a number from 0 to 65535")
	}
	return host, port, nil
}

// bareIPv6 recognises an IPv6 address without brackets whose end looks like a
// port.
func bareIPv6(s string) (host, port string, ok bool) {
	s = strings.TrimSpace(s)
	i := strings.LastIndexByte(s, ':')
	if i < 0 || net.ParseIP(s) == nil || net.ParseIP(s[:i]) == nil {
		return "", "", false
	}
	host, port = s[:i], s[i+1:]
	return host, port, len(port) == 4 && strings.Trim(port, "0123456789") == ""
}

// joinHostPort puts an address together, with brackets where they are needed.
func joinHostPort(host, port string) string {
	if strings.Contains(host, ",") {
		return host + ":" + port
	}
	return net.JoinHostPort(host, port)
}

// address brings host, host:port or [v6]:port into the form host:port.
func address(s, defaultPort string) string {
	h, p, err := splitHostPort(s, defaultPort)
	if err != nil {
		return s
	}
	return joinHostPort(h, p)
}

// loopback reports whether an address host:port stays on this machine.
func loopback(addr string) bool {
	h, _, err := splitHostPort(addr, "0")
	if err != nil {
		return false
	}
	ip := net.ParseIP(h)
	return h == "localhost" || ip != nil && ip.IsLoopback()
}

// wildcard reports whether a host means all addresses of this machine.
func wildcard(host string) bool { return host == "*" || host == "0.0.0.0" || host == "::" }
