package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestParseInt(t *testing.T) {
	for _, c := range []struct {
		s, base string
		want    int64
	}{
		{"10", "", 10}, {" 10 ", "s", 10}, {"-5", "", -5}, {"+5", "", 5}, {"010", "", 8}, {"0x1F", "", 31}, {"-0x10", "", -16}, {"0", "", 0},
		{"30s", "s", 30}, {"2 min", "s", 120}, {"1h", "s", 3600}, {"1d", "s", 86400}, {"500ms", "s", 0}, {"1500ms", "s", 2}, {"2500ms", "s", 2},
		{"1.5", "", 2}, {"2.5", "", 2}, {"0.5min", "s", 30}, {"1e3", "", 1000}, {"1us", "ms", 0},
		{"16MB", "B", 16 << 20}, {"1GB", "MB", 1024}, {"1TB", "kB", 1 << 30}, {"24kB", "8kB", 3}, {"64MB", "16MB", 4}, {"0x10kB", "B", 16 << 10},
	} {
		if got, err := ParseInt(c.s, c.base); err != nil || got != c.want {
			t.Errorf("ParseInt(%q, %q) = %d, %v; want %d", c.s, c.base, got, err, c.want)
		}
	}
	for _, c := range [][2]string{{"", ""}, {"abc", ""}, {"10kB", ""}, {"10kB", "s"}, {"10s", "B"}, {"10 parsecs", "s"}, {"08", ""}, {"0x", ""},
		{"--1", ""}, {"1e999999", ""}, {"99999999999999999999", ""}, {"1 8kB", "B"}, {"10mb", "B"}, {"1_000", ""}, {"1/2", ""}, {"Inf", ""}, {"1:30", "s"}} {
		if got, err := ParseInt(c[0], c[1]); err == nil {
			t.Errorf("ParseInt(%q, %q) = %d", c[0], c[1], got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{"5": 5 * time.Second, "1.5": 1500 * time.Millisecond, "250ms": 250 * time.Millisecond, "1d": 24 * time.Hour, "7us": 7 * time.Microsecond} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %s, %v", s, got, err)
		}
	}
	if got, err := ParseDuration("1000000d"); err == nil {
		t.Error(got)
	}
}

func TestParseBool(t *testing.T) {
	for s, want := range map[string]bool{"on": true, "TRUE": true, "yes": true, "1": true, "off": false, "False": false, "no": false, "0": false} {
		if got, err := ParseBool(s); err != nil || got != want {
			t.Error(s, got, err)
		}
	}
	if _, err := ParseBool("enabled"); err == nil {
		t.Error("enabled is no boolean")
	}
}

func TestSecretNeverShows(t *testing.T) {
	type holder struct {
		P Secret
		Q *Secret
	}
	s := Secret("hidden-one")
	h := holder{s, &s}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "holder", h)
	j, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%s %v %+v %#v %q %x %s %s", s, h, h, h, s, s, log.String(), j)
	noSecret(t, all)
	if strings.Contains(all, fmt.Sprintf("%x", "hidden-one")) || !strings.Contains(all, masked) {
		t.Error(all)
	}
	if s.Reveal() != "hidden-one" || Secret("").String() != "" {
		t.Error("Reveal or empty")
	}
}

func TestNearest(t *testing.T) {
	known := []string{"loop_wait", "ttl", "retry_timeout", "listen", "listen_peer"}
	for word, want := range map[string]string{"lop_wait": "loop_wait", "loopwait": "loop_wait", "Listen": "listen", "lsiten": "listen",
		"tll": "ttl", "retry_time": "retry_timeout", "completely_else": "", "x": ""} {
		if got := nearest(word, known); got != want {
			t.Errorf("nearest(%s) = %q, want %q", word, got, want)
		}
	}
}

