package chaos

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/wal"
)

// Ack is an acknowledged row: who accepted it, where in which history, and when
// that was heard.
type Ack struct {
	ID       int64
	Via      string // the client
	Node     string // address of the server that said so
	System   string
	Timeline uint32
	LSN      wal.LSN // before the commit record
	XID      string
	Warned   bool // with a warning: not acknowledged by a synchronous standby
	Sent     boot.Instant
	Executed boot.Instant // by the server's clock, the same machine's
	At       boot.Instant
}

// insert writes a row and says who does so. The name of a WAL file begins with the
// timeline that is being written.
const insert = `INSERT INTO written (id) VALUES ($1) RETURNING host(inet_server_addr()),
 (SELECT system_identifier::text FROM pg_control_system()), left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
 pg_current_wal_insert_lsn()::text, pg_current_xact_id()::text, (extract(epoch FROM clock_timestamp())*1000000)::bigint`

// Client writes one row after the other, each under a number of its own.
type Client struct {
	Name     string
	dsn      string
	dial     func(ctx context.Context, network, addr string) (net.Conn, error) // nil: from here
	patience time.Duration                                                     // for one statement
	pace     time.Duration

	mu     sync.Mutex
	acks   []Ack
	next   int64
	warned bool
	errs   map[string]int
}

// run writes until the context ends.
func (c *Client) run(ctx context.Context) {
	var conn *pgx.Conn
	for ctx.Err() == nil {
		if conn == nil {
			var err error
			if conn, err = c.connect(ctx); err != nil {
				c.failed(err)
				rest(ctx, 25*time.Millisecond)
				continue
			}
		}
		err := c.write(ctx, conn)
		var told *pgconn.PgError
		switch {
		case err == nil:
			rest(ctx, c.pace)
		case errors.As(err, &told) && told.Code == "25006": // a replica: it may become the primary
			c.failed(err)
			rest(ctx, 40*time.Millisecond)
		default:
			c.failed(err)
			hangUp(conn)
			conn = nil
		}
	}
	if conn != nil {
		hangUp(conn)
	}
}

func (c *Client) connect(ctx context.Context) (*pgx.Conn, error) {
	conf, err := pgx.ParseConfig(c.dsn)
	if err != nil {
		return nil, err
	}
	if c.dial != nil {
		conf.DialFunc = c.dial
	}
	conf.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { c.warned = c.warned || n.SeverityUnlocalized == "WARNING" }
	within, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return pgx.ConnectConfig(within, conf)
}

func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = conn.Close(ctx)
}

func (c *Client) write(ctx context.Context, conn *pgx.Conn) error {
	within, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	c.mu.Lock()
	a := Ack{ID: c.next, Via: c.Name}
	c.next++
	c.mu.Unlock()
	c.warned = false
	var timeline, lsn string
	var executed int64
	a.Sent = now()
	err := conn.QueryRow(within, insert, a.ID).Scan(&a.Node, &a.System, &timeline, &lsn, &a.XID, &executed)
	a.At = now()
	if err != nil {
		return err
	}
	a.Warned = c.warned
	a.Executed = a.At.Add(-time.Since(time.UnixMicro(executed)))
	n, err := strconv.ParseUint(timeline, 16, 32)
	if err != nil {
		return err
	}
	a.Timeline = uint32(n)
	if a.LSN, err = wal.ParseLSN(lsn); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acks = append(c.acks, a)
	return nil
}

func (c *Client) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs[err.Error()]++
}

// Acks returns what was acknowledged so far.
func (c *Client) Acks() []Ack {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.acks)
}

// last is the newest acknowledgement.
func (c *Client) last() (Ack, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.acks) == 0 {
		return Ack{}, false
	}
	return c.acks[len(c.acks)-1], true
}

func now() boot.Instant { return clock.Real{}.Now() }

// rest paces a client; it waits for nothing.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// stalls notes when this process itself did not run: what it heard then it may
// have heard late.
type stalls struct {
	mu    sync.Mutex
	spans []span
}

type span struct{ from, to boot.Instant }

func (s *stalls) run(ctx context.Context) {
	const tick = 5 * time.Millisecond
	for last := now(); ctx.Err() == nil; {
		rest(ctx, tick)
		at := now()
		if at.Sub(last) > 10*tick {
			s.mu.Lock()
			s.spans = append(s.spans, span{last, at})
			s.mu.Unlock()
		}
		last = at
	}
}

// lateness is how much later than it arrived a client may have noted an
// acknowledgement: for how long this process had stood still when it did.
func (s *stalls) lateness(a Ack) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var most time.Duration
	for _, p := range s.spans {
		if p.from <= a.At && a.At <= p.to.Add(stallTail) {
			most = max(most, a.At.Sub(max(p.from, a.Sent)))
		}
	}
	return most
}

// stallTail is how long after this process stood still it may still be catching up.
const stallTail = 50 * time.Millisecond
