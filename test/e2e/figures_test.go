package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// figures collects the lines of the report.
type figures struct {
	mu    sync.Mutex
	lines map[string]string
}

func (f *figures) add(order, line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines[order] = line
}

func (f *figures) section(prefix string) string {
	var b strings.Builder
	var keys []string
	for k := range f.lines {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		b.WriteString(f.lines[k] + "\n")
	}
	return b.String()
}

// outage is one way to lose the primary.
type outage struct {
	order, name string
	do          func(t *testing.T, c *lab.Cluster, lead *lab.Member)
}

// The ways to lose a primary that cost little time, and the one that costs a ttl.
var quick = []outage{
	{"1", "agent told to stop (SIGTERM)", func(t *testing.T, c *lab.Cluster, lead *lab.Member) {
		lead.Agent.Signal(syscall.SIGTERM)
		if _, err := lead.Agent.Wait(60 * time.Second); err != nil {
			t.Fatal(err)
		}
		c.WaitLeader(60*time.Second, lead)
		lead.StartAgent()
	}},
	{"2", "switchover", func(t *testing.T, c *lab.Cluster, lead *lab.Member) {
		code, body, err := lead.Send("POST", "/switchover", `{"leader":"`+lead.As()+`"}`, 60*time.Second)
		if err != nil || code != 200 {
			t.Fatalf("switchover: %d %s %v", code, body, err)
		}
	}},
	{"3", "PostgreSQL killed (SIGKILL)", func(t *testing.T, c *lab.Cluster, lead *lab.Member) {
		_ = syscall.Kill(lead.Postmaster(), syscall.SIGKILL)
	}},
}

var powerOff = outage{"4", "host powered off", func(t *testing.T, c *lab.Cluster, lead *lab.Member) {
	lead.PowerOff()
	c.WaitLeader(100*time.Second, lead)
	lead.PowerOn()
	lead.StartAgent()
}}

const figureRuns = 3

// TestFigures measures what clients see of each way to lose a primary, and what
// the program costs when nothing happens, and prints a table. With
// MATRIARCH_FIGURES the table goes to that file too.
func TestFigures(t *testing.T) {
	slow(t)
	f := &figures{lines: map[string]string{}}
	for _, kind := range stores {
		for _, k := range []struct {
			timing  [3]int
			sync    bool
			outages []outage
		}{
			{[3]int{30, 10, 10}, false, append(slices.Clone(quick), powerOff)},
			{[3]int{20, 1, 3}, false, []outage{powerOff}},
			{[3]int{30, 10, 10}, true, []outage{powerOff}},
		} {
			name := fmt.Sprintf("%s, %d/%d/%d", kind, k.timing[0], k.timing[1], k.timing[2])
			if k.sync {
				name += ", synchronous"
			}
			t.Run(name, func(t *testing.T) {
				measureCluster(t, f, name, kind, k.timing, k.sync, k.outages)
			})
		}
	}
	report := "| store, ttl/loop_wait/retry_timeout | event | longest gap between acknowledged writes, s | rows acknowledged and lost |\n|---|---|---|---|\n" + f.section("outage") +
		"\n| store | from nothing to a primary and two streaming replicas, s |\n|---|---|\n" + f.section("start") +
		"\n| idle, loop_wait 10 | processes | PSS, MB | of that not the program file | CPU, s per minute |\n|---|---|---|---|---|\n" + f.section("idle")
	fmt.Println(report)
	if path := os.Getenv("MATRIARCH_FIGURES"); path != "" {
		if err := os.WriteFile(path, []byte(report), 0o644); err != nil {
			t.Error(err)
		}
	}
}

func measureCluster(t *testing.T, f *figures, name string, kind lab.StoreKind, timing [3]int, synchronous bool, outages []outage) {
	o := lab.Options{Store: kind, Timing: timing}
	if synchronous {
		o.DCS = "    synchronous_mode: true\n"
	}
	c := lab.NewCluster(t, o)
	for _, m := range c.Members {
		m.OwnBinary()
	}
	if kind == lab.ZooKeeper {
		c.WaitStore(30 * time.Second)
	}
	start := time.Now()
	c.StartAll()
	c.WaitHealthy(90 * time.Second)
	f.add("start "+name, fmt.Sprintf("| %s | %.1f |", name, time.Since(start).Seconds()))
	if len(outages) > 1 {
		measureIdle(t, f, c, string(kind))
	}
	w := lab.StartWriter(t, c.DSN())
	for _, out := range outages {
		var gaps, losses []string
		for range figureRuns {
			lead := c.WaitHealthy(90 * time.Second)
			if synchronous {
				waitSync(t, c, lead, 60*time.Second)
			}
			w.WaitProgress(t, 30*time.Second)
			w.Gap()
			mark := w.Count()
			out.do(t, c, lead)
			w.WaitProgress(t, 60*time.Second)
			gaps = append(gaps, fmt.Sprintf("%.2f", w.Gap().Seconds()))
			now := c.WaitHealthy(90 * time.Second)
			w.WaitProgress(t, 30*time.Second)
			losses = append(losses, fmt.Sprint(lostSince(t, w, now, mark)))
		}
		t.Logf("%s: %s: gaps %v, lost %v", name, out.name, gaps, losses)
		f.add("outage "+out.order+out.name+name, fmt.Sprintf("| %s | %s | %s | %s |", name, out.name, strings.Join(gaps, ", "), strings.Join(losses, ", ")))
		if synchronous && strings.Join(losses, "") != strings.Repeat("0", figureRuns) {
			t.Errorf("acknowledged rows were lost in synchronous mode: %v", losses)
		}
	}
	w.Stop()
}

// lostSince counts the rows acknowledged after the mark that a server lacks.
func lostSince(t *testing.T, w *lab.Writer, m *lab.Member, mark int) int {
	t.Helper()
	acks := w.Acks()
	late := map[int64]bool{}
	for _, a := range acks[mark:] {
		late[a.ID] = true
	}
	n := 0
	for _, id := range w.Lost(t, m.DSN()) {
		if late[id] {
			n++
		}
	}
	return n
}

// measureIdle watches an idle cluster for a minute.
func measureIdle(t *testing.T, f *figures, c *lab.Cluster, kind string) {
	t.Helper()
	lead := c.Leader()
	hosts := map[string]*lab.Host{"primary": lead.Host, "replica": c.Others(lead)[0].Host, "entrypoint": c.Entry}
	before := map[string]map[string]lab.Usage{}
	for what, h := range hosts {
		before[what] = byRole(h.Usage())
	}
	time.Sleep(time.Minute) // what is measured is that nothing happens
	for what, h := range hosts {
		var agent lab.Usage
		for role, u := range byRole(h.Usage()) {
			u.CPU -= before[what][role].CPU
			if role == "agent" || role == "guard" {
				agent.PSS += u.PSS
				agent.Anon += u.Anon
				agent.CPU += u.CPU
				continue
			}
			f.add("idle "+kind+what+role, fmt.Sprintf("| %s, %s | %s | %.1f | %.1f | %.2f |", kind, what, role, float64(u.PSS)/1024, float64(u.Anon)/1024, u.CPU.Seconds()))
		}
		if agent.PSS > 0 {
			f.add("idle "+kind+what, fmt.Sprintf("| %s, %s | agent and guard | %.1f | %.1f | %.2f |", kind, what, float64(agent.PSS)/1024, float64(agent.Anon)/1024, agent.CPU.Seconds()))
		}
	}
}

func byRole(us []lab.Usage) map[string]lab.Usage {
	out := map[string]lab.Usage{}
	for _, u := range us {
		out[u.Role] = u
	}
	return out
}
