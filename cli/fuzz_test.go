package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

// FuzzScheduledTime: what is sent to a member is a time with zone that the
// member reads as the same instant.
func FuzzScheduledTime(f *testing.F) {
	for _, s := range []string{"now", "2030-01-01T03:00", "2030-01-01 03:00:00.5+01", "2030-01-01T03:00Z", "soon", "", "0000-01-01T00:00-23:59"} {
		f.Add(s)
	}
	zone := time.FixedZone("here", 3600)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := scheduledTime(text, time.Now().In(zone))
		if err != nil || got == "" {
			return
		}
		asked, zoned, ok := api.ParseTime(got, time.UTC)
		meant, _, _ := api.ParseTime(text, zone)
		if !ok || !zoned || asked.Sub(meant).Abs() >= time.Second {
			t.Errorf("%q became %q", text, got)
		}
	})
}

// FuzzSetValue: KEY=VALUE is an error or sets what it says and nothing else.
func FuzzSetValue(f *testing.F) {
	for _, s := range []string{"ttl=20", "a.b.c=[1, {x: y}]", "postgresql.parameters.a.b=on", "a=null", "keep.x=1", "=", "a", "a.=1", "..=1", "a= 'x' ", "a=0x1f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		doc := pyjson.Object{{Key: "keep", Value: pyjson.Object{{Key: "inner", Value: "v"}}}, {Key: "ttl", Value: "30"}}
		out, err := setValue(doc, text)
		if kept, _ := doc.Get("ttl"); kept != "30" || len(doc) != 2 {
			t.Errorf("%q changed what it was given: %v", text, doc)
		}
		if err != nil {
			return
		}
		path, _, _ := strings.Cut(text, "=")
		top := splitPath(strings.TrimSpace(path))[0]
		for _, key := range []string{"keep", "ttl"} {
			was, _ := doc.Get(key)
			is, _ := out.Get(key)
			if key != top && !pyjson.Equal(was, is) {
				t.Errorf("%q changed %s: %v", text, key, is)
			}
		}
	})
}

// FuzzTable: every line of a table is as wide as the others, whatever it holds.
func FuzzTable(f *testing.F) {
	for _, s := range []string{"a", "日本\nx", "e\u0301", "\x1b[2J", "a\tb", "\xff\xfe", "👩‍👩‍👧"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, title, cell string) {
		text := table(" "+title+" ", []column{{title: "A"}, {title: "B", right: true}}, [][]string{{cell, "1"}, {"x", cell}}, false)
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		for i, l := range lines {
			if i == 0 && strings.Contains(title, "\n") {
				return
			}
			if displayWidth(l) != displayWidth(lines[len(lines)-1]) || strings.ContainsAny(l, "\x1b\t\r") {
				t.Errorf("line %d: %q", i, l)
			}
		}
	})
}
