package compose

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// row is one line of `matriarch list --format json`.
type row struct {
	Member, Host, Role, State string
	TL                        int
}

// list asks in the container of a service, as a reader does.
func (p *project) list(service string) ([]row, error) {
	out, err := p.inside(service, "matriarch", "list", "--format", "json")
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	var rows []row
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return rows, nil
}

// service is where a member runs, which its host says.
func (r row) service() string {
	host, _, _ := strings.Cut(r.Host, ":")
	return host
}

// waitHealthy waits until the services named, and no others, are members of the
// cluster, one as its leader and all others streaming, and returns the leader's.
func (p *project) waitHealthy(limit time.Duration, services ...string) string {
	p.t.Helper()
	leader := ""
	lab.Until(p.t, limit, "a leader, and all others streaming from it", func() string {
		rows, err := p.list(services[0])
		if err != nil {
			return err.Error()
		}
		leader = ""
		var there []string
		for _, r := range rows {
			switch {
			case r.Role == "Leader" && r.State == "running":
				leader = r.service()
			case r.State != "streaming":
				return fmt.Sprintf("%s is a %s that is %s", r.Member, r.Role, r.State)
			}
			there = append(there, r.service())
		}
		slices.Sort(there)
		if want := slices.Sorted(slices.Values(services)); leader == "" || !slices.Equal(there, want) {
			return fmt.Sprintf("leader %q, members on %v, want %v", leader, there, want)
		}
		for _, r := range rows {
			if tl := rows[0].TL; r.TL != tl {
				return fmt.Sprintf("%s is on timeline %d, %s on %d", r.Member, r.TL, rows[0].Member, tl)
			}
		}
		return ""
	})
	return leader
}

// waitLeader waits until a service leads that is not the one named, as its
// neighbours see it, and returns it.
func (p *project) waitLeader(limit time.Duration, not string, ask ...string) string {
	p.t.Helper()
	leader := ""
	lab.Until(p.t, limit, "another leader than "+not, func() string {
		rows, err := p.list(ask[0])
		if err != nil {
			return err.Error()
		}
		for _, r := range rows {
			if r.Role == "Leader" && r.State == "running" && r.service() != not {
				leader = r.service()
				return ""
			}
		}
		return fmt.Sprint(rows)
	})
	return leader
}

// waitSync waits until the leader's commits are confirmed by another node and the
// store says so, so that what is acknowledged from then on may not be lost and that
// node may lead.
func (p *project) waitSync(leader string, limit time.Duration) {
	p.t.Helper()
	lab.Until(p.t, limit, "a synchronous standby", func() string {
		rows, err := p.list(leader)
		if err != nil {
			return err.Error()
		}
		for _, r := range rows {
			if r.Role == "Sync Standby" || r.Role == "Quorum Standby" {
				return ""
			}
		}
		return fmt.Sprint(rows)
	})
}

// other is the one of the lab's two nodes that the service is not.
func other(service string) string {
	if service == "pg-master" {
		return "pg-slave"
	}
	return "pg-master"
}
