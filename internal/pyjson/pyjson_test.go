package pyjson

import (
	"encoding/json"
	"testing"
)

func TestReformat(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"b":1,"a":[true,null,{}],"c":[]}`, `{"b": 1, "a": [true, null, {}], "c": []}`},
		{`"é\u007f😀<&>\/\n\""`, `"\u00e9\u007f\ud83d\ude00<&>/\n\""`},
		{`1.50e3`, `1.50e3`},
		{`{"a":1,"b":2,"a":3}`, `{"a": 3, "b": 2}`},
	} {
		got, err := Reformat([]byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, want %s (%v)", c.in, got, c.want, err)
		}
	}
	for _, bad := range []string{"", "{", "[1", `{"a"}`, "1 2", "nul", "[1,]"} {
		if got, err := Reformat([]byte(bad)); err == nil {
			t.Errorf("%q: read as %s", bad, got)
		}
	}
}

func object(t *testing.T, text string) Object {
	t.Helper()
	v, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v.(Object)
}

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		doc, patch, want string
		changed          bool
	}{
		{`{"a":1,"b":{"c":2,"d":3}}`, `{"b":{"c":null,"e":4}}`, `{"a": 1, "b": {"d": 3, "e": 4}}`, true},
		{`{"a":1}`, `{"a":"1"}`, `{"a": 1}`, false},
		{`{"a":"true"}`, `{"a":true}`, `{"a": true}`, true},
		{`{"a":1}`, `{"b":null}`, `{"a": 1}`, false},
		{`{"a":{"b":1}}`, `{"a":2}`, `{"a": 2}`, true},
		{`{"a":1}`, `{"a":{"b":null,"c":1}}`, `{"a": {"c": 1}}`, true},
		{`{"a":[1]}`, `{"a":[1]}`, `{"a": [1]}`, false},
		{`{"a":{"b":{"c":1}}}`, `{"a":{"b":{}}}`, `{"a": {"b": {"c": 1}}}`, false},
	} {
		doc := object(t, c.doc)
		got, changed := Merge(doc, object(t, c.patch))
		text, err := got.MarshalJSON()
		if err != nil || string(text) != c.want || changed != c.changed {
			t.Errorf("%s + %s = %s, changed %v, want %s, %v (%v)", c.doc, c.patch, text, changed, c.want, c.changed, err)
		}
		if !Equal(doc, object(t, c.doc)) {
			t.Errorf("%s was changed by the merge", c.doc)
		}
	}
}

func TestEqual(t *testing.T) {
	a, b := object(t, `{"a":[1,{"b":2}],"c":null}`), object(t, `{"c":null,"a":[1,{"b":2}]}`)
	if !Equal(a, b) || Equal(a, object(t, `{"a":[1,{"b":3}],"c":null}`)) || Equal(a, nil) || Equal("x", []any{}) || Equal(a, Object{}) {
		t.Error("Equal")
	}
}

func FuzzReformat(f *testing.F) {
	f.Add(`{"a":[1,"x",{"b":null}]}`)
	f.Add(`"\ud800"`)
	f.Fuzz(func(t *testing.T, text string) {
		out, err := Reformat([]byte(text))
		if err != nil {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%q became %q", text, out)
		}
		again, err := Reformat(out)
		if err != nil || string(again) != string(out) {
			t.Errorf("%q, then %q (%v)", out, again, err)
		}
	})
}
