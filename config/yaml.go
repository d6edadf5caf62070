package config

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxNodes bounds what aliases may expand to.
const maxNodes = 100_000

// parseYAML reads one YAML document. Plain words are understood as YAML 1.1
// does, because files written for other agents rely on it: on, off, yes and no
// are booleans unless quoted.
func parseYAML(name string, data []byte) (n *node, err error) {
	// The parser is somebody else's; a panic in it is a bad file, not a crash.
	defer func() {
		if p := recover(); p != nil {
			n, err = nil, &yamlError{name, notYAML}
		}
	}()
	if err := checkText(name, data); err != nil {
		return nil, err
	}
	file, perr := parser.ParseBytes(bytes.TrimPrefix(data, []byte("\ufeff")), 0)
	if perr != nil {
		return nil, SyntaxError(name, perr)
	}
	y := yamlReader{name: name, anchors: map[string]ast.Node{}, open: map[string]bool{}}
	root := &node{kind: null, origin: name}
	for i, d := range file.Docs {
		if d.Body == nil {
			continue
		}
		if i > 0 && root.kind != null {
			return nil, y.fail(d.Body, "a second document; one file holds one")
		}
		if root, err = y.value(d.Body, 0); err != nil {
			return nil, err
		}
	}
	return root, nil
}

// yamlReader turns a syntax tree into nodes.
type yamlReader struct {
	name    string
	anchors map[string]ast.Node
	open    map[string]bool // aliases being expanded
	made    int
}

func (y *yamlReader) place(n ast.Node) string {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return fmt.Sprintf("%s:%d:%d", y.name, t.Position.Line, t.Position.Column)
	}
	return y.name
}

func (y *yamlReader) fail(n ast.Node, reason string) error {
	return &yamlError{y.place(n), reason}
}

func (y *yamlReader) value(n ast.Node, depth int) (*node, error) {
	if y.made++; depth > maxDepth || y.made > maxNodes {
		return nil, y.fail(n, "too large or nested too deeply")
	}
	switch v := n.(type) {
	case *ast.MappingNode:
		return y.mapping(v, v.Values, depth)
	case *ast.MappingValueNode:
		return y.mapping(v, []*ast.MappingValueNode{v}, depth)
	case *ast.SequenceNode:
		out := &node{kind: list, origin: y.place(n)}
		for _, item := range v.Values {
			c, err := y.item(item, depth+1)
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, c)
		}
		return out, nil
	case *ast.AnchorNode:
		y.anchors[v.Name.GetToken().Value] = v.Value
		return y.value(v.Value, depth)
	case *ast.AliasNode:
		return y.alias(v, depth)
	case *ast.TagNode:
		return y.tagged(v, depth)
	}
	return y.scalar(n)
}

// item reads an item of a list. Within {...} the parser takes a plain h1:2379
// for a mapping; without a space after the colon it is one word.
func (y *yamlReader) item(n ast.Node, depth int) (*node, error) {
	kv, ok := n.(*ast.MappingValueNode)
	if m, isMap := n.(*ast.MappingNode); isMap && len(m.Values) == 1 && m.Start.Type != token.MappingStartType {
		kv, ok = m.Values[0], true
	}
	if !ok || kv.Value == nil || kv.Key.IsMergeKey() {
		return y.value(n, depth)
	}
	key, value := kv.Key.GetToken(), kv.Value.GetToken()
	after := key.Position.Column + utf8.RuneCountInString(key.Value) + 1
	if key.Type != token.StringType || value.Position.Line != key.Position.Line || value.Position.Column != after {
		return y.value(n, depth)
	}
	return newText(key.Value+":"+value.Value, y.place(n)), nil
}

func (y *yamlReader) alias(v *ast.AliasNode, depth int) (*node, error) {
	name := v.Value.GetToken().Value
	target, ok := y.anchors[name]
	if !ok || y.open[name] {
		return nil, y.fail(v, "this alias has no anchor before it")
	}
	y.open[name] = true
	defer delete(y.open, name)
	return y.value(target, depth+1)
}

// tagged honours !!str, which people use to keep a number a text, and reads
// through every other tag.
func (y *yamlReader) tagged(v *ast.TagNode, depth int) (*node, error) {
	if v.Value == nil {
		return &node{kind: null, origin: y.place(v)}, nil
	}
	n, err := y.value(v.Value, depth+1)
	if err == nil && n.isScalar() && v.GetToken().Value == "!!str" {
		return newText(v.Value.GetToken().Value, n.origin), nil
	}
	return n, err
}

func (y *yamlReader) mapping(at ast.Node, values []*ast.MappingValueNode, depth int) (*node, error) {
	out := newMapping()
	out.origin = y.place(at)
	if len(values) > 0 {
		out.origin = y.place(values[0].Key)
	}
	var merged []*node // << fills in what the mapping itself does not say
	for _, kv := range values {
		v, err := y.value(kv.Value, depth+1)
		if err != nil {
			return nil, err
		}
		if kv.Key.IsMergeKey() {
			merged = append(merged, v)
			continue
		}
		if v.kind == null {
			v.origin = y.place(kv.Key)
		}
		key := kv.Key.GetToken().Value
		if _, twice := out.fields[key]; twice {
			return nil, y.fail(kv.Key, "the key "+strconv.Quote(key)+" is given twice")
		}
		out.set(key, v)
	}
	for _, m := range merged {
		sources := []*node{m}
		if m.kind == list {
			sources = m.items
		}
		for _, s := range sources {
			for _, k := range s.keys {
				if _, own := out.fields[k]; !own {
					out.set(k, s.fields[k])
				}
			}
		}
	}
	return out, nil
}

// yaml11 are the plain words that YAML 1.1 takes for booleans.
func yaml11(s string) (value, ok bool) {
	switch s {
	case "on", "On", "ON", "yes", "Yes", "YES", "true", "True", "TRUE":
		return true, true
	case "off", "Off", "OFF", "no", "No", "NO", "false", "False", "FALSE":
		return false, true
	}
	return false, false
}

func (y *yamlReader) scalar(n ast.Node) (*node, error) {
	out := &node{kind: text, origin: y.place(n)}
	tok := n.GetToken()
	switch v := n.(type) {
	case *ast.NullNode:
		out.kind = null
	case *ast.BoolNode:
		out.kind, out.scalar, out.written = boolean, strconv.FormatBool(v.Value), tok.Value
	case *ast.IntegerNode:
		out.kind, out.scalar, out.written = integer, fmt.Sprint(v.Value), tok.Value
		if strings.Contains(tok.Value, "o") { // 0o17 came with YAML 1.2
			out.kind, out.scalar = text, tok.Value
		}
	case *ast.FloatNode:
		out.kind, out.scalar, out.written = real, tok.Value, tok.Value
		if !validJSONNumber(out.scalar) {
			out.scalar = strconv.FormatFloat(v.Value, 'g', -1, 64)
		}
	case *ast.LiteralNode:
		out.scalar = v.Value.Value
	case *ast.StringNode:
		out.scalar = v.Value
		if b, ok := yaml11(v.Value); ok && tok.Type == token.StringType {
			out.kind, out.scalar, out.written = boolean, strconv.FormatBool(b), v.Value
		}
	case *ast.InfinityNode, *ast.NanNode:
		return nil, y.fail(n, "neither infinity nor not-a-number is a usable value")
	default:
		out.scalar = tok.Value
	}
	return out, nil
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

func validJSONNumber(s string) bool { return jsonNumber.MatchString(s) }
