package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/matriarch-ha/matriarch/drill"
)

// DrillOptions are what `drill` needs from the program beyond this package.
type DrillOptions struct {
	// Finders are the ways to members' processes, in the order to try them.
	Finders []drill.Finder
	// Undoers are what its steps may need to be undone.
	Undoers drill.Undoers
	// Second starts the second process (see drill.RunSecond); nil: this program
	// with the argument drill-undo.
	Second []string
}

// exercise is what the options of `drill` say.
type exercise struct {
	scenario   drill.Scenario
	entrypoint string
	reach      string
	candidate  string
	rto        time.Duration
	rpo        int
	clients    int
	every      time.Duration
	back, yes  bool
	format     string
}

func (a *app) drillCommand() *cobra.Command {
	var o exercise
	var said []string
	for _, s := range drill.Scenarios() {
		said = append(said, fmt.Sprintf("  %-19s %s", s, s.What("the leader")))
	}
	c := &cobra.Command{
		Use:   "drill SCENARIO",
		Short: "Practise a failover on the live cluster, and measure it",
		Long: "Does something to the leader of a live cluster while a client writes through the entrypoint, waits\n" +
			"until the cluster is whole again, checks every acknowledged row, and compares the outage and the\n" +
			"losses with the objective. It writes into a table of its own, which it drops.\n\n" +
			strings.Join(said, "\n") + "\n\n" +
			"It asks before it begins, and refuses while the cluster is not healthy. What it stopped, paused or\n" +
			"cut off is undone also when it is interrupted or killed. Another member leads afterwards, unless\n" +
			"--return is given. docs/drill.md has the rest.\n\n" +
			"Exit codes: 0 the objective was met; 4 it was not; 1 refused or failed, and the cluster is as before;\n" +
			"3 the cluster is not as it was yet, and the last lines say in what.",
		Example: a.examples("{} -c /var/lib/matriarch/demo/n1/n1.yml drill switchover",
			"{} -c n1.yml drill kill-postgres --rto 5s --yes --format json",
			"{} -c n1.yml drill stop-agent --reach 'ssh root@{host}'",
			"{} -c n1.yml drill switchover --entrypoint 'host=db.example port=5000 user=app dbname=app'"),
		Args:      args(oneScenario),
		ValidArgs: drill.Names(),
		RunE: func(c *cobra.Command, names []string) (err error) {
			if o.scenario, err = drill.ParseScenario(names[0]); err != nil {
				return usage(c, err)
			}
			return a.drill(c, o)
		},
	}
	f := c.Flags()
	f.DurationVar(&o.rto, "rto", 10*time.Second, "longest outage that is allowed, as `TIME` such as 10s")
	f.IntVar(&o.rpo, "rpo", 0, "how many acknowledged `ROWS` may be lost")
	f.StringVar(&o.entrypoint, "entrypoint", "", "connection string (`DSN`) of the entrypoint, as psql takes it")
	f.StringVar(&o.reach, "reach", "", "`WAY` to the members' processes: up, up:DIR, docker, docker:PROJECT, or a command such as 'ssh root@{host}'; up and docker are found by themselves where possible")
	f.StringVar(&o.candidate, "candidate", "", "`NAME` of the member that shall lead after a switchover")
	f.IntVar(&o.clients, "clients", 4, "number of connections that write")
	f.DurationVar(&o.every, "every", 20*time.Millisecond, "`TIME` between two writes of one connection")
	f.BoolVar(&o.back, "return", false, "move the leadership back at the end, by a switchover")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
	o.format = "text"
	chosen(c, choice{value: &o.format, allowed: []string{"text", "json"}, kind: "FORMAT"}, "format", "", "of the report")
	a.completesMembers(c, "candidate")
	return c
}

func (o exercise) check(c *cobra.Command) error {
	var err error
	switch {
	case o.rto < 0:
		err = fmt.Errorf("--rto %s: must not be negative", o.rto)
	case o.rpo < 0:
		err = fmt.Errorf("--rpo %d: must not be negative", o.rpo)
	case o.every < time.Millisecond || o.every > time.Second:
		err = fmt.Errorf("--every %s: must be from 1ms to 1s", o.every)
	case o.candidate != "" && o.scenario != drill.Switchover:
		err = fmt.Errorf("--candidate belongs to switchover: after %s the members decide who leads", o.scenario)
	}
	if err != nil {
		return usage(c, err)
	}
	return nil
}

