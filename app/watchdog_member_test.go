package app

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/watchdog/dogtest"
)

// status asks the member; what fails is not known yet.
func (m *testMember) status() (d api.StatusDoc) {
	resp, err := http.Get("http://" + m.rest + "/patroni")
	if err != nil {
		return d
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	_ = json.Unmarshal(text, &d)
	return d
}

func (m *testMember) await(what string, holds func() bool) {
	m.t.Helper()
	for end := time.Now().Add(90 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Fatalf("waited in vain until %s:\n%s", what, m.out)
		}
	}
}

func (m *testMember) pause(on string) {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodPatch, "http://"+m.rest+"/config", strings.NewReader(`{"pause":`+on+`}`))
	must(m.t, err)
	resp, err := http.DefaultClient.Do(req)
	must(m.t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		m.t.Fatalf("pause %s: %s", on, resp.Status)
	}
}

// TestWatchdogOfAMember: a member that leads feeds the device with its renewals,
// and disarms it for a pause and at its end; killed with its guard, it is reset.
func TestWatchdogOfAMember(t *testing.T) {
	g := newGround(t)
	m := g.member(t, "watched", "n1")
	dog := &dogtest.Model{}
	m.text += "watchdog: {mode: required, device: " + dogtest.Mount(t, dog) + "}\n"
	m.start()
	m.await("it leads", func() bool { s := m.status(); return s.Role == "primary" && s.Matriarch != nil && s.Matriarch.Watchdog })
	for range 3 {
		pings := dog.State().Pings
		m.await("a renewal feeds it", func() bool { s := dog.State(); return s.Active && s.Pings > pings })
		if left := dog.State().Left; left > 15*time.Second {
			t.Errorf("the device fires in %v, with a ttl of 20 s and a margin of 5 s", left)
		}
	}
	m.pause("true")
	m.await("it is disarmed for the pause", func() bool { s := dog.State(); return !s.Active && !s.Open })
	m.pause("false")
	m.await("it runs again", func() bool { return dog.State().Active })
	m.stop()
	if s := dog.State(); s.Active || s.Open || s.Fired {
		t.Errorf("after the end: %+v\n%v", s, dog.Log())
	}

	m.start()
	m.await("it leads again", func() bool { return dog.State().Active && m.status().Role == "primary" })
	must(t, syscall.Kill(m.cmd.Process.Pid, syscall.SIGSTOP)) // or it would start another guard
	for _, pid := range guardsOf(t, m) {
		must(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	m.await("the host is reset", func() bool { return dog.State().Fired })
	must(t, syscall.Kill(m.cmd.Process.Pid, syscall.SIGCONT))
}

// TestWatchdogMissing: a member whose device is required and missing does not
// lead, and says so, until it may do without.
func TestWatchdogMissing(t *testing.T) {
	m := newGround(t).member(t, "unwatched", "n1")
	m.text += "watchdog: {mode: required, device: /nonexistent/watchdog}\n"
	m.start()
	m.says("watchdog.mode is required and the device cannot be used")
	m.await("it says so", func() bool {
		s := m.status()
		return s.WatchdogFailed && s.Matriarch != nil && strings.Contains(s.Matriarch.WhyNot, "watchdog")
	})
	if s := m.status(); s.Role == "primary" {
		t.Errorf("it leads: %+v", s)
	}
	m.edit("mode: required", "mode: automatic")
	must(t, os.WriteFile(m.file(), []byte(m.text), 0o600))
	must(t, m.cmd.Process.Signal(syscall.SIGHUP))
	m.await("it leads", func() bool { s := m.status(); return s.Role == "primary" && !s.WatchdogFailed })
}

// guardsOf are the processes of the member's guards.
func guardsOf(t *testing.T, m *testMember) (pids []int) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, path := range lines {
		text, err := os.ReadFile(path)
		if args := strings.Split(string(text), "\x00"); err == nil && len(args) > 2 && args[1] == "guard" && args[2] == m.data() {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			must(t, err)
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		t.Fatal("no guard runs")
	}
	return pids
}
