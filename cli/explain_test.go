package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/api/apitest"
)

const lab = "../explain/testdata/lab.json.gz"

// TestExplainSaved tells saved evidence, in every format, asking nobody.
func TestExplainSaved(t *testing.T) {
	w := newWorld(t, apitest.Lab())
	r := w.exec("", "explain", "--evidence", lab, "--timeline", "4")
	r.contains(t, 0, "n2 took over from n1", "The agent of n1 ended without a word", "Time line")
	if strings.Contains(r.out, "\x1b") {
		t.Error("colours where no terminal is")
	}
	w.opts.Screen = &Screen{Columns: 100, Lines: 40, Colour: true}
	r = w.exec("", "explain", "--evidence", lab)
	r.contains(t, 0, "\x1b[1m", "n2 was promoted again")
	w.opts.Screen = nil
	for line := range strings.Lines(w.exec("", "explain", "--evidence", lab).out) {
		if len([]rune(line)) > 81 {
			t.Errorf("wider than 80 columns: %q", line)
		}
	}
	r = w.exec("", "explain", "--evidence", lab, "--last", "3", "-f", "json")
	var doc struct {
		Format string
		Kind   string
		Change struct{ Timeline int }
	}
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil || r.code != 0 || doc.Format != "matriarch-story/1" || doc.Kind != "failover" || doc.Change.Timeline != 5 {
		t.Errorf("exit %d, %v: %+v", r.code, err, doc)
	}
	r = w.exec("", "explain", "--evidence", lab, "--format", "html")
	r.contains(t, 0, "<!DOCTYPE html>", "<svg", "n2 was promoted again")
	r = w.exec("", "explain", "--evidence", lab, "--why-not")
	r.contains(t, 0, "Why nobody takes over from n2", "n1 would be the best candidate")
	r = w.exec("", "explain", "--evidence", lab, "--why-not", "--at", "2026-11-26T04:30:00Z", "-f", "json")
	r.contains(t, 0, `"format": "matriarch-why-not/1"`, `"its agent is stopping"`)
	if got := w.requests(); len(got) > 0 {
		t.Errorf("somebody was asked for something: %v", got)
	}
}

// TestExplainNoChange: where there is nothing to tell, that is said, with exit
// code 1.
func TestExplainNoChange(t *testing.T) {
	w := newWorld(t, apitest.Lab())
	r := w.exec("", "explain", "--evidence", lab, "--timeline", "99")
	r.contains(t, 1, "No change of the primary is known that began timeline 99", "timeline 4: n1 → n2")
	r = w.exec("", "explain", "--evidence", lab, "--since", "2026-11-27", "-f", "json")
	r.contains(t, 1, `"told": false`)
	r = w.exec("", "explain", "--evidence", lab, "--since", "2026-11-27", "-f", "html")
	r.contains(t, 1, "The primary has not changed since")
}

// TestExplainUsage: what makes no sense is refused before anybody is asked.
func TestExplainUsage(t *testing.T) {
	w := newWorld(t, apitest.Lab())
	for _, k := range []struct {
		why  string
		args []string
	}{
		{"exclude each other", []string{"--last", "2", "--timeline", "4"}},
		{"exclude each other", []string{"--why-not", "--since", "1h"}},
		{"number 1", []string{"--last", "0"}},
		{"the first one begins timeline 2", []string{"--timeline", "1"}},
		{"want an age such as", []string{"--since", "soon"}},
		{"want an age such as", []string{"--why-not", "--at", "soon"}},
		{"--at needs --why-not", []string{"--at", "1h"}},
		{"want a positive number", []string{"--records", "-1"}},
		{"asks nobody", []string{"--evidence", lab, "--journal", "."}},
		{`"yaml" is not one of text, json, html`, []string{"-f", "yaml"}},
	} {
		r := w.exec("", append([]string{"--api", w.url, "explain"}, k.args...)...)
		if r.code != 2 || !strings.Contains(r.err, k.why) {
			t.Errorf("%v: exit %d, %s", k.args, r.code, r.err)
		}
	}
	if r := w.exec("", "explain", "--evidence", "nowhere.json"); r.code != 1 || !strings.Contains(r.err, "nowhere.json") {
		t.Errorf("a file that is not there: exit %d, %s", r.code, r.err)
	}
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte(`{"format":"other"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := w.exec("", "explain", "--evidence", bad); r.code != 1 || !strings.Contains(r.err, bad) {
		t.Errorf("a file that is no evidence: exit %d, %s", r.code, r.err)
	}
}

// TestExplainCluster asks the members of a cluster that keep no records of a
// change: what the history knows is told, and saved for later.
func TestExplainCluster(t *testing.T) {
	w := newWorld(t, apitest.Lab())
	file := filepath.Join(t.TempDir(), "evidence.json.gz")
	r := w.exec("", "--api", w.url, "explain", "--save-evidence", file)
	if r.code != 0 && r.code != 1 {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	again := w.exec("", "explain", "--evidence", file)
	if again.code != r.code || again.out != r.out {
		t.Errorf("told again it is another story: exit %d\n%s\nfirst exit %d\n%s", again.code, again.out, r.code, r.out)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", st, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".evidence-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	r = w.exec("", "--api", w.url, "explain", "--why-not")
	r.contains(t, 0, "takes over from")
	r = w.exec("", "--api", "http://127.0.0.1:1", "explain", "--journal", "n1="+t.TempDir())
	r.contains(t, 1, "No change of the primary is known", "holds no")
}
