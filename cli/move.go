package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/api"
)

// move is one switchover or failover on its way from options and answers to a
// request.
type move struct {
	action    string // "switchover" or "failover"
	leader    string
	candidate string
	scheduled string // as given; "now" and "" are now
	force     bool
	// Which of them were given as options, so that nothing is asked.
	leaderGiven, candidateGiven, scheduledGiven bool
}

func (m move) title() string { return strings.ToUpper(m.action[:1]) + m.action[1:] }

func (a *app) switchoverCommand() *cobra.Command {
	m := move{action: "switchover"}
	c := &cobra.Command{
		Use:   "switchover [CLUSTER]",
		Short: "Move the leadership to another member, planned",
		Long: "Moves the leadership while the leader is alive. What is not given is asked for, with the\n" +
			"cluster shown first. Returns when the outcome is known, and says who leads now.",
		Example: a.examples("{} switchover", "{} switchover --leader n1 --candidate n2 --force",
			"{} switchover --scheduled 2030-01-01T03:00 --force"),
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, names []string) error {
			m.leaderGiven = c.Flags().Changed("leader") || c.Flags().Changed("primary")
			m.candidateGiven = c.Flags().Changed("candidate")
			m.scheduledGiven = c.Flags().Changed("scheduled")
			return a.move(c, clusterArg(names), m)
		},
	}
	c.Flags().StringVar(&m.leader, "leader", "", "`NAME` of the current leader")
	c.Flags().StringVar(&m.leader, "primary", "", "the same as --leader (`NAME`)")
	c.Flags().StringVar(&m.candidate, "candidate", "", "`NAME` of the member that shall lead")
	c.Flags().StringVar(&m.scheduled, "scheduled", "", "`TIME` when, such as 2030-01-01T03:00+01:00; without a zone it is local; now")
	c.Flags().BoolVar(&m.force, "force", false, "do not ask")
	groupFlag(c)
	a.completesMembers(c, "candidate")
	c.ValidArgsFunction = a.completeCluster
	return c
}

func (a *app) failoverCommand() *cobra.Command {
	m := move{action: "failover"}
	c := &cobra.Command{
		Use:   "failover [CLUSTER]",
		Short: "Give the leadership to a member, whether there is a leader or not",
		Long: "Gives the leadership to the member that you name, also to one that is not synchronous. Commits\n" +
			"that it has not received are lost. Prefer switchover while the leader is alive.",
		Example: a.examples("{} failover", "{} failover --candidate n2 --force"),
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, names []string) error {
			m.candidateGiven = c.Flags().Changed("candidate")
			return a.move(c, clusterArg(names), m)
		},
	}
	c.Flags().StringVar(&m.candidate, "candidate", "", "`NAME` of the member that shall lead")
	c.Flags().BoolVar(&m.force, "force", false, "do not ask")
	groupFlag(c)
	a.completesMembers(c, "candidate")
	c.ValidArgsFunction = a.completeCluster
	return c
}

func (a *app) move(c *cobra.Command, name string, m move) error {
	x, s, err := a.look(c, name)
	if err != nil {
		return err
	}
	defer x.close()
	say(c, "Current cluster topology")
	if err := a.printMembers(c, s); err != nil {
		return err
	}
	d := dialog{app: a, x: x, prompt: newPrompter(c), state: s, move: &m}
	if err := d.run(); err != nil {
		return err
	}
	return a.send(c, x, s, m)
}

// dialog completes a move by asking, and checks what can be checked here.
type dialog struct {
	app    *app
	x      *access
	prompt *prompter
	state  state
	move   *move
}

