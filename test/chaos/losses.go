package chaos

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
	"github.com/matriarch-ha/matriarch/wal"
)

// lossReports are the transactions that members say they gave up. They are read
// all the time, since a member keeps one report only.
type lossReports struct {
	mu   sync.Mutex
	txs  map[string][]wal.LSN // by their number; another branch may use it again
	seen map[string]time.Time
}

var lostLine = regexp.MustCompile(`(?m)^xid (\d+) +at ([0-9A-F]+/[0-9A-F]+) `)

func (l *lossReports) run(ctx context.Context, c *lab.Cluster) {
	for ; ctx.Err() == nil; rest(ctx, 300*time.Millisecond) {
		l.read(c)
	}
}

func (l *lossReports) read(c *lab.Cluster) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.txs == nil {
		l.txs, l.seen = map[string][]wal.LSN{}, map[string]time.Time{}
	}
	for _, m := range c.Members {
		files, _ := filepath.Glob(m.DataDir() + ".lost-wal/*/lost-transactions.txt")
		for _, f := range files {
			st, err := os.Stat(f)
			if err != nil || l.seen[f].Equal(st.ModTime()) {
				continue
			}
			l.seen[f] = st.ModTime()
			b, _ := os.ReadFile(f)
			for _, line := range lostLine.FindAllStringSubmatch(string(b), -1) {
				if lsn, err := wal.ParseLSN(line[2]); err == nil {
					l.txs[line[1]] = append(l.txs[line[1]], lsn)
				}
			}
		}
	}
}

// has: a report names the transaction of the row. Its commit record comes soon
// after what the server said before.
func (l *lossReports) has(a Ack) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lsn := range l.txs[a.XID] {
		if lsn >= a.LSN && lsn-a.LSN < 16<<20 {
			return true
		}
	}
	return false
}
