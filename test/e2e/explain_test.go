package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/explain"
	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// explained runs matriarch explain beside a member and reads the story.
func explained(t *testing.T, by *lab.Member, args ...string) explain.Story {
	t.Helper()
	argv := append([]string{lab.Binary(t), "-c", by.File(), "explain", "-f", "json"}, args...)
	out, err := by.Run(argv...)
	if err != nil {
		var exit *exec.ExitError
		t.Fatalf("%s: %v (%v)\n%s", strings.Join(argv, " "), err, errors.As(err, &exit), out)
	}
	var s explain.Story
	if _, rest, found := strings.Cut(out, "{\n"); found {
		out = "{\n" + rest // what was said on standard error comes first
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if text, err := by.Run(lab.Binary(t), "-c", by.File(), "explain"); err == nil {
		t.Log("\n" + text)
	}
	return s
}

// TestExplain: what happened to a real cluster is told as it was, while the lost
// member is away, from its disk, and when it is back.
func TestExplain(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.ZooKeeper})
	c.StartAll()
	c.WaitHealthy(60 * time.Second)
	w := lab.StartWriter(t, c.DSN())

	var from *lab.Member
	part(t, c, w, "switchover", func(lead *lab.Member) {
		from = lead
		code, body, err := c.Others(lead)[0].Send("POST", "/switchover", `{"leader":"`+lead.Name+`"}`, 40*time.Second)
		if err != nil || code != 200 {
			t.Fatalf("switchover: %d %s %v\n%s", code, body, err, c.Tails(15))
		}
	})
	s := explained(t, c.WaitHealthy(30*time.Second))
	if s.Kind != explain.Switchover || s.Change.From != from.Name || s.Change.To != c.Leader().Name || !s.Loss.Known || s.Loss.Bytes != 0 || len(s.Clients) == 0 || len(s.Candidates) != 3 {
		t.Errorf("the switchover is told as %s from %s to %s, loss %+v, clients %+v, %d candidates", s.Kind, s.Change.From, s.Change.To, s.Loss, s.Clients, len(s.Candidates))
	}

	part(t, c, w, "host cut off from everybody", func(lead *lab.Member) {
		from = lead
		lead.Unplug()
		c.WaitLeader(60*time.Second, lead)
		lead.Plug()
	})
	s = explained(t, c.WaitHealthy(30*time.Second))
	if s.Cause != explain.CauseStoreLost || s.Change.From != from.Name || s.Outage == nil || s.Outage.Most > time.Minute {
		t.Errorf("the cut is told as %s from %s, outage %+v", s.Cause, s.Change.From, s.Outage)
	}

	part(t, c, w, "host powered off", func(lead *lab.Member) {
		from = lead
		lead.PowerOff()
		next := c.WaitLeader(60*time.Second, lead)
		s := explained(t, next)
		missing := slices.ContainsFunc(s.Sources, func(n explain.SourceNote) bool { return n.Name == lead.Name && n.Missing != "" })
		if s.Cause != explain.CauseGone || s.Change.From != lead.Name || s.Change.To != next.Name || !missing {
			t.Errorf("the power-off is told as %s from %s to %s, missing is %v", s.Cause, s.Change.From, s.Change.To, missing)
		}
		s = explained(t, next, "--journal", lead.Name+"="+journalDir(t, lead))
		own := slices.ContainsFunc(s.Sources, func(n explain.SourceNote) bool { return n.Name == lead.Name && n.Records > 0 })
		if s.Cause != explain.CauseGone || !own {
			t.Errorf("with its journal from the disk the power-off is told as %s, own records %v", s.Cause, own)
		}
		lead.PowerOn()
		lead.StartAgent()
	})
	lead := c.WaitHealthy(60 * time.Second)
	s = explained(t, lead)
	if s.Cause != explain.CauseKilled || s.Change.From != from.Name || s.Change.To != lead.Name || !s.Loss.Known {
		t.Errorf("the power-off is told afterwards as %s from %s to %s, loss %+v", s.Cause, s.Change.From, s.Change.To, s.Loss)
	}
	w.Stop()
	if out, err := lead.Run(lab.Binary(t), "-c", lead.File(), "explain", "--why-not"); err != nil || !strings.Contains(out, "holds the leader key") {
		t.Errorf("--why-not: %v\n%s", err, out)
	}
}

// journalDir finds a member's journal on its disk.
func journalDir(t *testing.T, m *lab.Member) string {
	t.Helper()
	var dir string
	_ = filepath.WalkDir(m.Dir(), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "journal" {
			dir = path
			return filepath.SkipAll
		}
		return nil // what cannot be read is looked past
	})
	if dir == "" {
		t.Fatalf("%s has no journal below %s", m.Name, m.Dir())
	}
	return dir
}