// drill prepares, asks, runs and reports.
func (a *app) drill(c *cobra.Command, o exercise) error {
	if err := o.check(c); err != nil {
		return err
	}
	x, _, err := a.look(c, "")
	if err != nil {
		return err
	}
	defer x.close()
	p := &preparing{app: a, cmd: c, x: x, opts: o, members: drill.NewMembers(x.rest, x.bases)}
	r, err := p.run()
	if p.table != nil {
		defer p.table.Close()
	}
	if err != nil {
		return err
	}
	if err := p.sure(r); err != nil {
		return err
	}
	second, err := a.startSecond()
	if err != nil {
		return err
	}
	defer second.Release()
	r.Watch = second
	report := a.practise(c, r)
	a.addStory(c, x, p.members, &report)
	if err := printReport(c, report, o.format); err != nil {
		return err
	}
	return drillExit(report)
}

// practise runs it with the signals that end it.
func (a *app) practise(c *cobra.Command, r *drill.Run) drill.Report {
	hurry, stop := context.WithCancel(context.WithoutCancel(c.Context()))
	defer stop()
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	go interrupts(signals, done, r.Progress, cancel, stop)
	return r.Do(ctx, hurry)
}

// oneSignal: what arrives sooner after the first signal is the same wish, since
// programs around this one may pass the terminal's on.
const oneSignal = 500 * time.Millisecond

// interrupts ends the drill at the first signal, and its waiting at the second.
func interrupts(signals <-chan os.Signal, done <-chan struct{}, tell drill.Progress, first, second func()) {
	var at time.Time
	for {
		select {
		case <-done:
			return
		case <-signals:
		}
		switch {
		case at.IsZero():
			at = time.Now()
			tell.Say("interrupted: leaving the cluster as it was found. A second interrupt ends the waiting and leaves the rest to another process")
			first()
		case time.Since(at) > oneSignal:
			tell.Say("not waiting any more: another process undoes what is left")
			second()
		}
	}
}

// startSecond starts the process that undoes when this one cannot.
func (a *app) startSecond() (*drill.Second, error) {
	command := a.opts.Drill.Second
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		command = []string{self, "drill-undo"}
	}
	return drill.StartSecond(command, a.opts.Env)
}

// sure shows what will be done, and asks.
func (p *preparing) sure(r *drill.Run) error {
	l, _ := r.Before.Leader()
	warn(p.cmd, "Drill %s on cluster %s: %s.", r.Scenario, r.Before.Scope, r.Scenario.What(l.Name))
	for _, s := range r.Steps {
		warn(p.cmd, "  - %s", s.Say)
	}
	warn(p.cmd, "%d connections write through the entrypoint meanwhile; clients lose their connections once. The objective: outage at most %s, at most %d rows lost.",
		r.Clients, r.Objective.RTO, r.Objective.RPO)
	if p.opts.yes {
		return nil
	}
	if in, ok := p.cmd.InOrStdin().(*os.File); ok && !term.IsTerminal(int(in.Fd())) {
		return errors.New("nobody can be asked, since the input is no terminal: nothing was done. --yes begins without a question")
	}
	yes, err := newPrompter(p.cmd).confirm("Begin?")
	if err == nil && !yes {
		return aborted()
	}
	return err
}

// drillExit turns the report into an exit code; all was said.
func drillExit(r drill.Report) error {
	switch {
	case len(r.Left) > 0:
		return &exitError{code: exitRunning}
	case r.Verdict == nil:
		return &exitError{code: exitFailed}
	case !r.Verdict.Met:
		return &exitError{code: exitNotMet}
	}
	return nil
}

// oneScenario refuses a command line that does not name exactly one.
func oneScenario(_ *cobra.Command, names []string) error {
	if len(names) != 1 {
		return fmt.Errorf("name one scenario: %s", strings.Join(drill.Names(), ", "))
	}
	return nil
}
