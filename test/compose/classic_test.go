package compose

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// ttl is that of the lab's member files.
const ttl = 30 * time.Second

var nodes = []string{"pg-master", "pg-slave"}

// TestClassicLab does the lab from its first command to its last, in the order of
// docs/lab.md, with a client on the entrypoint and one on HAProxy that write all
// the time. Each part begins with what the one before left.
func TestClassicLab(t *testing.T) {
	t.Parallel()
	p := newProject(t, "classic")
	p.do("--profile", "classic", "--profile", "haproxy", "up", "-d")
	lead := p.waitHealthy(2*time.Minute, nodes...)
	p.waitSync(lead, time.Minute)
	p.see("up: %s leads, %s streams from it; up again while it runs changes nothing", lead, other(lead))
	p.upAgain()
	p.readableLogs()

	t.Run("replication", func(t *testing.T) { p.with(t).replication(lead) })
	c := p.clients()
	for _, part := range []struct {
		name string
		do   func(p *project, c *clients, lead string)
	}{
		{"stop", (*project).stopLeader},
		{"kill", (*project).killLeader},
		{"pause", (*project).pauseLeader},
		{"disconnect", (*project).disconnectLeader},
		{"store", (*project).killStore},
		{"project", (*project).stopProject},
		{"drill", (*project).drill},
	} {
		if !t.Run(part.name, func(t *testing.T) {
			q := p.with(t)
			lead := q.waitHealthy(2*time.Minute, nodes...)
			q.waitSync(lead, time.Minute)
			part.do(q, c.with(t), lead)
			q.waitHealthy(2*time.Minute, nodes...)
		}) {
			break // what follows needs a healthy cluster
		}
	}
	c.stop()
	lead = p.waitHealthy(time.Minute, nodes...)
	for _, node := range []string{lead, other(lead)} {
		c.noneLost(node)
	}
	p.see("all %d rows that were acknowledged through the entrypoint and %d through HAProxy are on both nodes", c.entry.Count(), c.haproxy.Count())
}

// with is the same project under a part's own test.
func (p *project) with(t *testing.T) *project {
	q := *p
	q.t = t
	return &q
}

// upAgain: nothing is made anew.
func (p *project) upAgain() {
	p.t.Helper()
	before := map[string]string{}
	for _, s := range append([]string{"zookeeper", "entrypoint", "haproxy"}, nodes...) {
		before[s] = p.container(s)
	}
	p.do("--profile", "classic", "--profile", "haproxy", "up", "-d")
	for s, id := range before {
		if now := p.container(s); now != id {
			p.t.Errorf("up again made the container of %s anew", s)
		}
	}
	p.waitHealthy(time.Minute, nodes...)
}

// readableLogs: nothing but the wait for a store that is not up yet is worth a
// warning in a start from nothing.
func (p *project) readableLogs() {
	p.t.Helper()
	for _, s := range append([]string{"entrypoint"}, nodes...) {
		for _, line := range strings.Split(p.logs(s), "\n") {
			if strings.Contains(line, "WARN") || strings.Contains(line, "ERROR") || strings.Contains(line, "FATAL") {
				if !strings.Contains(line, "the store is unavailable") {
					p.t.Errorf("%s logged in a start from nothing: %s", s, line)
				}
			}
		}
	}
}

