package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
)

// tells makes a member answer for its journal: one record from before, and those
// of a reinitialization, once that was asked for.
func (w *world) tells(name string, replies ...ha.Action) {
	w.fake(name+" GET /journal", func(rw http.ResponseWriter, r *http.Request) {
		records := []journal.Record{{Seq: 7, Time: time.Unix(0, 0), Member: name, Why: "long ago"}}
		w.mu.Lock()
		asked := len(w.seen) > 0
		w.mu.Unlock()
		if since := r.URL.Query().Get("since"); since != "" {
			records = nil
			for i, a := range replies {
				if asked && since == "7" {
					records = append(records, journal.Record{Seq: uint64(8 + i), Member: name, Turn: &journal.Turn{Actions: []ha.Action{a}}})
				}
			}
		}
		_ = json.NewEncoder(rw).Encode(records)
	})
}

// TestReinitWaitBelievesTheJournal: a copy that failed leaves the old data, whose
// server is started again and looks like a new one.
func TestReinitWaitBelievesTheJournal(t *testing.T) {
	reply := func(o ha.Outcome, why string) ha.Action {
		return ha.Action{Kind: ha.Reply, Request: 3, Outcome: o, Why: why}
	}
	begun := reply(ha.Done, ha.ReinitStarted)
	for _, k := range []struct {
		name, text string
		code       int
		replies    []ha.Action
	}{
		{"copied", "Reinitialize is completed on: n2", 0, []ha.Action{begun, reply(ha.Done, "reinitialized: the data are copied")}},
		{"failed", "Failed: member n2: reinitialize failed, the data are as they were: no space", 1,
			[]ha.Action{begun, reply(ha.Failed, "reinitialize failed, the data are as they were: no space")}},
		{"killed", "Failed: member n2: its agent was started anew before the copy had ended", 1, []ha.Action{begun}},
		{"another's", "Failed: member n2: its agent was started anew", 1,
			[]ha.Action{begun, {Kind: ha.Reply, Request: 4, Outcome: ha.Done, Why: "restarted successfully"}}},
	} {
		t.Run(k.name, func(t *testing.T) {
			w := newWorld(t, demo())
			w.copied("n2", 4)
			w.tells("n2", k.replies...)
			r := w.run("", "reinit", "lab", "n2", "--force", "--wait")
			r.contains(t, k.code, k.text)
			if k.code != 0 && strings.Contains(r.out, "completed") {
				t.Errorf("said to be completed:\n%s", r.out)
			}
		})
	}
}
