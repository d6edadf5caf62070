package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestDrillByCommand practises on hosts that are reached by a command, as real
// ones are by ssh: what was done to the leader is taken back, also by the second
// process when the drill is killed.
func TestDrillByCommand(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded})
	c.StartAll()
	c.WaitHealthy(60 * time.Second)
	d := drilling{t, c, way(t, c)}
	for _, scenario := range []string{"kill-postgres", "pause-agent", "stop-agent", "kill-agent"} {
		t.Run(scenario, func(t *testing.T) {
			d.t = t
			lead := c.Leader()
			if lead == nil {
				t.Fatal("nobody leads")
			}
			before := d.agent(lead)
			out, err := d.command(lead, scenario).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if scenario != "kill-postgres" && c.Leader() == lead {
				t.Errorf("%s leads still\n%s", lead.Name, out)
			}
			d.whole(lead, before, scenario == "stop-agent" || scenario == "kill-agent")
		})
	}
	t.Run("refused", func(t *testing.T) {
		d.t = t
		lead := c.Leader()
		out, err := d.command(lead, "power-off").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "power-off cannot be done by a command of --reach") || !strings.Contains(string(out), "nothing was touched") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	for _, scenario := range []string{"stop-agent", "pause-agent"} {
		t.Run("killed in "+scenario, func(t *testing.T) {
			d.t = t
			d.killed(scenario)
		})
	}
}

// drilling is a cluster with the way to its hosts.
type drilling struct {
	t   *testing.T
	c   *lab.Cluster
	way string
}

// way is a program that runs a command on the host of an address, read by a shell
// there as ssh has it.
func way(t *testing.T, c *lab.Cluster) string {
	text := "#!/bin/sh\nhost=$1; shift\ncase $host in\n"
	for _, m := range c.Members {
		text += fmt.Sprintf("%s) ns=%s;;\n", m.IP, m.Namespace())
	}
	text += "*) echo \"unknown host $host\" >&2; exit 1;;\nesac\nip netns exec $ns sh -c \"$*\"\n"
	file := filepath.Join(c.Net.Dir, "on")
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file + " {host} " + lab.Binary(t)
}

func (d drilling) command(m *lab.Member, scenario string) *exec.Cmd {
	return exec.Command(lab.Binary(d.t), "--api", "http://"+m.IP+":8008", "drill", scenario, "--yes",
		"--reach", d.way, "--entrypoint", d.c.DSN(), "--rto", "120s", "--rpo", "1000000")
}

// made is what a process was made of.
type made struct {
	pid                    int
	argv, env, dir, output string
}

// agent is the agent's process on a member's host.
func (d drilling) agent(m *lab.Member) made {
	pids := m.Find(" agent " + m.File())
	if len(pids) != 1 {
		d.t.Fatalf("%d agents on %s", len(pids), m.Name)
	}
	x := made{pid: pids[0]}
	at := fmt.Sprintf("/proc/%d/", x.pid)
	argv, _ := os.ReadFile(at + "cmdline")
	env, _ := os.ReadFile(at + "environ")
	x.argv, x.env = string(argv), string(env)
	x.dir, _ = os.Readlink(at + "cwd")
	x.output, _ = os.Readlink(at + "fd/1")
	return x
}

// whole waits until the former leader follows, with an agent that is the same or
// was made of the same.
func (d drilling) whole(m *lab.Member, before made, again bool) {
	d.t.Helper()
	lab.Until(d.t, 60*time.Second, m.Name+" to take part", func() string {
		s, err := m.Status()
		if err != nil || s.State != "running" || s.Role != "primary" && s.Repl != "streaming" {
			return fmt.Sprintf("it is %+v (%v)", s, err)
		}
		return ""
	})
	now := d.agent(m)
	if again != (now.pid != before.pid) {
		d.t.Errorf("the agent was process %d, it is %d", before.pid, now.pid)
	}
	before.pid = now.pid
	if now != before {
		d.t.Errorf("the agent was made of %+v, it is of %+v", before, now)
	}
	if left := m.Find("drill-hand"); len(left) > 0 {
		d.t.Errorf("processes %v of the drill are left on %s", left, m.Name)
	}
}

// healthy waits until somebody leads and all others stream. Agents that drills
// have started are none that the lab knows.
func (d drilling) healthy() *lab.Member {
	d.t.Helper()
	var lead *lab.Member
	lab.Until(d.t, 60*time.Second, "a healthy cluster", func() string {
		if lead = d.c.Leader(); lead == nil {
			return "nobody leads"
		}
		for _, m := range d.c.Others(lead) {
			if s, err := m.Status(); err != nil || s.Repl != "streaming" {
				return fmt.Sprintf("%s is %+v (%v)", m.Name, s, err)
			}
		}
		return ""
	})
	return lead
}

// killed kills the drill while the fault lasts.
func (d drilling) killed(scenario string) {
	lead := d.healthy()
	before := d.agent(lead)
	cmd := d.command(lead, scenario)
	log := filepath.Join(d.c.Net.Dir, "killed-"+scenario+".log")
	out, err := os.Create(log)
	if err != nil {
		d.t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	lab.Until(d.t, 60*time.Second, "the fault", func() string {
		if len(lead.Find(" agent "+lead.File())) == 0 || standsStill(before.pid) {
			return ""
		}
		text, _ := os.ReadFile(log)
		return "it has said: " + string(text)
	})
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	lab.Until(d.t, 60*time.Second, "the second process to take everything back", func() string {
		text, _ := os.ReadFile(log)
		// The table comes last.
		if strings.Contains(string(text), "done: drop the drill's table") && !standsStill(before.pid) {
			return ""
		}
		return "it has said: " + string(text)
	})
	d.whole(lead, before, scenario == "stop-agent")
	d.healthy()
}

func standsStill(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return err == nil && len(f) > 0 && f[0] == "T"
}
