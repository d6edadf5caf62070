package cli

import (
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/client"
)

// reinit is what the options say.
type reinit struct {
	choosing
	fromLeader, wait bool
}

func (a *app) reinitCommand() *cobra.Command {
	var o reinit
	c := &cobra.Command{
		Use:   "reinit [CLUSTER [MEMBER...]]",
		Short: "Copy the data of replicas anew",
		Long: "Makes replicas copy their data anew. With --wait it shows how far the copy is, and ends when\n" +
			"the member runs again from the new data.",
		Example: a.examples("{} reinit demo n2", "{} reinit demo n2 --force --wait"),
		RunE:    func(c *cobra.Command, names []string) error { return a.reinit(c, names, o) },
	}
	c.Flags().BoolVar(&o.force, "force", false, "do not ask, and end what the member is doing")
	c.Flags().BoolVar(&o.fromLeader, "from-leader", false, "copy from the leader, not from a replica")
	c.Flags().BoolVar(&o.wait, "wait", false, "wait until it is done")
	groupFlag(c)
	c.ValidArgsFunction = a.completeMembers
	return c
}

func (a *app) reinit(c *cobra.Command, names []string, o reinit) error {
	name, members, err := a.clusterAndMembers(c, names)
	if err != nil {
		return err
	}
	o.action, o.names, o.role, o.oneOf = "reinitialize", members, "replica", true
	t, err := a.choose(c, name, o.choosing)
	if err != nil {
		return err
	}
	defer t.x.close()
	if err := t.sure("reinitialize", ""); err != nil {
		return err
	}
	before := each(t.members, func(m api.MemberDoc) waitingFor { return t.beforeReinit(m) })
	var end outcome
	var waiting []waitingFor
	for i, an := range t.askReinit(client.Reinitialize{Force: o.force, FromLeader: o.fromLeader}) {
		if an, err = t.insist(an, o); err != nil {
			return err
		}
		end.count(an)
		if an.err != nil || !an.reply.OK() {
			if !an.said {
				t.failed("reinitialize", an)
			}
			continue
		}
		say(c, "Success: reinitialize for member %s", an.member.Name)
		waiting = append(waiting, before[i])
	}
	switch {
	case len(waiting) == 0:
	case o.wait:
		t.awaitReinit(waiting, &end)
	case !a.opts.Patronictl:
		warn(c, "It goes on in the background; %s", a.howToFollow())
	}
	return end.exit(a)
}

func (t *acting) askReinit(r client.Reinitialize) []answer {
	return t.askEach(t.members, func(base string) (client.Reply, error) { return t.x.rest.Reinitialize(t.cmd.Context(), base, r) })
}

// insist asks whether to end what the member is doing instead, and asks it
// again.
func (t *acting) insist(an answer, o reinit) (answer, error) {
	if an.err != nil || an.reply.OK() || o.force || !strings.HasSuffix(an.reply.Text, " already in progress") {
		return an, nil
	}
	t.failed("reinitialize", an)
	yes, err := t.prompt.confirm("Do you want to cancel it and reinitialize anyway?")
	if err != nil || !yes {
		an.said = true
		return an, err
	}
	an.reply, an.err = t.x.rest.Reinitialize(t.cmd.Context(), client.Base(an.member.APIURL), client.Reinitialize{Force: true, FromLeader: o.fromLeader})
	return an, nil
}

// linewise lets several goroutines tell what they see, a line at a time.
type linewise struct {
	mu  sync.Mutex
	cmd *cobra.Command
}

func (l *linewise) say(format string, values ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	say(l.cmd, format, values...)
}

func (l *linewise) warn(format string, values ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	warn(l.cmd, format, values...)
}
