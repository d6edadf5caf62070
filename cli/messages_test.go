package cli

import (
	"net"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/api/apitest"
	"github.com/matriarch-ha/matriarch/internal/messages"
)

// TestMessages: a command that cannot do what is asked says where, why, and what
// to do, on standard error, and ends with an exit code other than 0.
func TestMessages(t *testing.T) {
	w := newWorld(t, apitest.Lab())
	// closed is a leader that lets nobody in, or has no candidate.
	closed := func(m *apitest.Member, change func(*api.Options)) string {
		m.C = apitest.Lab()
		m.Name = m.C.View().Leader.Name
		return apitest.Serve(t, m, change).URL
	}
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + nobody.Addr().String()
	nobody.Close()
	locked := closed(&apitest.Member{}, func(o *api.Options) { o.Policy.Username, o.Policy.Password = "admin", "right" })
	listed := closed(&apitest.Member{}, func(o *api.Options) { o.Policy.AllowList = []string{"10.9.9.9"} })
	lagging := closed(&apitest.Member{Refuse: map[string]string{"n1": "it lags 5 MB behind"}}, nil)
	leader := w.c.View().Leader.Name
	for _, k := range []struct {
		id   string
		args []string
	}{
		{"no-member-answers", []string{"--api", dead, "list"}},
		{"no-cluster-known", []string{"list"}},
		{"other-scope", []string{"--api", w.url, "list", "elsewhere"}},
		{"api-password", []string{"--api", locked, "pause"}},
		{"api-allowlist", []string{"--api", listed, "pause"}},
		{"candidate-unknown", []string{"--api", w.url, "switchover", "--leader", leader, "--candidate", "nobody", "--force"}},
		{"candidate-not-good", []string{"--api", lagging, "switchover", "--leader", leader, "--candidate", "n1", "--force"}},
		{"candidate-leads", []string{"--api", w.url, "switchover", "--leader", leader, "--candidate", leader, "--force"}},
	} {
		r := w.exec("", k.args...)
		if r.code == 0 {
			t.Errorf("%s: exit 0", k.id)
		}
		messages.Check(t, k.id, strings.TrimSpace(r.err+"\n"+r.out))
	}
}
