package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/client"
)

func (a *app) versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "version [CLUSTER [MEMBER...]]",
		Short:   "Show the version of this program, and of members",
		Long:    "Shows the version of this program; with a cluster also what its members run.",
		Example: a.examples("{} version", "{} version demo", "{} version demo n1 n2"),
		RunE: func(c *cobra.Command, names []string) error {
			if err := refuseGroup(c); err != nil {
				return err
			}
			say(c, "%s version %s", a.name, a.opts.Version)
			if len(names) == 0 {
				return nil
			}
			return a.versions(c, names[0], names[1:])
		},
	}
	groupFlag(c)
	c.ValidArgsFunction = a.completeMembers
	return c
}

func (a *app) versions(c *cobra.Command, name string, names []string) error {
	x, s, err := a.look(c, name)
	if err != nil {
		return err
	}
	defer x.close()
	members := s.doc.Members
	if len(names) > 0 {
		if members, err = named(members, members, names, "any"); err != nil {
			return err
		}
	}
	say(c, "")
	failed := false
	type answer struct {
		st  api.StatusDoc
		err error
	}
	for i, v := range each(members, func(m api.MemberDoc) answer {
		st, err := x.rest.Status(c.Context(), client.Base(m.APIURL))
		return answer{st, err}
	}) {
		if v.err != nil {
			failed = true
			say(c, "%s: failed to get version: %s", members[i].Name, briefly(v.err))
			continue
		}
		say(c, "%s: %s", members[i].Name, a.versionLine(v.st))
	}
	if failed {
		return a.refused()
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
