package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Conn is one session for plain statements, each one round trip.
type Conn struct {
	pg *pgconn.PgConn
}

// Open connects.
func Open(ctx context.Context, d Dial) (*Conn, error) {
	pg, err := Connect(ctx, d)
	if err != nil {
		return nil, err
	}
	return &Conn{pg: pg}, nil
}

// Close ends the session, politely but not for long.
func (c *Conn) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_ = c.pg.Close(ctx)
}

// Broken reports whether the session can no longer be used.
func (c *Conn) Broken() bool { return c.pg.IsClosed() }

// BackendPID is the number of the server process of this session.
func (c *Conn) BackendPID() int { return int(c.pg.PID()) }

// Query runs statements and returns the rows of the last as text; NULL is "".
func (c *Conn) Query(ctx context.Context, sql string) ([][]string, error) {
	results, err := c.pg.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) == 0 {
		return nil, nil
	}
	var out [][]string
	for _, row := range results[len(results)-1].Rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = string(cell)
		}
		out = append(out, cells)
	}
	return out, nil
}

// Value runs statements and returns the first cell of the last one's result.
func (c *Conn) Value(ctx context.Context, sql string) (string, error) {
	rows, err := c.Query(ctx, sql)
	if err != nil {
		return "", err
	}
	if len(rows) == 0 || len(rows[0]) == 0 {
		return "", errors.New("the query returned no value")
	}
	return rows[0][0], nil
}

// Exec runs statements without a result.
func (c *Conn) Exec(ctx context.Context, sql string) error {
	_, err := c.Query(ctx, sql)
	return err
}

// Code returns the SQLSTATE of an error that a server sent, or "".
func Code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// Message returns the server's own words, or the error's text. Neither ever
// contains a password: statements are not part of it.
func Message(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return fmt.Sprintf("%s: %s (SQLSTATE %s)", pg.Severity, pg.Message, pg.Code)
	}
	return err.Error()
}
