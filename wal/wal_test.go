package wal

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestLSN(t *testing.T) {
	for text, want := range map[string]LSN{
		"0/0": 0, "0/5000148": 0x5000148, "1/0": 1 << 32, "FFFFFFFF/FFFFFFFF": 1<<64 - 1, "0/a": 10, "00/0A": 10,
	} {
		got, err := ParseLSN(text)
		if err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "/", "0", "0/", "/0", "0/0/0", "G/0", "0/100000000", "100000000/0", "-1/0", "0/+1", " 0/1", "0x1/0", "0/1_0"} {
		if got, err := ParseLSN(text); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	if got := LSN(0x1_0000_00AB).String(); got != "1/AB" {
		t.Error(got)
	}
}

func TestSub(t *testing.T) {
	for _, c := range []struct {
		a, b LSN
		want uint64
	}{{5, 3, 2}, {3, 5, 0}, {3, 3, 0}, {1<<64 - 1, 0, 1<<64 - 1}} {
		if got := c.a.Sub(c.b); got != c.want {
			t.Errorf("%s - %s: %d", c.a, c.b, got)
		}
	}
}

func TestPosition(t *testing.T) {
	for _, c := range []struct {
		p     Position
		known bool
		text  string
	}{
		{Position{}, false, "0/0@0"},
		{Position{Timeline: 1}, false, "0/0@1"},
		{Position{LSN: 1}, false, "0/1@0"},
		{Position{2, 0x3000000}, true, "0/3000000@2"},
	} {
		if c.p.Known() != c.known || c.p.String() != c.text {
			t.Errorf("%s: known %t", c.p, c.p.Known())
		}
	}
	if got := Timeline(0x1F).FileName(); got != "0000001F.history" {
		t.Error(got)
	}
	text, _ := json.Marshal(Position{2, 0x3000000})
	var back Position
	if err := json.Unmarshal(text, &back); err != nil || back != (Position{2, 0x3000000}) {
		t.Errorf("%s: %v, %v", text, back, err)
	}
}

func TestParseHistory(t *testing.T) {
	// As PostgreSQL writes it.
	text := "1\t0/3000000\tno recovery target specified\n\n# a comment\n2\t0/5000148\tbefore 2030-01-01 00:00:00+00\n"
	want := History{{1, 0x3000000, "no recovery target specified"}, {2, 0x5000148, "before 2030-01-01 00:00:00+00"}}
	if got, err := ParseHistory(text); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "\n", "# nothing", "  \t\r\n"} {
		if got, err := ParseHistory(text); err != nil || got != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for text, where := range map[string]string{
		"1":                      "line 1",
		"1\t0/1\n1\t0/2":         "line 2",
		"2\t0/1\n1\t0/2":         "line 2",
		"\n0\t0/1":               "line 2",
		"x\t0/1":                 "line 1",
		"1\tx":                   "line 1",
		"4294967296\t0/1":        "line 1",
		"-1\t0/1":                "line 1",
		"1\t0/1\treason\n2 oops": "line 2",
	} {
		if got, err := ParseHistory(text); err == nil || !strings.Contains(err.Error(), where) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestPlace(t *testing.T) {
	h := History{{Timeline: 1, LSN: 100}, {Timeline: 3, LSN: 200}} // the ancestors of 5
	for _, c := range []struct {
		p    Position
		t    Timeline
		want Place
	}{
		{Position{}, 5, Unknown},
		{Position{1, 0}, 5, Unknown},
		{Position{0, 50}, 5, Unknown},
		{Position{5, 50}, 0, Unknown},
		{Position{5, 1}, 5, Same},
		{Position{5, 999}, 5, Same},
		{Position{1, 99}, 5, Ancestor},
		{Position{1, 100}, 5, Ancestor},
		{Position{1, 101}, 5, Diverged},
		{Position{3, 200}, 5, Ancestor},
		{Position{3, 201}, 5, Diverged},
		{Position{2, 50}, 5, Diverged},
		{Position{4, 50}, 5, Diverged},
		{Position{6, 50}, 5, Diverged},
	} {
		if got := h.Place(c.p, c.t); got != c.want {
			t.Errorf("%s to %d: %s, want %s", c.p, c.t, got, c.want)
		}
	}
	if at, ok := h.SwitchOf(3); at != 200 || !ok {
		t.Error(at, ok)
	}
	if _, ok := h.SwitchOf(5); ok {
		t.Error("a timeline is no ancestor of itself")
	}
}

func FuzzParseLSN(f *testing.F) {
	for _, s := range []string{"0/0", "0/5000148", "FFFFFFFF/FFFFFFFF", "x", "0/0/0", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLSN(s)
		if err != nil {
			return
		}
		if back, err := ParseLSN(l.String()); err != nil || back != l {
			t.Errorf("%q: %s: %s, %v", s, l, back, err)
		}
	})
}

// FuzzHistory: what is read is what a line of descent must be, and a place in
// it never contradicts the switch points.
func FuzzHistory(f *testing.F) {
	f.Add("1\t0/3000000\tx\n2\t0/5000148\ty\n", uint32(1), uint64(0x3000000), uint32(3))
	f.Add("# c\n\n", uint32(1), uint64(1), uint32(1))
	f.Add("1 0/1", uint32(0), uint64(0), uint32(0))
	f.Fuzz(func(t *testing.T, text string, tl uint32, at uint64, of uint32) {
		h, err := ParseHistory(text)
		if err != nil {
			return
		}
		for i, s := range h {
			if s.Timeline == 0 || i > 0 && s.Timeline <= h[i-1].Timeline {
				t.Fatalf("timelines do not grow: %v", h)
			}
		}
		p := Position{Timeline(tl), LSN(at)}
		place := h.Place(p, Timeline(of))
		if place.String() == "" {
			t.Fatal("a place without a name")
		}
		end, ancestor := h.SwitchOf(p.Timeline)
		switch {
		case (place == Unknown) != (!p.Known() || of == 0):
			t.Fatalf("%s to %d: %s", p, of, place)
		case place == Same && tl != of:
			t.Fatalf("%s to %d: %s", p, of, place)
		case place == Ancestor && (!ancestor || p.LSN > end):
			t.Fatalf("%s in %v: %s", p, h, place)
		case place == Diverged && ancestor && p.LSN <= end:
			t.Fatalf("%s in %v: %s", p, h, place)
		}
	})
}