func (d *dialog) run() error {
	for _, step := range []func() error{d.leader, d.candidate, d.when, d.sure} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// leader settles from whom the leadership is taken; a failover does not ask.
func (d *dialog) leader() error {
	m := d.move
	if m.action != "switchover" {
		return nil
	}
	l, ok := d.state.doc.Leader()
	if !ok {
		return errors.New("This cluster has no leader") //nolint:staticcheck // the reference's text
	}
	if !m.leaderGiven {
		m.leader = l.Name
		if !m.force {
			what := "Primary"
			if l.Role == "standby_leader" {
				what = "Standby Leader"
			}
			var err error
			if m.leader, err = d.prompt.ask(what, l.Name); err != nil {
				return err
			}
		}
	}
	if m.leader != l.Name {
		return fmt.Errorf("Member %s is not the leader of cluster %s", m.leader, d.state.doc.Scope) //nolint:staticcheck // the reference's text
	}
	return nil
}

// candidate settles who shall lead.
func (d *dialog) candidate() error {
	m, cl := d.move, d.state.doc
	l, _ := cl.Leader()
	var names []string
	for _, o := range cl.Members {
		if no, _ := o.Tags.Get("nofailover"); o.Name != l.Name && no != true {
			names = append(names, o.Name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return fmt.Errorf("No candidates found to %s to", m.action) //nolint:staticcheck // the reference's text
	}
	if !m.candidateGiven && !m.force {
		var err error
		if m.candidate, err = d.prompt.ask(fmt.Sprintf("Candidate ['%s']", strings.Join(names, "', '")), ""); err != nil {
			return err
		}
	}
	switch {
	case m.candidate == "" && m.action == "failover":
		return errors.New("Failover could be performed only to a specific candidate") //nolint:staticcheck // the reference's text
	case m.candidate == "":
		return nil
	case m.candidate == l.Name:
		return fmt.Errorf("Member %s is already the leader of cluster %s", m.candidate, cl.Scope) //nolint:staticcheck // the reference's text
	case !slices.Contains(names, m.candidate):
		return fmt.Errorf("Member %s does not exist in cluster %s or is tagged as nofailover", m.candidate, cl.Scope) //nolint:staticcheck // the reference's text
	}
	return d.asynchronous()
}

// asynchronous warns before a failover to a member that may lack commits.
func (d *dialog) asynchronous() error {
	m := d.move
	if m.action != "failover" || m.force {
		return nil
	}
	listed := slices.ContainsFunc(d.state.doc.Members, func(o api.MemberDoc) bool {
		return o.Name == m.candidate && (o.Role == "sync_standby" || o.Role == "quorum_standby")
	})
	if listed || !d.x.synchronous(d.x.cmd.Context()) {
		return nil
	}
	yes, err := d.prompt.confirm(fmt.Sprintf("Are you sure you want to failover to the asynchronous node %s?", m.candidate))
	if err != nil {
		return err
	}
	if !yes {
		return d.refusal()
	}
	return nil
}

func (d *dialog) refusal() error { return fmt.Errorf("Aborting %s", d.move.action) }

// when settles the time of a switchover; scheduled becomes an ISO time or empty.
func (d *dialog) when() error {
	m := d.move
	if m.action != "switchover" {
		return nil
	}
	now := d.app.opts.Now()
	if !m.scheduledGiven && !m.force {
		var err error
		question := fmt.Sprintf("When should the switchover take place (e.g. %s ) ", now.Add(time.Hour).Format("2006-01-02T15:04"))
		if m.scheduled, err = d.prompt.ask(question, "now"); err != nil {
			return err
		}
	}
	var err error
	if m.scheduled, err = scheduledTime(m.scheduled, now); err == nil && m.scheduled != "" && d.state.doc.Pause {
		err = errors.New("Can't schedule switchover in the paused state") //nolint:staticcheck // the reference's text
	}
	return err
}

// sure asks once more with everything said.
func (d *dialog) sure() error {
	m := d.move
	if m.force {
		return nil
	}
	demoting := ""
	if l, ok := d.state.doc.Leader(); ok {
		demoting = ", demoting current leader " + l.Name
	}
	question := fmt.Sprintf("Are you sure you want to %s cluster %s%s?", m.action, d.state.doc.Scope, demoting)
	if m.scheduled != "" {
		question = fmt.Sprintf("Are you sure you want to schedule %s of cluster %s at %s%s?", m.action, d.state.doc.Scope, m.scheduled, demoting)
	}
	yes, err := d.prompt.confirm(question)
	if err != nil {
		return err
	}
	if !yes {
		return d.refusal()
	}
	return nil
}
