package explain

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/journal"
)

// peer answers as a member or an entrypoint does, from recorded records.
type peer struct {
	name    string
	records []journal.Record
	ahead   time.Duration // of its clock
	header  bool          // it tells both clocks
	answers map[string]string
	pages   atomic.Int64
	auth    atomic.Bool // somebody sent a password
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, _, ok := r.BasicAuth(); ok {
		p.auth.Store(true)
	}
	if p.header {
		now := time.Now()
		w.Header().Set("Matriarch-Clock", fmt.Sprintf("%d %d", now.Add(p.ahead).UnixNano(), now.UnixNano()-1_700_000_000_000_000_000))
	}
	if text, ok := p.answers[r.URL.Path]; ok {
		fmt.Fprint(w, text)
		return
	}
	switch r.URL.Path {
	case "/patroni":
		fmt.Fprintf(w, `{"state":"running","role":"replica","timeline":7,"replication_state":"streaming","patroni":{"name":%q},"matriarch":{"version":"0.1.0","eligible":true}}`, p.name)
	case "/lease":
		fmt.Fprint(w, `{"lease_remaining_ms":0}`)
	case "/journal":
		p.pages.Add(1)
		p.journal(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (p *peer) journal(w http.ResponseWriter, r *http.Request) {
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	out := p.records
	if since := r.URL.Query().Get("since"); since != "" {
		after, _ := strconv.ParseUint(since, 10, 64)
		i := slices.IndexFunc(out, func(r journal.Record) bool { return r.Seq > after })
		out = out[max(0, i):]
		out = out[:min(limit, len(out))]
	} else {
		out = out[max(0, len(out)-limit):]
	}
	json.NewEncoder(w).Encode(out)
}

func serve(t *testing.T, p *peer) Address {
	t.Helper()
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	return Address{Name: p.name, Base: s.URL}
}

func gatherer(t *testing.T) *Gatherer {
	t.Helper()
	c, err := client.New(client.Options{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &Gatherer{Client: c, Now: time.Now}
}

// recorded are the records of one member of the lab.
func recorded(t *testing.T, name string) []journal.Record {
	t.Helper()
	for _, s := range evidence(t, "lab").Sources {
		if s.Name == name {
			return s.Records
		}
	}
	t.Fatal("no such member")
	return nil
}

func sourceOf(t *testing.T, ev Evidence, name string) Source {
	t.Helper()
	i := slices.IndexFunc(ev.Sources, func(s Source) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("%s is not among the sources", name)
	}
	return ev.Sources[i]
}

// TestGather: clocks are measured, entrypoints found, members asked that only the
// records remember, and whatever is missing said with its reason.
func TestGather(t *testing.T) {
	entry := &peer{name: "entrypoint@gw:5000", header: true, ahead: time.Minute, records: []journal.Record{
		{Seq: 1, Time: time.Now(), Member: "entrypoint@gw:5000", Event: &journal.Event{Name: journal.EntrypointStarted}}}}
	point := serve(t, entry).Base
	n1 := &peer{name: "n1", header: true, ahead: 90 * time.Second, records: recorded(t, "n1"), answers: map[string]string{
		"/entrypoints": fmt.Sprintf(`[{"url":%q,"seen":"2026-11-26T04:00:00Z"},{"url":%q},{"url":"file:///etc/passwd"},{"url":"::"}]`, point, point+"/"),
		"/history":     `[[6,67111432,"no recovery target specified","2026-11-26T04:38:52.134371+00:00","n2"],["x"],[]]`,
		"/cluster":     `{"scope":"demo","members":[{"name":"n2","role":"leader"}]}`}}
	n2 := &peer{name: "n2", records: recorded(t, "n2")} // an older release: only a Date
	other := &peer{name: "n9", records: recorded(t, "n3")}
	plan := Plan{Members: []Address{serve(t, n1), serve(t, n2), {Name: "pg4", Base: serve(t, other).Base}, {Name: "pg5"}}, Deep: true}
	g := gatherer(t)
	ev := g.Gather(context.Background(), plan)

	s := sourceOf(t, ev, "n1")
	if len(s.Records) != len(n1.records) || s.Missing+s.Incomplete != "" {
		t.Errorf("n1: %d of %d records, missing %q, incomplete %q", len(s.Records), len(n1.records), s.Missing, s.Incomplete)
	}
	if c := s.Clock; !c.Known || c.Boot == 0 || abs(c.Offset-90*time.Second) > c.Error {
		t.Errorf("n1's clock: %+v", c)
	}
	if c := sourceOf(t, ev, "n2").Clock; !c.Known || c.Boot != 0 || abs(c.Offset) > c.Error || c.Error < 500*time.Millisecond {
		t.Errorf("n2's clock: %+v", c)
	}
	if s := sourceOf(t, ev, "entrypoint@gw:5000"); s.Kind != KindEntrypoint || len(s.Records) != 1 || abs(s.Clock.Offset-time.Minute) > s.Clock.Error {
		t.Errorf("the entrypoint: %+v", s)
	}
	for name, why := range map[string]string{
		"n3":  "connection refused", // remembered by the records of n1 and n2
		"pg4": `answers "n9" now`,
		"pg5": "no address",
	} {
		if s := sourceOf(t, ev, name); !strings.Contains(s.Missing, why) {
			t.Errorf("%s is missing because %q, want %q", name, s.Missing, why)
		}
	}
	if len(ev.Sources) != 6 || ev.Scope != "demo" || ev.Leader != "n2" || len(ev.History) != 1 || ev.History[0].NewLeader != "n2" {
		t.Errorf("%d sources, scope %q, leader %q, history %+v", len(ev.Sources), ev.Scope, ev.Leader, ev.History)
	}
	var b bytes.Buffer
	if err := ev.Save(&b); err != nil {
		t.Fatal(err)
	}
	back, err := Load(&b)
	if err != nil {
		t.Fatal(err)
	}
	a, err1 := Tell(ev, Question{})
	again, err2 := Tell(back, Question{})
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	var x, y bytes.Buffer
	if a.JSON(&x) != nil || again.JSON(&y) != nil || x.String() != y.String() {
		t.Error("saved evidence tells another story")
	}
}

// A long journal is read backwards, and only as far as is needed.
func TestGatherReadsAsFarAsNeeded(t *testing.T) {
	all := recorded(t, "n1")
	last := all[len(all)-1].Seq
	for range 3000 { // much that tells nothing came after
		last++
		all = append(all, journal.Record{Seq: last, Time: all[len(all)-1].Time, Member: "n1", Event: &journal.Event{Name: "keep-slots"}})
	}
	p := &peer{name: "n1", header: true, records: all}
	at := serve(t, p)
	ev := gatherer(t).Gather(context.Background(), Plan{Members: []Address{at}})
	s := sourceOf(t, ev, "n1")
	if n := len(s.Records); n < 3000 || n > len(all) || s.Records[0].Seq > 30 {
		t.Errorf("%d records from number %d", n, s.Records[0].Seq)
	}
	if !slices.IsSortedFunc(s.Records, func(a, b journal.Record) int { return int(int64(a.Seq) - int64(b.Seq)) }) {
		t.Error("out of order")
	}
	p.pages.Store(0)
	ev = gatherer(t).Gather(context.Background(), Plan{Members: []Address{at}, Limit: 700})
	if n := len(sourceOf(t, ev, "n1").Records); n != 700 || p.pages.Load() != 3 {
		t.Errorf("%d records in %d pages, the limit is 700 in 3", n, p.pages.Load())
	}
}

// A page with records that cannot be understood gives the others.
func TestGatherBadRecords(t *testing.T) {
	p := &peer{name: "n1", answers: map[string]string{"/journal": `[{"seq":1,"time":"2026-11-26T04:00:00Z","member":"n1"},{"seq":"x"},7,{"seq":3,"time":"2026-11-26T04:00:00Z"}]`}}
	ev := gatherer(t).Gather(context.Background(), Plan{Members: []Address{serve(t, p)}})
	if s := sourceOf(t, ev, "n1"); len(s.Records) != 2 || s.Unreadable != 2 {
		t.Errorf("%d records, %d unreadable", len(s.Records), s.Unreadable)
	}
	for name, text := range map[string]string{"no list": `{}`, "no JSON": `<html>`, "cut": `[{"seq":1`} {
		p := &peer{name: "n1", answers: map[string]string{"/journal": text}}
		ev := gatherer(t).Gather(context.Background(), Plan{Members: []Address{serve(t, p)}})
		if s := sourceOf(t, ev, "n1"); s.Missing == "" || len(s.Records) != 0 {
			t.Errorf("%s: %d records, missing %q", name, len(s.Records), s.Missing)
		}
	}
	p = &peer{name: "n1", answers: map[string]string{
		"/patroni": `{"state":"running","role":"replica","patroni":{"name":"n1","version":"4.0.4"}}`, "/journal": `no`}}
	ev = gatherer(t).Gather(context.Background(), Plan{Members: []Address{serve(t, p)}})
	if s := sourceOf(t, ev, "n1"); !strings.Contains(s.Missing, "another program") || s.Now == nil {
		t.Errorf("a member of another program: %+v", s)
	}
}

// The journal of a dead member is read from its disk.
func TestJournalFromDisk(t *testing.T) {
	dir := t.TempDir()
	var b bytes.Buffer
	for _, r := range recorded(t, "n1") {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(text, '\n'))
	}
	b.WriteString(`{"seq":9999,"cut`)
	if err := os.WriteFile(filepath.Join(dir, "journal-00000000000000000001.jsonl"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	n2 := &peer{name: "n2", header: true, records: recorded(t, "n2")}
	ev := gatherer(t).Gather(context.Background(), Plan{Members: []Address{serve(t, n2)}, Deep: true, Journals: []string{dir, "n3=" + t.TempDir(), "/nowhere"}})
	s := sourceOf(t, ev, "n1")
	if len(s.Records) != len(recorded(t, "n1")) || !strings.Contains(s.Incomplete, dir) {
		t.Errorf("%d records, %q", len(s.Records), s.Incomplete)
	}
	if s := sourceOf(t, ev, "n3"); !strings.Contains(s.Missing, "holds no journal") {
		t.Errorf("n3: %q", s.Missing)
	}
	story, err := Tell(ev, Question{Timeline: 4})
	if err != nil || story.Cause != CauseKilled {
		t.Errorf("%v, %v", story.Cause, err)
	}
	offline := FromDisk(Plan{Journals: []string{dir}}, time.Date(2026, 11, 26, 5, 0, 0, 0, time.UTC))
	if _, err := Tell(offline, Question{}); err != nil {
		t.Error(err)
	}
}
