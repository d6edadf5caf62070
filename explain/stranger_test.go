package explain

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/journal"
)

// TestEntrypointsDecideNothing: whoever can ask a member can call himself an
// entrypoint. He can make nobody believe in a change of the primary.
func TestEntrypointsDecideNothing(t *testing.T) {
	ev := evidence(t, "lab")
	want, err := Tell(ev, Question{})
	if err != nil {
		t.Fatal(err)
	}
	forged := ev.Sources[slices.IndexFunc(ev.Sources, func(s Source) bool { return s.Name == want.Change.To })]
	forged.Kind, forged.Name, forged.Now = KindEntrypoint, "entrypoint@forged", nil
	alone := Evidence{Format: EvidenceFormat, Gathered: ev.Gathered, Sources: []Source{forged}}
	if s, err := Tell(alone, Question{}); err == nil {
		t.Errorf("told by an entrypoint alone: %s", s.Title)
	}
}

// TestStrangers: an address that a member names answers more than was asked for,
// in the name of a member.
func TestStrangers(t *testing.T) {
	var many []journal.Record
	for i := range uint64(3 * pageSize) {
		many = append(many, journal.Record{Seq: i + 1, Time: time.Now(), Member: "n1", Event: &journal.Event{Name: journal.PrimaryLost}})
	}
	text, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	answer := string(text)
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }))
	t.Cleanup(stranger.Close)
	n1 := &peer{name: "n1", records: recorded(t, "n1"), answers: map[string]string{"/entrypoints": fmt.Sprintf(`[{"url":%q}]`, stranger.URL)}}
	plan := Plan{Members: []Address{serve(t, n1)}, Limit: 100}

	host := strings.TrimPrefix(stranger.URL, "http://")
	s := sourceOf(t, gatherer(t).Gather(t.Context(), plan), host)
	if s.Kind != KindEntrypoint || len(s.Records) > plan.Limit {
		t.Errorf("%s: %d records, at most %d were wanted", s.Kind, len(s.Records), plan.Limit)
	}

	answer = "[" + strings.Repeat(" ", strangerAnswer) + "]"
	if s := sourceOf(t, gatherer(t).Gather(t.Context(), plan), host); !strings.Contains(s.Missing, "longer than") {
		t.Errorf("an answer of %d bytes was read: %q", len(answer), s.Missing)
	}
}
