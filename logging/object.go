package logging

import "encoding/json"

// object is a JSON object in the making; its keys keep their order.
type object struct {
	text []byte
	keys map[string]bool
}

// add adds a value. A key that is taken gets an underscore: nothing is lost, and
// what the configuration named stays what it is.
func (o *object) add(key string, v any) {
	for o.keys[key] {
		key += "_"
	}
	o.keys[key] = true
	before := byte(',')
	if len(o.text) == 0 {
		before = '{'
	}
	o.text = append(o.text, before)
	o.text = append(append(o.text, encode(key)...), ':')
	o.text = append(o.text, encode(v)...)
}

// encode cannot fail: it is given texts, finite numbers and truth values.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	return b
}
