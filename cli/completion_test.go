package cli

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestCompletionScripts(t *testing.T) {
	w := newWorld(t, demo())
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := w.exec("", "completion", shell)
		r.contains(t, 0, "matriarch", "__complete")
		if path, err := exec.LookPath(shell); err == nil {
			cmd := exec.Command(path, "-n")
			cmd.Stdin = strings.NewReader(r.out)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s does not accept it: %v\n%s", shell, err, out)
			}
		}
	}
	w.exec("", "completion", "csh").contains(t, 2, "bash, zsh, fish")
	w.exec("", "completion").contains(t, 2, "accepts 1 arg")
}

func TestCompletedNames(t *testing.T) {
	w := newWorld(t, demo())
	file := fileOf(t, strings.TrimPrefix(w.url, "http://"))
	for line, want := range map[string]string{
		"list ":                      "lab",
		"switchover ":                "lab",
		"switchover --candidate ":    "n1 n2",
		"restart ":                   "lab",
		"restart lab ":               "n1 n2",
		"restart lab n1 ":            "n2",
		"reinit other ":              "",
		"query -m ":                  "n1 n2",
		"query -r ":                  "leader primary standby-leader replica standby any",
		"list -f ":                   "pretty tsv json yaml yml",
		"flush ":                     "lab restart switchover",
		"flush lab n2 ":              "n1 restart switchover",
		"flush lab n2 restart ":      "",
		"completion ":                "bash zsh fish",
		"dsn lab ":                   "",
		"swi":                        "switchover",
		"edit-config lab ":           "",
		"failover lab --candidate n": "n1 n2",
	} {
		arguments := append([]string{"__complete", "-c", file}, strings.Split(line, " ")...)
		var got []string
		r := w.exec("", arguments...)
		for _, l := range strings.Split(r.out, "\n") {
			word, _, _ := strings.Cut(l, "\t")
			if word != "" && !strings.HasPrefix(word, ":") {
				got = append(got, word)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q\n%s", line, got, want, r.out)
		}
	}
}

// TestCompletionIsQuick: nobody waits for a member that hangs.
func TestCompletionIsQuick(t *testing.T) {
	w := newWorld(t, demo())
	w.hang("n1 GET /cluster")
	begin := time.Now()
	w.exec("", "__complete", "--api", w.url, "list", "").contains(t, 0, ":4")
	if took := time.Since(begin); took > 9*time.Second { // a call without this limit takes 10 s
		t.Errorf("took %s", took)
	}
}
