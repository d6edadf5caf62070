package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// missing says which of the words a program's log lacks.
func missing(p *lab.Process, words ...string) string {
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	for _, w := range words {
		if !strings.Contains(string(b), w) {
			return fmt.Sprintf("the log of %s does not say %q; it ends with\n%s", p.Name, w, p.Tail(8))
		}
	}
	return ""
}

// clusterDoc is what a member says of the cluster.
type clusterDoc struct {
	Members []struct {
		Name           string
		Role           string
		State          string
		Timeline       int
		PendingRestart bool `json:"pending_restart"`
	}
	Pause bool
}

func clusterOf(m *lab.Member) (clusterDoc, error) {
	_, body, err := m.Get("/cluster")
	var d clusterDoc
	if err == nil {
		err = json.Unmarshal([]byte(body), &d)
	}
	return d, err
}

// role is a member's role in the eyes of the one asked.
func (d clusterDoc) role(name string) string {
	for _, m := range d.Members {
		if m.Name == name {
			return m.Role
		}
	}
	return ""
}

// patch changes the dynamic configuration.
func patch(t *testing.T, m *lab.Member, body string) {
	t.Helper()
	code, answer, err := m.Send("PATCH", "/config", body, 10*time.Second)
	if err != nil || code != 200 {
		t.Fatalf("PATCH /config %s: %d %s %v", body, code, answer, err)
	}
}

// setting is a parameter of a member's server.
func setting(m *lab.Member, name string) string {
	rows, err := lab.SQL(m.DSN(), "SHOW "+name)
	if err != nil {
		return err.Error()
	}
	return rows[0]
}

// slow leaves a test to the runs that have the time.
func slow(t *testing.T) {
	t.Helper()
	if os.Getenv("MATRIARCH_SLOW") != "1" {
		t.Skip("takes long: set MATRIARCH_SLOW=1")
	}
}

// missingFile says that a file is not there.
func missingFile(path string) string {
	if _, err := os.Stat(path); err != nil {
		return err.Error()
	}
	return ""
}
