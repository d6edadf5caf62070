package api_test

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
	"github.com/matriarch-ha/matriarch/journal"
)

func restDoc(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/rest-api.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTheTableOfPathsIsTrue: the documentation lists the paths that the server
// has, and no other.
func TestTheTableOfPathsIsTrue(t *testing.T) {
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| ([A-Z]+) \\| `/([a-z]+)`").FindAllStringSubmatch(restDoc(t), -1) {
		documented = append(documented, row[1]+" "+row[2])
	}
	slices.Sort(documented)
	s := mustServer(t, one("n1", nil), func(o *api.Options) { o.UI = http.NotFoundHandler() })
	if have := s.Routes(); !slices.Equal(documented, have) {
		t.Errorf("documented %v\nserved     %v", documented, have)
	}
}

// TestEveryChangeIsChecked: whatever the server has beside reading, and whatever
// it may get, is refused without the password, and the list of changes that the
// other tests use is complete.
func TestEveryChangeIsChecked(t *testing.T) {
	s := mustServer(t, one("n1", nil), with(api.Policy{Username: "a", Password: "b"}))
	for _, route := range s.Routes() {
		method, path, _ := strings.Cut(route, " ")
		got := ask(s, method, "/"+path, "{}")
		if method == "GET" {
			if got.Code == 401 {
				t.Errorf("%s wants a password", route)
			}
			continue
		}
		if got.Code != 401 {
			t.Errorf("%s without a password: %d", route, got.Code)
		}
		listed := slices.ContainsFunc(unsafe, func(u struct{ method, path, body string }) bool { return u.method == method && u.path == "/"+path })
		if !listed {
			t.Errorf("%s is missing in the tests of refusals", route)
		}
	}
}

// TestEveryCodeIsDocumented: a path answers no other codes than its row says, to
// any of these questions.
func TestEveryCodeIsDocumented(t *testing.T) {
	rows := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| ([A-Z]+) \\| `/([a-z]+)` \\|[^|]*\\|([^|]*)\\|").FindAllStringSubmatch(restDoc(t), -1) {
		rows[row[1]+" "+row[2]] = row[3]
	}
	for route, answers := range rows {
		method, path, _ := strings.Cut(route, " ")
		for _, body := range []string{"", "{", "{}", `{"a":"` + strings.Repeat("x", 300<<10) + `"}`, `{"schedule":"x"}`, `{"schedule":"2027-01-01T00:00Z"}`,
			`{"leader":"n1"}`, `{"leader":"n2","scheduled_at":"2027-01-01T00:00Z"}`, `{"leader":"n2","scheduled_at":"x"}`, `{"role":"x"}`, `{"ttl":20}`} {
			for _, storeDown := range []bool{false, true} {
				m := one("n1", nil)
				m.C.SetDown(storeDown)
				s := mustServer(t, m, func(o *api.Options) { o.UI = http.NotFoundHandler() })
				if path == "ui" {
					continue
				}
				got := ask(s, method, "/"+path, body)
				// A body that is too large is refused wherever one is read.
				if !strings.Contains(answers, strconv.Itoa(got.Code)) && got.Code != 413 {
					t.Errorf("%s with %.30q, store down %t: %d; documented:%s", route, body, storeDown, got.Code, answers)
				}
			}
		}
	}
}

// TestTheTableOfMetricsIsTrue: our families are documented with their type.
func TestTheTableOfMetricsIsTrue(t *testing.T) {
	doc := restDoc(t)
	for _, member := range []string{"n1", "n2"} {
		m := one(member, func(s *api.Status) { s.Server.ReplayedAt = s.StoreSeen })
		text := ask(mustServer(t, m, nil), "GET", "/metrics", "").Body.String()
		for _, family := range regexp.MustCompile(`(?m)^# TYPE (matriarch_\w+) (\w+)$`).FindAllStringSubmatch(text, -1) {
			if !strings.Contains(doc, "| `"+family[1]+"` | "+family[2]+" |") {
				t.Errorf("%s (%s) is not documented", family[1], family[2])
			}
		}
	}
}

// TestJournalEncodedPieceByPiece: the pieces make the same text as the whole.
func TestJournalEncodedPieceByPiece(t *testing.T) {
	j, err := journal.Open(journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		j.Append(journal.OfEvent(time.Unix(1, 0), "n1", "e", "ä <&>"))
	}
	records, err := j.Since(journal.Query{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := pyjson.Marshal(records)
	if err != nil {
		t.Fatal(err)
	}
	got := ask(mustServer(t, one("n1", nil), func(o *api.Options) { o.Journal = j }), "GET", "/journal", "")
	if got.Body.String() != string(want) {
		t.Errorf("%s\nwant %s", got.Body, want)
	}
}
