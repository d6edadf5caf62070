package remote

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/drill"
	"github.com/matriarch-ha/matriarch/drill/hand"
)

func TestParse(t *testing.T) {
	for _, k := range []struct{ text, want, fault string }{
		{"env root@{host}", "root@h1 matriarch", ""},
		{"env  -p 22 {host} /opt/bin/matriarch", "-p 22 h1 /opt/bin/matriarch", ""},
		{"env {host} sudo", "h1 sudo matriarch", ""},
		{"env root@h1", "", "must hold {host}"},
		{"{host} x", "", "begin with the program"},
		{`env "{host}"`, "", "split at blanks"},
		{"no-such-program-here {host}", "", "not found"},
	} {
		p, err := parse(k.text)
		if k.fault != "" {
			if err == nil || !strings.Contains(err.Error(), k.fault) {
				t.Errorf("%s: %v", k.text, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", k.text, err)
			continue
		}
		got, err := p.with("h1")
		if err != nil || !filepath.IsAbs(got[0]) || strings.Join(got[1:], " ") != k.want {
			t.Errorf("%s: %q, %v", k.text, got, err)
		}
	}
}

// TestHosts: what comes from the cluster stays one harmless word.
func TestHosts(t *testing.T) {
	for host, good := range map[string]bool{
		"db1.example": true, "10.0.0.1": true, "fd00::1": true, "::1": true,
		"": false, "-oProxyCommand=x": false, "a b": false, "a;b": false, "$(b)": false, "fe80::1%eth0": false, "a\nb": false,
	} {
		if _, err := (template{"x", place}).with(host); (err == nil) != good {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func TestAddress(t *testing.T) {
	for base, want := range map[string]struct {
		host string
		port int
	}{
		"http://n1:8008":     {"n1", 8008},
		"https://[fd00::1]":  {"fd00::1", 443},
		"http://10.0.0.1":    {"10.0.0.1", 80},
		"http://n1:0":        {"", 0},
		"n1":                 {"", 0},
		"http://n1:99999999": {"", 0},
	} {
		host, port, err := address(drill.Member{Name: "n1", Base: base})
		if host != want.host || port != want.port || (err == nil) != (want.port > 0) {
			t.Errorf("%s: %s %d %v", base, host, port, err)
		}
	}
}

func TestFindReach(t *testing.T) {
	for asked, found := range map[string]bool{"": false, "up": false, "docker": false, "up:/a {host}": false, "docker:x y": false, "env {host}": true} {
		r, err := FindReach(t.Context(), drill.Place{Asked: asked})
		if (r != nil) != found || err != nil {
			t.Errorf("%q: %v, %v", asked, r, err)
		}
	}
	if _, err := FindReach(t.Context(), drill.Place{Asked: "ssh root@h1"}); err == nil {
		t.Error("a command without a place was taken for another way")
	}
}

// other makes a program that stands for the way and the hand at its end. What it
// was asked lies in the file beside it.
func other(t *testing.T, script string) (command, asked string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "way")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return file + " {host}", file + ".asked"
}

const found = `{"found":{"agent":{"pid":7,"start_time":1,"boot_id":"b"},"postmaster":{"pid":40,"start_time":1,"boot_id":"b"},"again":{"spec":{"exe":"/m","env":["PASSWORD=hush"]}}}}`

// TestSteps: nothing secret is on a command line or in what is said, and the way
// back has what it needs.
func TestSteps(t *testing.T) {
	way, asked := other(t, `echo "$@" >>"$0.asked"; echo "`+hand.Greeting+`"; read -r line; echo "$line" >>"$0.asked"; echo '`+found+`'; sleep 600`)
	r, err := FindReach(t.Context(), drill.Place{Asked: way, Picture: drill.Picture{SystemID: "77"}})
	if err != nil {
		t.Fatal(err)
	}
	m := drill.Member{Name: "n1", Base: "http://h1:8008"}
	for _, k := range []struct {
		scenario   drill.Scenario
		verb, back string
		target     string
	}{
		{drill.StopAgent, hand.Stop, hand.Start, `"pid":7,`},
		{drill.KillAgent, hand.Kill, hand.Start, `"pid":7,`},
		{drill.PauseAgent, hand.Pause, hand.Continue, `"pid":7,`},
		{drill.KillPostgres, hand.Kill, "", `"pid":40,`},
	} {
		os.Remove(asked)
		steps, err := r.Steps(t.Context(), k.scenario, m, time.Minute)
		if err != nil || len(steps) != 1 || (steps[0].Undo != nil) != (k.back != "") {
			t.Fatalf("%s: %+v, %v", k.scenario, steps, err)
		}
		if err := steps[0].Do(t.Context()); err != nil {
			t.Errorf("%s: %v", k.scenario, err)
		}
		want := []string{"h1 matriarch drill-hand look", `{"port":8008,"system_id":"77"}`, "h1 matriarch drill-hand " + k.verb, k.target}
		if u := steps[0].Undo; u != nil {
			if err := Undoers().Do(t.Context(), *u); err != nil {
				t.Errorf("%s: %v", k.scenario, err)
			}
			want = append(want, "h1 matriarch drill-hand "+k.back, k.target)
			if strings.Contains(steps[0].Say+u.Say, "hush") {
				t.Errorf("%s: told %q", k.scenario, u.Say)
			}
		}
		text, err := os.ReadFile(asked)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if len(lines) != len(want) {
			t.Fatalf("%s: asked\n%s", k.scenario, text)
		}
		for i, l := range lines {
			if !strings.Contains(l, want[i]) || i%2 == 0 && strings.Contains(l, "hush") {
				t.Errorf("%s: asked %q, want %q", k.scenario, l, want[i])
			}
		}
		if k.back == hand.Start && !strings.Contains(lines[5], "hush") {
			t.Errorf("%s: the way back lacks the environment: %s", k.scenario, lines[5])
		}
	}
}

// TestRefused: nobody is asked for what cannot be done, and nothing is done where
// it could not be taken back.
func TestRefused(t *testing.T) {
	m := drill.Member{Name: "n1", Base: "http://h1:8008"}
	for _, k := range []struct {
		script string
		says   string
	}{
		{`echo "Permission denied" >&2; exit 255`, "no answer: Permission denied"},
		{`echo "unknown command"`, `it began with "unknown command"`},
		{`echo "` + hand.Greeting + `"`, "the connection"},
		{`echo "` + hand.Greeting + `"; read -r x; echo hush`, "the answer cannot be read"},
		{`echo "` + hand.Greeting + `"; read -r x; echo '{"error":"no agent"}'`, "n1 on h1: no agent"},
		{`echo "` + hand.Greeting + `"; read -r x; echo '{"found":{"again":{"why_not":"its program was replaced"}}}'`, "its program was replaced"},
	} {
		way, _ := other(t, k.script)
		r, err := FindReach(t.Context(), drill.Place{Asked: way})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Steps(t.Context(), drill.StopAgent, m, time.Minute)
		if err == nil || !strings.Contains(err.Error(), k.says) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", k.script, err)
		}
	}
	way, asked := other(t, `touch "$0.asked"`)
	r, _ := FindReach(t.Context(), drill.Place{Asked: way})
	for _, s := range drill.Scenarios() {
		if s == drill.Switchover || slices.Contains(possible, s) {
			continue
		}
		if _, err := r.Steps(t.Context(), s, m, time.Minute); err == nil || !strings.Contains(err.Error(), string(s)+" cannot be done by a command") {
			t.Errorf("%s: %v", s, err)
		}
	}
	if _, err := os.Stat(asked); err == nil {
		t.Error("somebody was asked")
	}
}

// TestInterrupted: a way that hangs, with children in sessions of their own, does
// not keep the drill.
func TestInterrupted(t *testing.T) {
	way, asked := other(t, `touch "$0.asked"; setsid sleep 20 & wait`)
	p, err := parse(way)
	if err != nil {
		t.Fatal(err)
	}
	command, err := p.with("h1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(asked); err == nil {
				cancel()
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if _, err := ask(ctx, command, hand.Look, hand.Request{}); err == nil {
		t.Error("it was answered")
	}
}
