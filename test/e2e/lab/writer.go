package lab

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// Writer inserts one row after the other and remembers which were acknowledged
// and when, as an impatient client does: a statement that takes longer than a
// second is given up and the connection made anew.
type Writer struct {
	dsn  string
	stop context.CancelFunc
	done chan struct{}

	mu     sync.Mutex
	acked  []Ack
	last   time.Time
	gap    time.Duration
	gapEnd time.Time
	errs   map[string]int
	// failures counts failed attempts.
	failures int
}

// Ack is an acknowledged row and when its acknowledgement was heard.
type Ack struct {
	ID int64
	At boot.Instant
}

// StartWriter makes the table if needed and writes through the connection
// string until Stop.
func StartWriter(t testing.TB, dsn string) *Writer {
	t.Helper()
	Until(t, 30*time.Second, "the writer's table", func() string {
		if _, err := SQL(dsn, "CREATE TABLE IF NOT EXISTS written (id bigint PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())"); err != nil {
			return err.Error()
		}
		return ""
	})
	rows := MustSQL(t, dsn, "SELECT coalesce(max(id),0)::text FROM written")
	var first int64
	fmt.Sscan(rows[0], &first)
	return WriteTo(t, dsn, first+1)
}

// WriteTo writes rows from the number first on into the table that exists,
// whether or not the server takes them yet.
func WriteTo(t testing.TB, dsn string, first int64) *Writer {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Writer{dsn: dsn, stop: cancel, done: make(chan struct{}), errs: map[string]int{}}
	go w.run(ctx, first)
	t.Cleanup(func() { cancel(); <-w.done })
	return w
}

func (w *Writer) run(ctx context.Context, id int64) {
	defer close(w.done)
	var conn *pgx.Conn
	for ; ctx.Err() == nil; id++ {
		if conn == nil {
			try, cancel := context.WithTimeout(ctx, 2*time.Second)
			c, err := pgx.Connect(try, w.dsn)
			cancel()
			if err != nil {
				w.failed(err)
				pauseFor(ctx, 10*time.Millisecond)
				continue
			}
			conn = c
		}
		try, cancel := context.WithTimeout(ctx, time.Second)
		_, err := conn.Exec(try, "INSERT INTO written (id) VALUES ($1)", id)
		cancel()
		if err != nil {
			w.failed(err)
			closing, done := context.WithTimeout(context.Background(), 100*time.Millisecond)
			_ = conn.Close(closing)
			done()
			conn = nil
			continue
		}
		w.acknowledged(id)
		pauseFor(ctx, pace)
	}
	if conn != nil {
		_ = conn.Close(context.Background())
	}
}

// pace leaves the machine to the servers: each row costs three of them a flush.
const pace = 10 * time.Millisecond

// pauseFor paces the writer; it is no wait for anything.
func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (w *Writer) acknowledged(id int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if !w.last.IsZero() && now.Sub(w.last) > w.gap {
		w.gap, w.gapEnd = now.Sub(w.last), now
	}
	w.last = now
	w.acked = append(w.acked, Ack{id, clock.Real{}.Now()})
}

func (w *Writer) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs[err.Error()]++
	w.failures++
}

// WaitRefused waits until an attempt that began after the call has failed, so
// that whatever was acknowledged before is counted.
func (w *Writer) WaitRefused(t testing.TB, limit time.Duration) {
	t.Helper()
	count := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.failures
	}
	n := count()
	Until(t, limit, "a refused write", func() string {
		if count() > n+1 { // the first may have been under way
			return ""
		}
		return "writes are not refused"
	})
}

// Gap is the longest time between two acknowledged rows since the last call,
// counting the one that is open.
func (w *Writer) Gap() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := max(w.gap, time.Since(w.last))
	w.gap = 0
	return g
}

// Count is how many rows were acknowledged.
func (w *Writer) Count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

// Failures is how many attempts failed.
func (w *Writer) Failures() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failures
}

// WaitProgress waits until more rows are acknowledged than now.
func (w *Writer) WaitProgress(t testing.TB, limit time.Duration) {
	t.Helper()
	n := w.Count()
	Until(t, limit, "acknowledged writes", func() string {
		if w.Count() > n+3 {
			return ""
		}
		return fmt.Sprintf("still %d rows; errors %v", w.Count(), w.Errors())
	})
}

// Errors counts what failed, by its text.
func (w *Writer) Errors() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]int{}
	for k, v := range w.errs {
		out[k] = v
	}
	return out
}

// Stop ends the writer.
func (w *Writer) Stop() {
	w.stop()
	<-w.done
}

// Lost returns the rows acknowledged before the call that a server does not
// have; the writer may go on meanwhile.
func (w *Writer) Lost(t testing.TB, dsn string) []int64 {
	t.Helper()
	// Acks first: what is acknowledged while the server is asked may come too
	// late for it.
	lost, err := Missing(dsn, w.Acks())
	if err != nil {
		t.Fatal(err)
	}
	return lost
}

// Missing returns the acknowledged rows that a server does not have.
func Missing(dsn string, acked []Ack) ([]int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.Background())
	ids := make([]int64, len(acked))
	for i, a := range acked {
		ids[i] = a.ID
	}
	rows, err := conn.Query(ctx, "SELECT id FROM unnest($1::bigint[]) id EXCEPT SELECT id FROM written", ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// Acks returns what was acknowledged so far, in order.
func (w *Writer) Acks() []Ack {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.acked)
}
