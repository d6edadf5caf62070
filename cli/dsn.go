package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/api"
)

func (a *app) dsnCommand() *cobra.Command {
	var role, member string
	c := &cobra.Command{
		Use:     "dsn [CLUSTER]",
		Short:   "Print host and port of a member",
		Long:    "Prints how to connect to a member: the leader, or the first one of a role, or a named one.",
		Example: a.examples("{} dsn", "psql \"$({} dsn -r replica) dbname=app\""),
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, names []string) error {
			if role != "" && member != "" {
				return usage(c, errors.New("--role and --member are mutually exclusive options"))
			}
			x, s, err := a.look(c, clusterArg(names))
			if err != nil {
				return err
			}
			defer x.close()
			m, ok := anyMember(s.doc, role, member)
			if !ok {
				return errors.New("Can not find a suitable member") //nolint:staticcheck // the reference's text
			}
			say(c, "host=%s port=%d", m.Host, m.Port)
			return nil
		},
	}
	roleFlag(c, &role, "whom")
	a.memberFlag(c, &member)
	groupFlag(c)
	c.ValidArgsFunction = a.completeCluster
	return c
}

// memberFlag adds -m.
func (a *app) memberFlag(c *cobra.Command, member *string) {
	c.Flags().StringVarP(member, "member", "m", "", "`NAME` of the member")
	a.completesMembers(c, "member")
}

// anyMember returns the named member, or the first one of a role; neither means
// the leader.
func anyMember(d api.ClusterDoc, role, name string) (api.MemberDoc, bool) {
	if role == "" && name == "" {
		role = "leader"
	}
	for _, m := range d.Members {
		if (m.Name == name || name == "" && hasRole(m, role)) && m.Host != "" {
			return m, true
		}
	}
	return api.MemberDoc{}, false
}
