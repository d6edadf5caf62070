package drill

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// writePatience bounds one write: then its outcome is unknown, and the client
	// connects again, as an application does.
	writePatience = 10 * time.Second
	// afterFailure is the pause before a client tries again.
	afterFailure = 50 * time.Millisecond
	// maxClients bounds what a drill may cost the cluster.
	maxClients = 64
)

// Writer is the writing client: several connections through the entrypoint, each
// writing one row per transaction, again and again, on the cluster's own
// settings.
type Writer struct {
	conf   *pgconn.Config
	insert string
	every  time.Duration // between two writes of one connection
	ledger *Ledger

	stopping chan struct{}
	once     sync.Once
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// NewWriter prepares the client of a table; every is the time between two writes
// of one connection.
func NewWriter(p *Postgres, clients int, every time.Duration) (*Writer, error) {
	if clients < 1 || clients > maxClients {
		return nil, fmt.Errorf("%d connections: must be from 1 to %d", clients, maxClients)
	}
	conf, err := connConfig(p.dsn)
	if err != nil {
		return nil, err
	}
	return &Writer{conf: &conf.Config, insert: "INSERT INTO " + p.schema + ".writes (client, seq) VALUES ($1, $2)",
		every: every, ledger: NewLedger(clients, time.Now()), stopping: make(chan struct{})}, nil
}

// Ledger implements Writing.
func (w *Writer) Ledger() *Ledger { return w.ledger }

// Start implements Writing.
func (w *Writer) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	for client := range w.ledger.rows {
		w.wg.Go(func() { w.write(ctx, client) })
	}
}

// Stop implements Writing.
func (w *Writer) Stop(ctx context.Context) {
	w.once.Do(func() { close(w.stopping) })
	if w.cancel == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		w.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	w.cancel()
	<-done
}

// write is the life of one connection after the other.
func (w *Writer) write(ctx context.Context, client int) {
	s := &writing{Writer: w, client: client}
	defer s.close()
	// Their writes shall not come at the same instant.
	pause := w.every * time.Duration(client) / time.Duration(len(w.ledger.rows))
	for {
		select {
		case <-w.stopping:
			return
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		begun := time.Now()
		if pause = afterFailure; s.once(ctx) {
			pause = max(0, w.every-time.Since(begun))
		}
	}
}

// writing is one client with its present connection.
type writing struct {
	*Writer
	client int
	conn   *pgconn.PgConn
	warned string // by the server, during the write
}

func (s *writing) close() {
	if s.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.conn.Close(ctx) // the server notices the end in any case
		s.conn = nil
	}
}

// once connects if need be and writes one row; false: it did not work.
func (s *writing) once(ctx context.Context) bool {
	if s.conn == nil && !s.connect(ctx) {
		return false
	}
	try, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	id := s.ledger.Begin(s.client)
	s.warned = ""
	r := s.conn.ExecParams(try, s.insert, [][]byte{[]byte(strconv.Itoa(id.Client)), []byte(strconv.FormatInt(id.Seq, 10))}, nil, nil, nil).Read()
	o, text := classify(r.Err, s.warned)
	s.ledger.End(id, o, time.Now(), text)
	if r.Err != nil && s.conn.IsClosed() {
		s.close()
	}
	return o == Acknowledged
}

func (s *writing) connect(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	conf := s.conf.Copy()
	conf.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if severity(n.SeverityUnlocalized, n.Severity) == "WARNING" {
			s.warned = n.Message
		}
	}
	conn, err := pgconn.ConnectConfig(ctx, conf)
	if err != nil {
		if ctx.Err() != context.Canceled { // the end of the drill is no error
			s.ledger.Told("connecting: "+plainError(err), time.Now())
		}
		return false
	}
	s.conn = conn
	return true
}

// classify says what is known of a write from its error. A server that answers
// with an ERROR has rolled the transaction back. A FATAL may come after the commit
// (a session that is ended while it waits for a standby), and a broken connection
// at any time. A commit that is acknowledged with a warning may exist on this
// server alone: no promise covers it, so it counts as neither.
func classify(err error, warned string) (Outcome, string) {
	var answered *pgconn.PgError
	switch {
	case err == nil && warned == "":
		return Acknowledged, ""
	case err == nil:
		return Unknown, "acknowledged with a warning: " + warned
	case errors.As(err, &answered) && severity(answered.SeverityUnlocalized, answered.Severity) == "ERROR":
		return Failed, plainError(err)
	case pgconn.SafeToRetry(err):
		return Failed, "not sent: " + plainError(err)
	}
	return Unknown, plainError(err)
}

// severity is the word that no language setting changes, where it is told.
func severity(unlocalized, localized string) string {
	if unlocalized != "" {
		return unlocalized
	}
	return localized
}

// plainError is an error without what differs from case to case (local ports)
// and without what no report needs (role and database).
func plainError(err error) string {
	var answered *pgconn.PgError
	var no syscall.Errno
	var timeout net.Error
	switch {
	case errors.As(err, &answered):
		return fmt.Sprintf("%s %s: %s", severity(answered.SeverityUnlocalized, answered.Severity), answered.Code, answered.Message)
	case errors.As(err, &no):
		return no.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case strings.Contains(err.Error(), "unexpected EOF"):
		return "the connection was closed"
	}
	return err.Error()
}
