package replica

import (
	"fmt"
	"regexp"
	"strings"
)

// LostTx is a committed transaction that only the abandoned branch has.
type LostTx struct {
	Xid, LSN, Committed string
}

var commitLine = regexp.MustCompile(`tx:\s*(\d+), lsn: ([0-9A-F]+/[0-9A-F]+),.*desc: COMMIT(?:_PREPARED)? (?:\d+: )?([0-9-]+ [0-9:.]+ ?\S*)`)

// ParseCommits reads the commits out of pg_waldump's text.
func ParseCommits(text string) []LostTx {
	var out []LostTx
	for line := range strings.Lines(text) {
		if m := commitLine.FindStringSubmatch(line); m != nil {
			out = append(out, LostTx{Xid: m[1], LSN: m[2], Committed: strings.TrimRight(m[3], ";, ")})
		}
	}
	return out
}

// RenderLost writes the report of lost transactions for people.
func RenderLost(head string, txs []LostTx) string {
	var b strings.Builder
	b.WriteString(head)
	fmt.Fprintf(&b, "committed transactions: %d\n", len(txs))
	for _, t := range txs {
		fmt.Fprintf(&b, "xid %s  at %s  committed %s\n", t.Xid, t.LSN, t.Committed)
	}
	return b.String()
}
