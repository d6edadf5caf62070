package up

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/api"
)

func TestWords(t *testing.T) {
	one := int64(3)
	doc := func(state, role, repl, task string, lease int64) sight {
		return sight{ok: true, doc: api.StatusDoc{State: state, Role: role, ReplState: repl, Timeline: &one,
			Matriarch: &api.MatriarchDoc{Task: task, LeaseRemainingMs: lease}}}
	}
	for _, c := range []struct {
		s            sight
		before, want string
	}{
		{sight{}, "", starting},
		{sight{}, "leads on timeline 3", "does not answer"},
		{doc("stopped", "replica", "", "", 0), "", starting},
		{doc("stopped", "replica", "", "", 0), "streams from the leader", "stopped"},
		{doc("stopped", "replica", "", "bootstrap", 0), starting, "making the database"},
		{doc("creating replica", "replica", "", "clone", 0), starting, "copying data"},
		{doc("running", "replica", "streaming", "start-replica", 0), starting, "streams from the leader"},
		{doc("running", "replica", "", "checkpoint", 0), starting, "runs, does not stream yet"},
		{doc("running", "primary", "", "", 5000), starting, "leads on timeline 3"},
		{doc("running", "primary", "", "", 0), starting, "is primary, without the lease"},
	} {
		if got, _ := words(c.s, c.before); got != c.want {
			t.Errorf("%+v after %q: %q, want %q", c.s, c.before, got, c.want)
		}
	}
}

// TestStartedAnew: what lies between two looks is noticed by the time of the start.
func TestStartedAnew(t *testing.T) {
	at := func(start string) sight { return sight{ok: true, doc: api.StatusDoc{PostmasterStart: start}} }
	var m told
	for i, c := range []struct {
		s    sight
		want bool
	}{
		{sight{}, false}, {at(""), false}, {at("10:00"), false}, {at("10:00"), false}, {at("10:05"), true},
		{at("10:05"), false}, {at(""), false}, {sight{}, false}, {at("10:05"), false}, {at("10:06"), true},
	} {
		if got := m.startedAnew(c.s); got != c.want {
			t.Errorf("look %d: %v", i, got)
		}
	}
}

func TestWhole(t *testing.T) {
	lead := sight{ok: true, doc: api.StatusDoc{State: "running", Role: "primary", Matriarch: &api.MatriarchDoc{LeaseRemainingMs: 1}}}
	follow := sight{ok: true, doc: api.StatusDoc{State: "running", Role: "replica", ReplState: "streaming"}}
	for _, c := range []struct {
		all  []sight
		want bool
	}{
		{[]sight{lead}, true}, {[]sight{follow, lead, follow}, true},
		{[]sight{follow}, false}, {[]sight{lead, {}}, false}, {[]sight{lead, {ok: true}}, false}, {nil, false},
	} {
		if got := whole(c.all); got != c.want {
			t.Errorf("%+v: %v", c.all, got)
		}
	}
}

func FuzzURI(f *testing.F) {
	f.Add("/home/me/pg pass")
	f.Add(`/a"b'c$d%e?f&g#`)
	f.Fuzz(func(t *testing.T, path string) {
		text := uri(5000, path)
		if strings.ContainsAny(text, " \"'$`\\\n!") {
			t.Errorf("a shell would change %s", text)
		}
		u, err := url.Parse(text)
		if err != nil || u.Query().Get("passfile") != path {
			t.Errorf("%q became %q: %v", path, text, err)
		}
	})
}

func TestShellQuotes(t *testing.T) {
	for in, want := range map[string]string{"/a/b-c.yml": "/a/b-c.yml", "/a b": "'/a b'", "it's": `'it'\''s'`, "": "''"} {
		if got := shell(in); got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
}

func TestEnvironmentDoesNotLeakIn(t *testing.T) {
	got := cleanEnv([]string{"PATH=/bin", "PATRONI_NAME=x", "MATRIARCH_SCOPE=y", "PGDATA=/z", "NOTIFY_SOCKET=/s", "PGTZ=UTC"})
	if strings.Join(got, " ") != "PATH=/bin PGTZ=UTC" {
		t.Errorf("%v", got)
	}
}

func TestLiveLineLeavesNoTrace(t *testing.T) {
	var b bytes.Buffer
	s := newScreen(&b)
	s.show("working")
	s.say("n1 %s", "leads")
	s.show("")
	if got := b.String(); !strings.HasSuffix(got, "n1 leads\n") || strings.Contains(got, "working") || strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
	b.Reset()
	s.tty = true
	s.show("working")
	s.say("n1 leads")
	if got := b.String(); !strings.Contains(got, "\r\x1b[K") || !strings.HasSuffix(got, "working") {
		t.Errorf("%q", got)
	}
}
