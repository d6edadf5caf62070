package probe

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// The example of RFC 7677 fixes the whole computation.
func TestVerifierKnownAnswer(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	got := verifier("pencil", salt, 4096)
	want := "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPrep(t *testing.T) {
	for in, want := range map[string]string{"plain": "plain", "a\u00a0b": "a b", "ﬁ": "fi", "x\u00ady": "xy"} {
		if got := prep(in); got != want {
			t.Errorf("prep(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestQuoting(t *testing.T) {
	if got := Literal(`a'b\c`); got != ` E'a''b\\c'` {
		t.Errorf("Literal: %s", got)
	}
	if got := Ident(`a"b`); got != `"a""b"` {
		t.Errorf("Ident: %s", got)
	}
}

func FuzzLSN(f *testing.F) {
	f.Add(`"0/5000148"`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, s string) {
		var l LSN
		_ = json.Unmarshal([]byte(s), &l)
	})
}

func FuzzLiteral(f *testing.F) {
	f.Add(`\'`)
	f.Fuzz(func(t *testing.T, s string) {
		body := strings.TrimPrefix(Literal(s), " E")
		body = body[1 : len(body)-1]
		if strings.Contains(strings.ReplaceAll(body, "''", ""), "'") {
			t.Errorf("%q leaves its quotes: %s", s, body)
		}
	})
}
