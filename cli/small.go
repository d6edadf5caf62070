package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/client"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

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
			if role == "" {
				role = "leader"
			}
			if _, err := hasRole(api.MemberDoc{}, role); err != nil {
				return usage(c, err)
			}
			return a.dsn(c, clusterArg(names), role, member)
		},
	}
	c.Flags().StringVarP(&role, "role", "r", "", "leader, primary, standby-leader, replica, standby, any")
	c.Flags().StringVarP(&member, "member", "m", "", "name of the member")
	return c
}

func (a *app) dsn(c *cobra.Command, name, role, member string) error {
	x, s, err := a.look(c, name)
	if err != nil {
		return err
	}
	defer x.close()
	for _, m := range s.doc.Members {
		is, err := hasRole(m, role)
		if err != nil {
			return usage(c, err)
		}
		if m.Name == member || member == "" && is {
			say(c, "host=%s port=%d", m.Host, m.Port)
			return nil
		}
	}
	return errors.New("Can not find a suitable member") //nolint:staticcheck // the reference's text
}

// hasRole tells whether a member belongs to a role as options name it.
func hasRole(m api.MemberDoc, role string) (bool, error) {
	switch role {
	case "leader":
		return m.Leads(), nil
	case "primary":
		return m.Role == "leader", nil
	case "standby-leader":
		return m.Role == "standby_leader", nil
	case "replica", "standby":
		return !m.Leads(), nil
	case "any":
		return true, nil
	}
	return false, fmt.Errorf("invalid value for --role: %q is not one of leader, primary, standby-leader, replica, standby, any", role)
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version [CLUSTER [MEMBER...]]",
		Short:   "Show the version of this program, and of members",
		Long:    "Shows the version of this program; with a cluster also what its members run.",
		Example: a.examples("{} version", "{} version demo", "{} version demo n1 n2"),
		RunE: func(c *cobra.Command, names []string) error {
			say(c, "%s version %s", a.name, a.opts.Version)
			if len(names) == 0 {
				return nil
			}
			return a.versions(c, names[0], names[1:])
		},
	}
}

func (a *app) versions(c *cobra.Command, name string, members []string) error {
	x, s, err := a.look(c, name)
	if err != nil {
		return err
	}
	defer x.close()
	say(c, "")
	known := map[string]bool{}
	for _, m := range s.doc.Members {
		known[m.Name] = true
		if len(members) > 0 && !slices.Contains(members, m.Name) {
			continue
		}
		st, err := x.rest.Status(c.Context(), client.Base(m.APIURL))
		if err != nil {
			say(c, "%s: failed to get version: %v", m.Name, err)
			continue
		}
		say(c, "%s: %s", m.Name, a.versionLine(st))
	}
	for _, m := range members {
		if !known[m] {
			return fmt.Errorf("%s is not a member of cluster", m)
		}
	}
	return nil
}

func (a *app) versionLine(st api.StatusDoc) string {
	program := "Patroni " + st.Patroni.Version
	if st.Matriarch != nil && !a.opts.Patronictl {
		program = "Matriarch " + st.Matriarch.Version
	}
	if st.ServerVersion == 0 {
		return program
	}
	return fmt.Sprintf("%s PostgreSQL %d.%d", program, st.ServerVersion/10000, st.ServerVersion%10000)
}
