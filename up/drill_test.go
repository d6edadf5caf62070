package up

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/internal/proc"
)

// exercise is one `matriarch drill` on the lab's cluster.
type exercise struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
	done     chan error
}

// drill starts a drill.
func (r *running) drill(args ...string) *exercise {
	r.t.Helper()
	x := &exercise{cmd: r.command(r.prog, append([]string{"-c", filepath.Join(r.dir, "n1", "n1.yml"), "drill", "--yes", "--format", "json"}, args...)...),
		done: make(chan error, 1)}
	x.cmd.Stdout, x.cmd.Stderr = &x.out, &x.err
	if err := x.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	// It waits for the second process too, which has the same standard error.
	go func() { x.done <- x.cmd.Wait() }()
	r.t.Cleanup(func() { x.cmd.Process.Kill() })
	return x
}

// report is what the tests read of a drill's report.
type report struct {
	LeaderBefore string   `json:"leader_before"`
	LeaderAfter  string   `json:"leader_after"`
	Left         []string `json:"not_as_before"`
	Interrupted  bool     `json:"interrupted"`
	Notes        []string `json:"notes"`
	Failed       string   `json:"failed"`
	Measured     *struct {
		Outage float64 `json:"outage_seconds"`
		Open   bool    `json:"outage_open"`
		Writes struct {
			Acknowledged int `json:"acknowledged"`
		} `json:"writes"`
		Check struct {
			Rows, Lost int
			Refused    int `json:"refused_but_there"`
			Strange    int `json:"strange"`
		} `json:"check"`
	} `json:"measured"`
	Verdict *struct {
		Met bool `json:"met"`
	} `json:"verdict"`
}

// wait waits for the end of a drill and of its second process.
func (x *exercise) wait(t *testing.T) (code int, r report) {
	t.Helper()
	select {
	case <-x.done:
	case <-time.After(5 * time.Minute):
		t.Fatalf("the drill does not end:\n%s", x.err.String())
	}
	if x.out.Len() > 0 {
		if err := json.Unmarshal(x.out.Bytes(), &r); err != nil {
			t.Fatalf("%v:\n%s", err, x.out.String())
		}
	}
	return x.cmd.ProcessState.ExitCode(), r
}

// TestDrills runs real drills on a real cluster.
func TestDrills(t *testing.T) {
	r := newLab(t, buildProgram(t), nil).up("--base-port", strconv.Itoa(testBase(t, 3)))
	defer r.interrupt()
	r.settings("ttl=8", "loop_wait=1", "retry_timeout=2")
	for _, k := range []struct {
		scenario string
		moves    bool // another member leads for certain
	}{
		{"switchover", true}, {"kill-postgres", false}, {"stop-agent", true}, {"pause-agent", true}, {"power-off", true}, {"kill-agent", false},
	} {
		t.Run(k.scenario, func(t *testing.T) { r.measured(t, k.scenario, k.moves) })
	}
	t.Run("a person says no", r.unconfirmed)
	t.Run("interrupted", r.interrupted)
	t.Run("killed", r.killed)
	t.Run("not healthy", r.unhealthy)
}

// measured runs a drill to its verdict.
func (r *running) measured(t *testing.T, scenario string, moves bool) {
	code, rep := r.drill(scenario, "--rto", "2m").wait(t)
	if code != 0 || rep.Verdict == nil || !rep.Verdict.Met || len(rep.Left) > 0 {
		t.Fatalf("exit %d, %+v", code, rep)
	}
	if len(rep.Notes) > 0 { // that the fault showed no effect, for one
		t.Errorf("noted: %q", rep.Notes)
	}
	m := rep.Measured
	if m.Check.Lost+m.Check.Refused+m.Check.Strange != 0 || m.Check.Rows < m.Writes.Acknowledged || m.Writes.Acknowledged == 0 || m.Outage <= 0 || m.Open {
		t.Errorf("%+v", m)
	}
	if moved := rep.LeaderAfter != rep.LeaderBefore; moves && !moved {
		t.Errorf("%s led before and after", rep.LeaderAfter)
	}
	t.Logf("outage %.3f s, %d rows", m.Outage, m.Check.Rows)
	r.asBefore(t)
}

