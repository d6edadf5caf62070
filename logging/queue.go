package logging

import (
	"sync"

	"github.com/matriarch-ha/matriarch/config"
)

// queue holds rendered records, at most limit of them together with those that
// are being written.
type queue struct {
	mu      sync.Mutex
	changed *sync.Cond
	records [][]byte
	size    int // records, and those taken but not written yet
	limit   int
	lost    uint64
	closed  bool
	poked   bool // take returns although there may be nothing
}

func newQueue(limit int) *queue {
	q := &queue{limit: limitOr(limit)}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// limitOr is the default where a configuration was not read from anywhere.
func limitOr(limit int) int {
	if limit <= 0 {
		return config.DefaultLogQueue
	}
	return limit
}

// put adds a record, or counts it as lost. It never waits.
func (q *queue) put(r []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.size >= q.limit {
		q.lost++
		return
	}
	q.records = append(q.records, r)
	q.size++
	q.changed.Signal()
}

// take waits for records and returns all there are; more is false when the queue
// is closed and these were the last. Each counts until written is called for it.
func (q *queue) take() (records [][]byte, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.records) == 0 && !q.closed && !q.poked {
		q.changed.Wait()
	}
	q.poked = false
	records, q.records = q.records, nil
	return records, !q.closed
}

func (q *queue) written() {
	q.mu.Lock()
	q.size--
	q.mu.Unlock()
}

// setLimit changes the limit and makes take return.
func (q *queue) setLimit(limit int) {
	q.mu.Lock()
	q.limit, q.poked = limitOr(limit), true
	q.mu.Unlock()
	q.changed.Signal()
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.changed.Signal()
}

func (q *queue) stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Stats{Queued: q.size, Lost: q.lost}
}
