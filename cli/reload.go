package cli

import (
	"net/http"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/client"
)

func (a *app) reloadCommand() *cobra.Command {
	var o choosing
	c := &cobra.Command{
		Use:   "reload [CLUSTER [MEMBER...]]",
		Short: "Make members read their configuration files again",
		Long: "Makes members read their own configuration files again, as SIGHUP does: all, or those named,\n" +
			"or those of a role. A member whose file is wrong says so and keeps what it had.",
		Example: a.examples("{} reload demo", "{} reload demo n1 n2 --force", "{} reload demo -r replica"),
		RunE:    func(c *cobra.Command, names []string) error { return a.reload(c, names, o) },
	}
	roleFlag(c, &o.role, "only members with this role")
	c.Flags().BoolVar(&o.force, "force", false, "do not ask")
	groupFlag(c)
	c.ValidArgsFunction = a.completeMembers
	return c
}

func (a *app) reload(c *cobra.Command, names []string, o choosing) error {
	name, members, err := a.clusterAndMembers(c, names)
	if err != nil {
		return err
	}
	o.action, o.names = "reload", members
	t, err := a.choose(c, name, o)
	if err != nil {
		return err
	}
	defer t.x.close()
	if err := t.sure("reload", ""); err != nil {
		return err
	}
	loopWait := t.x.loopWait(c.Context())
	var end outcome
	for _, an := range t.askEach(t.members, func(base string) (client.Reply, error) { return t.x.rest.Reload(c.Context(), base) }) {
		end.count(an)
		switch {
		case an.err == nil && an.reply.Code == http.StatusOK:
			say(c, "No changes to apply on member %s", an.member.Name)
		case an.err == nil && an.reply.OK():
			say(c, "Reload request received for member %s and will be processed within %.0f seconds", an.member.Name, loopWait.Seconds())
		default:
			t.failed("reload", an)
		}
	}
	return end.exit(a)
}