// asBefore: all members run and follow one leader, and no drill left anything.
func (r *running) asBefore(t *testing.T) {
	t.Helper()
	c, err := client.New(client.Options{Timeout: askTimeout})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := r.plan(t)
	for until := time.Now().Add(2 * time.Minute); !whole(look(t.Context(), c, p.servers())); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("the cluster is not whole: %+v", look(t.Context(), c, p.servers()))
		}
	}
	for _, m := range p.members {
		if who := heldDown(m, false); who != "" {
			t.Errorf("%s is held: %s", m.name, who)
		}
		if !m.witness {
			a, err := recordIn(filepath.Join(m.dir, "agent.pid"))
			if stat, _ := os.ReadFile("/proc/" + strconv.Itoa(a.PID) + "/stat"); err != nil || strings.Contains(string(stat), ") T ") {
				t.Errorf("the agent of %s: %v %s", m.name, err, stat)
			}
		}
	}
	for until := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // the connection may be cut once more
		out, err := r.command("psql", "-w", "-X", "-At", r.rw, "-c", `select count(*) from pg_namespace where nspname like 'matriarch\_drill%'`).Output()
		if err == nil && strings.TrimSpace(string(out)) == "0" {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("a drill's schema is left: %s, %v", out, err)
		}
	}
}

func (r *running) plan(t *testing.T) plan {
	t.Helper()
	var rec record
	if err := readJSON(filepath.Join(r.dir, recordName), &rec); err != nil {
		t.Fatal(err)
	}
	return newPlan(r.dir, rec)
}

// settings changes the cluster's dynamic configuration, and waits until it holds.
func (r *running) settings(values ...string) {
	r.t.Helper()
	args := []string{"-c", filepath.Join(r.dir, "n1", "n1.yml"), "edit-config", "--force"}
	for _, v := range values {
		args = append(args, "-s", v)
	}
	if out, err := r.command(r.prog, args...).CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
}

// unconfirmed: without a terminal and without --yes nothing begins.
func (r *running) unconfirmed(t *testing.T) {
	out, err := r.command(r.prog, "-c", filepath.Join(r.dir, "n1", "n1.yml"), "drill", "power-off").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--yes begins without a question") {
		t.Errorf("%v:\n%s", err, out)
	}
	r.asBefore(t)
}

// paused waits until an agent stands still, and returns its record.
func (r *running) paused(t *testing.T) pidRecord {
	t.Helper()
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		for _, m := range r.plan(t).servers() {
			a, err := recordIn(filepath.Join(m.dir, "agent.pid"))
			if stat, _ := os.ReadFile("/proc/" + strconv.Itoa(a.PID) + "/stat"); err == nil && strings.Contains(string(stat), ") T ") {
				return a
			}
		}
	}
	t.Fatal("no agent stands still")
	return pidRecord{}
}

// interrupted is Ctrl-C while an agent stands still: it goes on at once.
func (r *running) interrupted(t *testing.T) {
	x := r.drill("pause-agent")
	agent := r.paused(t)
	x.cmd.Process.Signal(syscall.SIGINT)
	code, rep := x.wait(t)
	if code != 1 || !rep.Interrupted || rep.Verdict != nil || len(rep.Left) > 0 {
		t.Errorf("exit %d, %+v\n%s", code, rep, x.err.String())
	}
	if !agent.Alive() {
		t.Error("the agent did not go on")
	}
	r.asBefore(t)
}

// killed is SIGKILL of the drill while the power of a member is off.
func (r *running) killed(t *testing.T) {
	x := r.drill("power-off")
	p := r.plan(t)
	dark := func(m member) bool {
		_, err := recordIn(filepath.Join(m.dir, "agent.pid"))
		return heldDown(m, true) != "" && err != nil && len(proc.InServer(m.data())) == 0 && !storeRuns(m)
	}
	for until := time.Now().Add(time.Minute); !slices.ContainsFunc(p.servers(), dark); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("no member lost its power:\n%s", x.err.String())
		}
	}
	x.cmd.Process.Kill()
	if code, _ := x.wait(t); code != -1 {
		t.Errorf("exit %d", code)
	}
	if !strings.Contains(x.err.String(), "done: drop the drill's table") {
		t.Errorf("the second process did not say what it did:\n%s", x.err.String())
	}
	r.asBefore(t)
}

// unhealthy: with a replica down no drill begins.
func (r *running) unhealthy(t *testing.T) {
	c, err := client.New(client.Options{Timeout: askTimeout})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := r.plan(t)
	doc, err := c.Cluster(t.Context(), p.members[0].base())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(doc.Members, func(m api.MemberDoc) bool { return !m.Leads() })
	replica := p.members[slices.IndexFunc(p.members, func(m member) bool { return m.name == doc.Members[i].Name })]
	agent, err := recordIn(filepath.Join(replica.dir, "agent.pid"))
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Send(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer agent.Send(syscall.SIGCONT)
	x := r.drill("power-off")
	code, _ := x.wait(t)
	if said := x.err.String(); code != 1 || !strings.Contains(said, "nothing was touched") || !strings.Contains(said, replica.name+" does not answer") {
		t.Errorf("exit %d\n%s", code, said)
	}
	agent.Send(syscall.SIGCONT)
	r.asBefore(t)
}
