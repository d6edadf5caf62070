package drill

import (
	"slices"
	"sync"
	"time"
)

// Outcome is what a client knows of one write.
type Outcome byte

// The outcomes. A write of Unknown outcome may be in the database or not: the
// connection broke, or the time was over, before an answer came. Both are right
// afterwards.
const (
	Unknown Outcome = iota
	Acknowledged
	Failed
)

// RowID names one write: no two writes of a drill share one, also not a write
// that is tried again.
type RowID struct {
	Client int
	Seq    int64
}

// Ledger remembers every write of a drill and what became of it. It is the
// outside memory against which the database is checked.
type Ledger struct {
	mu    sync.Mutex
	begun time.Time
	rows  [][]Outcome // by client, then by sequence number
	acks  []Ack
	// errors counts what clients were told, by text, in the order of their first
	// appearance.
	errors []ErrorCount
}

// Ack is one acknowledged write.
type Ack struct {
	At time.Duration // since the ledger was begun
	ID RowID
}

// ErrorCount is how often clients were told something.
type ErrorCount struct {
	Text  string        `json:"text"`
	Count int           `json:"count"`
	First time.Duration `json:"-"` // when it was told first
}

// NewLedger begins to count time at begun.
func NewLedger(clients int, begun time.Time) *Ledger {
	return &Ledger{begun: begun, rows: make([][]Outcome, clients)}
}

// Begin gives the next write of a client its number. Until End its outcome is
// unknown: so it stays if the program dies in between.
func (l *Ledger) Begin(client int) RowID {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows[client] = append(l.rows[client], Unknown)
	return RowID{Client: client, Seq: int64(len(l.rows[client]) - 1)}
}

// End says what became of a write; text is the error that was told, if any.
func (l *Ledger) End(id RowID, o Outcome, at time.Time, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows[id.Client][id.Seq] = o
	if o == Acknowledged {
		l.acks = append(l.acks, Ack{At: at.Sub(l.begun), ID: id})
	}
	if text != "" {
		l.count(text, at)
	}
}

// Told notes an error that belongs to no write, such as a connection that was
// refused.
func (l *Ledger) Told(text string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(text, at)
}

// mostErrors bounds the list; what is told beyond is counted as one.
const mostErrors = 20

func (l *Ledger) count(text string, at time.Time) {
	i := l.kind(text)
	if i < 0 && len(l.errors) >= mostErrors {
		text = "others"
		i = l.kind(text)
	}
	if i >= 0 {
		l.errors[i].Count++
		return
	}
	l.errors = append(l.errors, ErrorCount{Text: text, Count: 1, First: at.Sub(l.begun)})
}

func (l *Ledger) kind(text string) int {
	return slices.IndexFunc(l.errors, func(e ErrorCount) bool { return e.Text == text })
}

// Since is a moment in the ledger's time.
func (l *Ledger) Since(at time.Time) time.Duration { return at.Sub(l.begun) }

// AcksSince counts acknowledged writes at or after a moment, and the clients
// that had one.
func (l *Ledger) AcksSince(at time.Duration) (acks, clients int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[int]bool{}
	for i := len(l.acks) - 1; i >= 0; i-- {
		// Clients get the lock in any order, so acks are sorted but for moments.
		if l.acks[i].At < at-time.Second {
			break
		}
		if l.acks[i].At >= at {
			acks++
			seen[l.acks[i].ID.Client] = true
		}
	}
	return acks, len(seen)
}

// Quiet is how long no write has been acknowledged.
func (l *Ledger) Quiet(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.acks) == 0 {
		return now.Sub(l.begun)
	}
	return now.Sub(l.begun) - l.acks[len(l.acks)-1].At
}

// Counts are how many writes ended how.
type Counts struct {
	Acknowledged int `json:"acknowledged"`
	Failed       int `json:"failed"`
	Unknown      int `json:"unknown"`
}

// Counts counts.
func (l *Ledger) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	var c Counts
	for _, rows := range l.rows {
		for _, o := range rows {
			switch o {
			case Acknowledged:
				c.Acknowledged++
			case Failed:
				c.Failed++
			default:
				c.Unknown++
			}
		}
	}
	return c
}

// Errors are what clients were told, and how often.
func (l *Ledger) Errors() []ErrorCount {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]ErrorCount{}, l.errors...)
}

// Acks are the acknowledged writes in the order in which they were noted.
func (l *Ledger) Acks() []Ack {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Ack(nil), l.acks...)
}

// Check is what a comparison of the database with the ledger found.
type Check struct {
	// Rows is how many rows are there.
	Rows int `json:"rows"`
	// Lost were acknowledged and are not there.
	Lost int `json:"lost"`
	// LostRows are the first of them.
	LostRows []RowID `json:"lost_rows,omitempty"`
	// Refused were answered with an error that says that nothing was written, and
	// are there all the same.
	Refused int `json:"refused_but_there"`
	// Kept are writes of unknown outcome that are there: as right as if they
	// were not.
	Kept int `json:"unknown_and_there"`
	// Strange are rows that this drill never wrote.
	Strange int `json:"strange"`
}

// mostLost bounds the list of lost rows in a report.
const mostLost = 10

// Compare holds the rows that are in the database against what clients were
// told.
func (l *Ledger) Compare(there []RowID) Check {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := Check{Rows: len(there)}
	found := make([][]bool, len(l.rows))
	for i, rows := range l.rows {
		found[i] = make([]bool, len(rows))
	}
	for _, id := range there {
		if id.Client < 0 || id.Client >= len(found) || id.Seq < 0 || id.Seq >= int64(len(found[id.Client])) {
			c.Strange++
			continue
		}
		found[id.Client][id.Seq] = true
	}
	for client, rows := range l.rows {
		for seq, o := range rows {
			c.judge(RowID{client, int64(seq)}, o, found[client][seq])
		}
	}
	return c
}

func (c *Check) judge(id RowID, o Outcome, there bool) {
	switch {
	case o == Acknowledged && !there:
		c.Lost++
		if len(c.LostRows) < mostLost {
			c.LostRows = append(c.LostRows, id)
		}
	case o == Failed && there:
		c.Refused++
	case o == Unknown && there:
		c.Kept++
	}
}
