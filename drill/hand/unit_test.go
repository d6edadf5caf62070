package hand

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnitIn(t *testing.T) {
	for groups, want := range map[string]string{
		"0::/system.slice/matriarch@n1.service\n":                     "matriarch@n1.service",
		"0::/system.slice/matriarch.service/sub\n":                    "matriarch.service",
		"8:pids:/x.service\n1:name=systemd:/system.slice/y.service\n": "y.service",
		"0::/user.slice/user-0.slice/session-3.scope\n":               "",
		"0::/system.slice/-x.service\n":                               "",
		"8:pids:/x.service\n":                                         "",
		"":                                                            "",
	} {
		if got := unitIn(groups); got != want {
			t.Errorf("%q: %q", groups, got)
		}
	}
}

// TestUnit: what systemd runs is stopped and started by it, and by its main
// process alone. A script stands for systemctl.
func TestUnit(t *testing.T) {
	r, port, _ := agent(t)
	s, err := specOf(r.PID)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
echo "$@" >>%[1]s/asked
case "$1" in
show) cat %[1]s/main;;
stop) kill %[2]d;;
reset-failed) echo "not loaded" >&2; exit 1;;
start) %[3]s agent %[4]s >/dev/null 2>&1 &
esac
`, dir, r.PID, s.Exe, s.Argv[2])
	for name, text := range map[string]string{"systemctl": script, "main": "1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	again := Again{Unit: "m@1.service"}
	err = apart(ending, Request{Target: r, Again: again})
	if err == nil || !strings.Contains(err.Error(), "it belongs to m@1.service, whose main process is 1") || !r.Alive() {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main"), fmt.Appendln(nil, r.PID), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := apart(ending, Request{Target: r, Again: again}); err != nil || r.Alive() {
		t.Fatalf("%v", err)
	}
	if err := start(t.Context(), Request{Port: port, Target: r, Again: again}); err != nil {
		t.Fatal(err)
	}
	asked, err := os.ReadFile(filepath.Join(dir, "asked"))
	const show = "show --property=MainPID --value -- m@1.service\n"
	if want := show + show + "stop -- m@1.service\nreset-failed -- m@1.service\nstart -- m@1.service\n"; err != nil || string(asked) != want {
		t.Errorf("asked for %q, %v", asked, err)
	}
}
