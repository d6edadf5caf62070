package compose

import (
	"fmt"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// clients are two that write all the time, one through each load balancer, into
// tables of their own, so that both feel the same events.
type clients struct {
	p              *project
	entry, haproxy *lab.Writer
}

func (p *project) clients() *clients {
	p.sql("entrypoint", "CREATE TABLE written (id bigint PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())")
	const apart = 1 << 40 // the two never use the same number
	return &clients{
		p:       p,
		entry:   lab.WriteTo(p.t, p.dsn("entrypoint"), 1),
		haproxy: lab.WriteTo(p.t, p.dsn("haproxy"), apart),
	}
}

// with is the same clients under a part's own test; the time before it does not
// count as an outage.
func (c *clients) with(t *testing.T) *clients {
	q := *c
	q.p = c.p.with(t)
	q.progress(time.Minute)
	q.entry.Gap()
	q.haproxy.Gap()
	return &q
}

func (c *clients) stop() {
	c.entry.Stop()
	c.haproxy.Stop()
}

// progress waits until both write.
func (c *clients) progress(limit time.Duration) {
	c.p.t.Helper()
	c.entry.WaitProgress(c.p.t, limit)
	c.haproxy.WaitProgress(c.p.t, limit)
}

// outages are the longest times without an acknowledged write since asked last.
func (c *clients) outages() string {
	return fmt.Sprintf("longest time without a write: %.2f s through the entrypoint, %.2f s through HAProxy",
		c.entry.Gap().Seconds(), c.haproxy.Gap().Seconds())
}

// noneLost: what either was told is written is there.
func (c *clients) noneLost(node string) {
	c.p.t.Helper()
	for name, w := range map[string]*lab.Writer{"the entrypoint": c.entry, "HAProxy": c.haproxy} {
		// What was acknowledged a moment ago may not be replayed yet.
		acked := w.Acks()
		lab.Until(c.p.t, 30*time.Second, "the rows acknowledged through "+name+" on "+node, func() string {
			lost, err := lab.Missing(c.p.dsn(node), acked)
			switch {
			case err != nil:
				return err.Error()
			case len(lost) > 0:
				return fmt.Sprintf("%d of %d rows are missing, such as %d", len(lost), len(acked), lost[0])
			}
			return ""
		})
	}
}

// direct writes on a node's own port, whether or not it leads.
func (p *project) direct(node string) *lab.Writer {
	first := int64(1) << 50
	if node == "pg-slave" {
		first <<= 1
	}
	return lab.WriteTo(p.t, p.dsn(node), first+time.Now().UnixNano()>>20)
}
