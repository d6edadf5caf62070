package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
)

func (a *app) flushCommand() *cobra.Command {
	var o choosing
	c := &cobra.Command{
		Use:   "flush [CLUSTER [MEMBER...]] restart|switchover",
		Short: "Withdraw what is scheduled",
		Long: "Withdraws the scheduled restarts of members (all, or those named, or those of a role), or the\n" +
			"cluster's scheduled switchover.",
		Example: a.examples("{} flush demo switchover", "{} flush demo n1 restart --force"),
		RunE:    func(c *cobra.Command, names []string) error { return a.flush(c, names, o) },
	}
	roleFlag(c, &o.role, "only members with this role")
	c.Flags().BoolVar(&o.force, "force", false, "do not ask")
	groupFlag(c)
	c.ValidArgsFunction = a.completeFlush
	return c
}

// flushTargets are what can be scheduled.
func flushTargets() []string { return []string{"restart", "switchover"} }

func (a *app) flush(c *cobra.Command, names []string, o choosing) error {
	if len(names) == 0 {
		return usage(c, errors.New("say what to withdraw: restart or switchover"))
	}
	target := names[len(names)-1]
	if !slices.Contains(flushTargets(), target) {
		return usage(c, fmt.Errorf("%q is not one of restart, switchover", target))
	}
	name, members, err := a.clusterAndMembers(c, names[:len(names)-1])
	if err != nil {
		return err
	}
	if target == "switchover" {
		return a.flushSwitchover(c, name)
	}
	o.action, o.names = "flush", members
	return a.flushRestarts(c, name, o)
}

func (a *app) flushRestarts(c *cobra.Command, name string, o choosing) error {
	t, err := a.choose(c, name, o)
	if err != nil {
		return err
	}
	defer t.x.close()
	if err := t.sure("flush", ""); err != nil {
		return err
	}
	var scheduled []api.MemberDoc
	for _, m := range t.members {
		if m.Scheduled == nil {
			say(c, "No scheduled restart for member %s", m.Name)
			continue
		}
		scheduled = append(scheduled, m)
	}
	var end outcome
	for _, an := range t.askEach(scheduled, func(base string) (client.Reply, error) { return t.x.rest.CancelRestart(c.Context(), base) }) {
		end.count(an)
		if an.err != nil || !an.reply.OK() {
			t.failed("flush scheduled restart", an)
			continue
		}
		say(c, "Success: flush scheduled restart for member %s", an.member.Name)
	}
	return end.exit(a)
}

func (a *app) flushSwitchover(c *cobra.Command, name string) error {
	x, s, err := a.look(c, name)
	if err != nil {
		return err
	}
	defer x.close()
	if s.doc.Scheduled == nil {
		say(c, "No pending scheduled switchover")
		return nil
	}
	r, reached, err := x.write(func(base string) (client.Reply, error) { return x.rest.CancelSwitchover(c.Context(), base) })
	switch {
	case !reached:
		say(c, "%s Could not find any accessible member of cluster %s", a.now(), s.doc.Scope)
		return x.clearScheduled(c.Context())
	case err != nil:
		return fmt.Errorf("the request was sent, but no answer came; look with list whether it took effect: %w", err)
	case r.OK():
		say(c, "Success: %s", r.Text)
		return nil
	case r.Code == http.StatusNotFound:
		say(c, "Failed: %s", r.Text)
	default:
		say(c, "Failed: flush switchover, status code=%d, (%s)", r.Code, r.Text)
	}
	return a.refused()
}

// clearScheduled withdraws the switchover in the store, if it is still the one
// that is read there.
func (x *access) clearScheduled(ctx context.Context) error {
	v, err := x.storeView(ctx)
	if err != nil {
		return err
	}
	if v.Failover.ScheduledAt == "" {
		say(x.cmd, "No pending scheduled switchover")
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	_, err = x.store.Put(ctx, layout.KeyFailover, layout.EncodeFailover(cluster.Failover{}), dcs.Unchanged(v.Failover.Version))
	switch {
	case errors.Is(err, dcs.ErrConflict):
		return errors.New("the scheduled switchover changed meanwhile; look again")
	case err != nil:
		return fmt.Errorf("withdraw the switchover in the store: %w", err)
	}
	warn(x.cmd, "withdrawn in the store: no member answered")
	say(x.cmd, "Success: scheduled switchover deleted")
	return nil
}
