package explain

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
)

// hostileValues are what a broken or hostile journal may hold.
func hostileValues() []any {
	return []any{nil, true, "", -1, 0, 1, uint64(1) << 63, int64(-1) << 62, 1e18, []any{}, map[string]any{},
		"<script>alert(1)</script>", "\x1b[2J\x1b[31m", "\u202e\u0000", strings.Repeat("long ", 400), "n1", "n2",
		"2999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "promote", "race", []any{nil}, "\"><img src=x onerror=alert(1)>"}
}

// spoil replaces one leaf, or one whole branch, of a JSON document.
func spoil(doc any, r *rand.Rand) any {
	all := hostileValues()
	if r.IntN(12) == 0 {
		return all[r.IntN(len(all))]
	}
	switch v := doc.(type) {
	case map[string]any:
		if keys := slices.Sorted(maps.Keys(v)); len(keys) > 0 {
			k := keys[r.IntN(len(keys))]
			v[k] = spoil(v[k], r)
		}
		return v
	case []any:
		if len(v) > 0 {
			i := r.IntN(len(v))
			v[i] = spoil(v[i], r)
		}
		return v
	}
	return all[r.IntN(len(all))]
}

// exercise does all that can be done with evidence, and checks what is shown.
func exercise(t testing.TB, ev Evidence) {
	t.Helper()
	var tellings []any
	for _, q := range []Question{{}, {Last: 2}, {Timeline: 4}, {Since: ev.Gathered.Add(-time.Hour)}} {
		s, err := Tell(ev, q)
		if none, ok := err.(*NoChange); ok {
			tellings = append(tellings, none)
			continue
		}
		tellings = append(tellings, s)
	}
	for _, at := range []time.Time{{}, ev.Gathered.Add(-20 * time.Minute)} {
		if a, err := WhyNot(ev, at); err == nil {
			tellings = append(tellings, a)
		}
	}
	for _, s := range tellings {
		checkShown(t, s)
	}
}

func checkShown(t testing.TB, s any) {
	t.Helper()
	var text, page, doc bytes.Buffer
	var errs []error
	switch s := s.(type) {
	case Story:
		errs = []error{s.Text(&text, TextOptions{}), s.HTML(&page, HTMLOptions{}), s.JSON(&doc)}
	case Answer:
		errs = []error{s.Text(&text, TextOptions{}), s.HTML(&page, HTMLOptions{}), s.JSON(&doc)}
	case *NoChange:
		errs = []error{s.Text(&text, TextOptions{}), s.HTML(&page, HTMLOptions{}), s.JSON(&doc)}
	}
	for _, err := range errs {
		if err != nil {
			t.Fatalf("%T: %v", s, err)
		}
	}
	if i := strings.IndexFunc(text.String(), func(r rune) bool { return unicode.IsControl(r) && r != '\n' }); i >= 0 {
		t.Fatalf("the text holds a control character: %q", text.String()[max(0, i-40):i+1])
	}
	for _, bad := range []string{"<script", "<img", "javascript:", "http-equiv=\"refresh", "src=", "href="} {
		if strings.Contains(strings.ToLower(page.String()), bad) && !strings.Contains(page.String(), "&lt;img src=") {
			t.Fatalf("the page holds %s", bad)
		}
	}
	if strings.Contains(page.String(), "ZgotmplZ") {
		t.Fatal("the template refused a value")
	}
	if !json.Valid(doc.Bytes()) {
		t.Fatal("the JSON is none")
	}
}

// TestHostileRecords: whatever a journal holds, nothing panics, and nothing that
// a terminal or a browser would obey is shown.
func TestHostileRecords(t *testing.T) {
	var plain bytes.Buffer
	if err := evidence(t, "gone").Save(&plain); err != nil {
		t.Fatal(err)
	}
	rounds := 60
	if testing.Short() {
		rounds = 40
	}
	told := 0
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		var doc any
		if err := json.Unmarshal(plain.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		top := doc.(map[string]any)
		for range 1 + r.IntN(30) {
			spoilRecord(top["sources"], r)
		}
		if r.IntN(4) == 0 {
			top["sources"] = spoil(top["sources"], r)
		}
		text, err := json.Marshal(top)
		if err != nil {
			t.Fatal(err)
		}
		ev, err := Load(bytes.NewReader(text))
		if err != nil {
			continue // refused in words
		}
		told++
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("seed %d: %v", seed, p)
					panic(p)
				}
			}()
			exercise(t, ev)
		}()
	}
	if told < rounds/2 {
		t.Errorf("only %d of %d could be read at all", told, rounds)
	}
}

// spoilRecord spoils something in one record.
func spoilRecord(sources any, r *rand.Rand) {
	list, _ := sources.([]any)
	if len(list) == 0 {
		return
	}
	s, _ := list[r.IntN(len(list))].(map[string]any)
	records, _ := s["records"].([]any)
	if len(records) == 0 {
		return
	}
	i := r.IntN(len(records))
	records[i] = spoil(records[i], r)
}

// FuzzLoad: any bytes are refused or told.
func FuzzLoad(f *testing.F) {
	ev := evidence(f, "gone")
	for i := range ev.Sources {
		ev.Sources[i].Records = ev.Sources[i].Records[max(0, len(ev.Sources[i].Records)-12):]
	}
	var b bytes.Buffer
	if err := ev.Save(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"format":"matriarch-evidence/1","gathered":"2026-11-26T04:00:00Z","sources":[{"name":"n1","records":[{"seq":1}]}]}`))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, text []byte) {
		ev, err := Load(bytes.NewReader(text))
		if err == nil {
			exercise(t, ev)
		}
	})
}
