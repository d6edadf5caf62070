package cluster

import (
	"fmt"
	"strings"
)

// SlotName is the replication slot of a member: lower case, '-' and '.' become
// '_', anything else that a slot name may not contain becomes uNNNN (decimal),
// cut at 63 characters. The rule is the compatible one: members of both
// programs must agree on it.
func SlotName(member string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(member) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			b.WriteRune(r)
		case r == '-', r == '.':
			b.WriteByte('_')
		default:
			fmt.Fprintf(&b, "u%04d", r)
		}
	}
	s := b.String()
	return s[:min(len(s), 63)]
}