func TestYAMLWords(t *testing.T) {
	n, err := parseYAML("t", []byte("a: off\nb: 'off'\nc: 010\nd: 0o17\ne: Yes\nf: !!str 12\ng: 1.50\nbase: &b {x: 1, y: on}\nh:\n  <<: *b\n  x: 2\ni: 30s\nj: .5\nk: 1e3\nl: ~\nm: |\n  two\n  lines\nn: 12345678901234567890123\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"a":false,"b":"off","c":8,"d":"0o17","e":true,"f":"12","g":1.50,"base":{"x":1,"y":true},"h":{"x":2,"y":true},"i":"30s",` +
		`"j":0.5,"k":"1e3","l":null,"m":"two\nlines\n","n":"12345678901234567890123"}`
	if got := n.json(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	again, err := parseYAML("t", []byte(Tree{n}.YAML(true)))
	if err != nil || !equal(n, again) {
		t.Errorf("%v\n%s", err, Tree{n}.YAML(true))
	}
}

// Where the YAML library reads something else than people mean.
func TestYAMLCorners(t *testing.T) {
	for text, want := range map[string]string{
		"etcd3: {hosts: [h1:2379, h2:2379]}":             `{"etcd3":{"hosts":["h1:2379","h2:2379"]}}`,
		"a: {b: [{c: 1}, e: 3, 'x':4, fd00::1:2379]}":    `{"a":{"b":[{"c":1},{"e":3},{"x":4},"fd00::1:2379"]}}`,
		"\ufeffa: 1\r\nb:\r\n- c\r\n":                    `{"a":1,"b":["c"]}`,
		"initdb:\n- encoding: UTF8\n- data-checksums\n":  `{"initdb":[{"encoding":"UTF8"},"data-checksums"]}`,
		"a: test ! -f /a/%f && cp %p /a/%f\nk: a#b #c\n": `{"a":"test ! -f /a/%f && cp %p /a/%f","k":"a#b"}`,
		"a: y\nb: N\nc: ''\nd: >-\n  x\n  y\n":           `{"a":"y","b":"N","c":"","d":"x y"}`,
		"host: ::1\nt: 12:30\nv: 08\nw: 2024-01-01\n":    `{"host":"::1","t":"12:30","v":"08","w":"2024-01-01"}`,
		"x: &a {k: v}\nz:\n  <<: [*a, {m: 1}]\n  k: w\n": `{"x":{"k":"v"},"z":{"k":"w","m":1}}`,
	} {
		n, err := parseYAML("t", []byte(text))
		if err != nil || n.json() != want {
			t.Errorf("%q: %v, %v", text, n, err)
		}
	}
}

// However broken the line with the password is, the message does not show it.
func TestSyntaxErrorsKeepSecrets(t *testing.T) {
	for _, text := range []string{
		"password: [hidden-one\nx: y", "password: \"x\" hidden-one\n", "a:\n  password: hidden-one\n b: c\n", "password: hidden-one\n  x: y\n",
		"password: @hidden-one\n", "password: `hidden-one\n", "password: %hidden-one\n", "password: {hidden-one\n", "password: 'hidden-one\n",
		"password: *hidden-one\n", "password: &hidden-one\n", "a: b\n\tpassword: hidden-one\n", "a: |x hidden-one\n  y\n", "password: \"\\hidden-one\"\n",
	} {
		_, _, err := Load("", []string{"MATRIARCH_CONFIGURATION=" + text})
		if err == nil {
			t.Errorf("%q is accepted", text)
			continue
		}
		noSecret(t, err.Error())
		if !regexp.MustCompile(`env MATRIARCH_CONFIGURATION:[0-9]+:[0-9]+: `).MatchString(err.Error()) {
			t.Errorf("%q: no line and column in %v", text, err)
		}
	}
}

// What is wrong is said in full, but for what stands there.
func TestSyntaxErrorsSayWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"a: b\n\tc: d\n":      "f:2:1: a tab stands where a value or an indentation begins; use spaces",
		"a:\n\tb: c\n":        "f:2:1: a tab stands where a value or an indentation begins; use spaces",
		"a: @b\n":             "f:1:4: a value must not begin with @ or ` unless it is quoted",
		"a: `b\n":             "f:1:4: a value must not begin with @ or ` unless it is quoted",
		"a: \"\\q\"\n":        "f:1:6: unknown escape after a backslash in double-quoted text; write \\\\ for a backslash, or use single quotes",
		"a: \"\\[\"\n":        "f:1:6: unknown escape after a backslash in double-quoted text; write \\\\ for a backslash, or use single quotes",
		"a: [b\nc: d\n":       "f:2:1: ',' or ']' must be specified",
		"a: {b: c\n":          "f:1:4: could not find flow mapping end token '}'",
		"a: b]\nc: ]\n":       "f:2:4: could not find '[' character corresponding to ']'",
		"a: \"b\n":            "f:1:4: could not find end character of double-quoted text",
		"a: 1\na: 2\n":        `f:2:1: mapping key "a" already defined at [1:1]`,
		"a: ü\nbü: \xff\n":    "f:2:5: this is no text in UTF-8: a binary file, or another encoding",
		"\x7fELF\x02\x00\x00": "f:1:6: this is no text in UTF-8: a binary file, or another encoding",
	} {
		if _, err := parseYAML("f", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
	// A message that nobody foresaw may repeat anything.
	if got := reasonOf(`what is "hidden-one" and '[' for`); strings.Contains(got, "hidden") {
		t.Error(got)
	}
}
