package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/matriarch-ha/matriarch/api"
)

// roles are the words for a choice of members.
func roles() []string {
	return []string{"leader", "primary", "standby-leader", "replica", "standby", "any"}
}

// hasRole tells whether a member belongs to a role as options name it.
func hasRole(m api.MemberDoc, role string) bool {
	switch role {
	case "leader":
		return m.Leads()
	case "primary":
		return m.Role == "leader"
	case "standby-leader":
		return m.Role == "standby_leader"
	case "replica", "standby":
		return !m.Leads()
	}
	return true
}

// withRole returns the members that belong to a role.
func withRole(members []api.MemberDoc, role string) []api.MemberDoc {
	return slices.DeleteFunc(slices.Clone(members), func(m api.MemberDoc) bool { return !hasRole(m, role) })
}

// named returns those of the members that are named; every name must be one of
// the cluster's, and one of them at least of the wanted role.
func named(members, all []api.MemberDoc, names []string, role string) ([]api.MemberDoc, error) {
	for _, n := range names {
		if !slices.ContainsFunc(all, func(m api.MemberDoc) bool { return m.Name == n }) {
			return nil, fmt.Errorf("%s is not a member of cluster", n)
		}
	}
	out := slices.DeleteFunc(slices.Clone(members), func(m api.MemberDoc) bool { return !slices.Contains(names, m.Name) })
	if len(out) == 0 {
		return nil, fmt.Errorf("No %s among provided members", role) //nolint:staticcheck // the reference's text
	}
	return out, nil
}

// listed joins members' names for people.
func listed(members []api.MemberDoc) string {
	var names []string
	for _, m := range members {
		names = append(names, m.Name)
	}
	return strings.Join(names, ", ")
}
