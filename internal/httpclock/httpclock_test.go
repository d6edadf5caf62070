package httpclock

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

type stopped struct{}

func (stopped) Now() boot.Instant { return 7 }
func (stopped) Wall() time.Time   { return time.Unix(3, 5) }

func TestEveryAnswerIsStamped(t *testing.T) {
	for name, answer := range map[string]func(*Writer){
		"a code":       func(w *Writer) { w.WriteHeader(404) },
		"a body alone": func(w *Writer) { _, _ = w.Write([]byte("x")) },
		"both":         func(w *Writer) { w.WriteHeader(201); _, _ = w.Write([]byte("x")) },
		"after an interim answer": func(w *Writer) {
			w.WriteHeader(103)
			w.Header().Del(Header)
			w.WriteHeader(200)
		},
	} {
		rec := httptest.NewRecorder()
		answer(&Writer{ResponseWriter: rec, Clock: stopped{}})
		wall, now, err := Parse(rec.Result().Header.Get(Header))
		if err != nil || now != 7 || !wall.Equal(time.Unix(3, 5)) {
			t.Errorf("%s: %v %v %v", name, wall, now, err)
		}
	}
}

func TestParseRefusesNonsense(t *testing.T) {
	for _, text := range []string{"", "1", "1 ", "1 2 3", "a b", "1.5 2"} {
		if _, _, err := Parse(text); err == nil {
			t.Errorf("%q passes for a stamp", text)
		}
	}
}
