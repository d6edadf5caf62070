package conf

import (
	"fmt"
	"regexp"
	"sort"
	"strings"
)

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z_0-9$]*$`)

// SyncNames writes synchronous_standby_names for a wait on all of the names;
// empty for none.
func SyncNames(names []string) string {
	list := syncList(names)
	switch len(list) {
	case 0:
		return ""
	case 1:
		return list[0]
	}
	return fmt.Sprintf("%d (%s)", len(list), strings.Join(list, ","))
}

// QuorumNames writes synchronous_standby_names for a wait on any n of the names.
func QuorumNames(n int, names []string) string {
	list := syncList(names)
	if len(list) == 0 {
		return ""
	}
	return fmt.Sprintf("ANY %d (%s)", n, strings.Join(list, ","))
}

// syncList sorts the names and quotes those that are no plain identifiers or
// would read as a keyword.
func syncList(names []string) []string {
	sorted := append([]string(nil), names...)
	sort.Strings(sorted)
	for i, n := range sorted {
		if !plainName.MatchString(n) || strings.EqualFold(n, "first") || strings.EqualFold(n, "any") {
			sorted[i] = `"` + strings.ReplaceAll(n, `"`, `""`) + `"`
		}
	}
	return sorted
}