// replication: what is written on the leader is read on the other node, which
// refuses to write.
func (p *project) replication(lead string) {
	for _, at := range []string{"pg-master", "pg-slave", "entrypoint", "haproxy"} {
		// HAProxy serves nobody until its checks have found the leader.
		lab.Until(p.t, time.Minute, "an answer by way of "+at, func() string {
			if _, err := lab.SQL(p.dsn(at), "SELECT 1"); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	p.sql(lead, "CREATE TABLE herd (id int PRIMARY KEY, name text)")
	p.sql(lead, "INSERT INTO herd VALUES (1, 'Echo'), (2, 'Ely')")
	replica := other(lead)
	p.waitRows(replica, "herd", 2)
	for _, statement := range []string{"INSERT INTO herd VALUES (3, 'Enid')", "DROP TABLE herd"} {
		if _, err := lab.SQL(p.dsn(replica), statement); err == nil || !strings.Contains(err.Error(), "25006") {
			p.t.Errorf("%s on the replica %s: %v, want SQLSTATE 25006 (read only)", statement, replica, err)
		}
	}
	p.see("a table made on %s with two rows is on %s, which refuses INSERT and DROP (SQLSTATE 25006)", lead, replica)
	for _, c := range foreignClients {
		p.see("%s", c.run(p, lead))
	}
}

func (p *project) waitRows(service, table string, n int) {
	p.t.Helper()
	lab.Until(p.t, 30*time.Second, fmt.Sprintf("%d rows of %s on %s", n, table, service), func() string {
		rows, err := lab.SQL(p.dsn(service), "SELECT count(*)::text FROM "+table)
		if err != nil || rows[0] != fmt.Sprint(n) {
			return fmt.Sprint(rows, err)
		}
		return ""
	})
}

// leadsTo waits until the entrypoint and HAProxy lead to the node.
func (p *project) leadsTo(node string) {
	p.t.Helper()
	want := p.sql(node, "SELECT inet_server_addr()::text")[0]
	for _, at := range []string{"entrypoint", "haproxy"} {
		lab.Until(p.t, time.Minute, at+" leading to "+node, func() string {
			got, err := lab.SQL(p.dsn(at), "SELECT inet_server_addr()::text WHERE NOT pg_is_in_recovery()")
			if err != nil || len(got) == 0 || got[0] != want {
				return fmt.Sprintf("%v %v, want %s", got, err, want)
			}
			return ""
		})
	}
}

// takenOver: the other node leads, writes go on, and its rows are all there.
func (p *project) takenOver(c *clients, lead string, limit time.Duration) string {
	p.t.Helper()
	next := p.waitLeader(limit, lead, other(lead))
	c.progress(2 * time.Minute)
	p.leadsTo(next)
	c.noneLost(next)
	return next
}

// returned: a node that was away follows the leader again with all rows.
func (p *project) returned(c *clients, node string) {
	p.t.Helper()
	if lead := p.waitHealthy(2*time.Minute, nodes...); lead == node {
		p.t.Errorf("%s leads after its return, want it to follow", node)
	}
	c.noneLost(node)
}

func (p *project) stopLeader(c *clients, lead string) {
	p.docker("stop", lead)
	next := p.takenOver(c, lead, time.Minute)
	p.see("docker stop of the leader %s: %s leads; %s", lead, next, c.outages())
	p.docker("start", lead)
	p.returned(c, lead)
	p.see("docker start: %s returns as a replica with all rows", lead)
	p.explain(next, lead, next, "agent-stopped", "stop")
}

func (p *project) killLeader(c *clients, lead string) {
	p.docker("kill", lead)
	next := p.takenOver(c, lead, ttl+time.Minute)
	p.see("docker kill of the leader %s: %s leads; %s", lead, next, c.outages())
	p.docker("start", lead)
	p.returned(c, lead)
	p.see("docker start: %s returns as a replica with all rows", lead)
	p.explain(next, lead, next, "agent-killed", "kill")
}

// pauseLeader freezes the whole container for longer than the ttl. Clients that
// go past the entrypoint, to the old leader's own port, must hear of no write
// once the new leader has taken one.
func (p *project) pauseLeader(c *clients, lead string) {
	direct, next := p.direct(lead), other(lead)
	direct.WaitProgress(p.t, time.Minute)
	p.docker("pause", lead)
	if now := p.takenOver(c, lead, ttl+time.Minute); now != next {
		p.t.Fatalf("%s leads, want %s", now, next)
	}
	after := p.direct(next)
	after.WaitProgress(p.t, time.Minute)
	p.see("docker pause of the leader %s for longer than ttl: %s leads; %s", lead, next, c.outages())
	p.docker("unpause", lead)
	p.returned(c, lead)
	lab.NoneAfter(p.t, direct, after)
	direct.Stop()
	after.Stop()
	p.see("docker unpause: %s answered no write after %s led, and returns as a replica", lead, next)
	p.explain(next, lead, next, "frozen", "pause")
}

func (p *project) disconnectLeader(c *clients, lead string) {
	network := p.name + "_default"
	p.network("disconnect", network, lead)
	next := p.takenOver(c, lead, ttl+time.Minute)
	p.see("the leader %s disconnected from the network: %s leads; %s", lead, next, c.outages())
	p.network("connect", network, lead, "--alias", lead)
	p.returned(c, lead)
	p.see("connected again: %s returns as a replica", lead)
}

func (p *project) network(verb, network, service string, options ...string) {
	p.t.Helper()
	line := append(append([]string{"docker", "network", verb}, options...), network, p.container(service))
	if out, err := p.run(line...); err != nil {
		p.t.Fatalf("%s: %v\n%s", strings.Join(line, " "), err, out)
	}
}

// killStore: without a store nobody may lead for longer than the lease; when it
// is back somebody does, and nothing was lost.
func (p *project) killStore(c *clients, lead string) {
	killed := time.Now()
	p.docker("kill", "zookeeper")
	lab.Until(p.t, ttl+time.Minute, "the end of the leader's lease", func() string {
		if _, err := lab.SQL(p.dsn(lead), "CREATE TEMP TABLE probe ()"); err == nil {
			return lead + " still accepts writes"
		}
		return ""
	})
	fenced := time.Since(killed)
	if rest := time.Minute - time.Since(killed); rest > 0 {
		time.Sleep(rest) // a minute without a store is what the step is about
	}
	p.docker("start", "zookeeper")
	c.progress(2 * time.Minute)
	now := p.waitHealthy(2*time.Minute, nodes...)
	c.noneLost(now)
	p.see("ZooKeeper killed for a minute: %s stopped taking writes %.0f s after it; with ZooKeeper back %s leads; %s", lead, fenced.Seconds(), now, c.outages())
}

func (p *project) stopProject(c *clients, _ string) {
	p.do("--profile", "classic", "--profile", "haproxy", "stop")
	p.do("--profile", "classic", "--profile", "haproxy", "start")
	now := p.waitHealthy(2*time.Minute, nodes...)
	c.progress(time.Minute)
	p.leadsTo(now)
	c.noneLost(now)
	p.see("the whole project stopped and started: %s leads; %s", now, c.outages())
}

// drill practises on the lab as a reader does, and holds the program's own measure
// to the objective.
func (p *project) drill(_ *clients, lead string) {
	for _, scenario := range []string{"switchover", "stop-agent", "kill-postgres"} {
		out, err := p.run(slices.Concat(compose, []string{"run", "--rm", "-T", "drill", scenario, "--yes", "--rto", "20s"})...)
		if err != nil {
			p.t.Errorf("drill %s: %v\n%s", scenario, err, out)
			continue
		}
		p.see("drill %s:\n%s", scenario, out)
		p.waitHealthy(2*time.Minute, nodes...)
		p.waitSync(p.waitLeader(time.Minute, "", nodes...), time.Minute)
	}
}
