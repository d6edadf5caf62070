package drill

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// server is a make-believe PostgreSQL behind an entrypoint: it understands what a
// drill says, keeps the rows, and misbehaves as the test wants.
type server struct {
	t    *testing.T
	addr string

	mu      sync.Mutex
	rows    []RowID
	schema  string
	others  [][3]string // schemas of other drills: name, until, valid
	claimed bool
	answers map[string]string // instead of what is usual, by a part of the SQL
	// insert says what becomes of a row: whether it is kept, and what is answered
	// instead of success: an error, or a closed connection.
	insert func(RowID) (kept bool, answer pgproto3.BackendMessage, closed bool)
}

func serve(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, addr: l.Addr().String(), answers: map[string]string{}}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.session(c) })
		}
	})
	return s
}

func (s *server) dsn() string {
	host, port, _ := net.SplitHostPort(s.addr)
	return "host=" + host + " port=" + port + " user=app dbname=app sslmode=disable"
}

// session speaks to one client until it leaves.
func (s *server) session(c net.Conn) {
	defer c.Close()
	b := pgproto3.NewBackend(c, c)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if b.Flush() != nil {
		return
	}
	var sql string
	var params [][]byte
	for {
		m, err := b.Receive()
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *pgproto3.Terminate:
			return
		case *pgproto3.Query:
			if !s.answer(b, m.String, nil) {
				return
			}
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		case *pgproto3.Parse:
			sql = m.Query
			b.Send(&pgproto3.ParseComplete{})
		case *pgproto3.Bind:
			params = nil
			for _, p := range m.Parameters {
				params = append(params, append([]byte(nil), p...))
			}
			b.Send(&pgproto3.BindComplete{})
		case *pgproto3.Execute:
			if !s.answer(b, sql, params) {
				return
			}
		case *pgproto3.Sync:
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		}
		if b.Flush() != nil {
			return
		}
	}
}

// answer sends a statement's result; false: the connection is to be closed.
func (s *server) answer(b *pgproto3.Backend, sql string, params [][]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for part, text := range s.answers {
		if strings.Contains(sql, part) {
			table(b, [][]string{strings.Split(text, "|")})
			return true
		}
	}
	switch {
	case strings.Contains(sql, "INSERT INTO"):
		return s.take(b, params)
	case strings.Contains(sql, "has_database_privilege"):
		table(b, [][]string{{"f", "t", "app", "app"}})
	case strings.Contains(sql, "pg_control_system"):
		table(b, [][]string{{"7"}})
	case strings.Contains(sql, "pg_try_advisory_lock"):
		table(b, [][]string{{map[bool]string{true: "f", false: "t"}[s.claimed]}})
	case strings.Contains(sql, "nspname"):
		var rows [][]string
		for _, o := range s.others {
			rows = append(rows, o[:])
		}
		table(b, rows)
	case strings.Contains(sql, "interval"):
		table(b, [][]string{{"2026-11-26 12:00:00+00"}})
	case strings.Contains(sql, "CREATE SCHEMA"):
		s.schema = sql
		b.Send(&pgproto3.CommandComplete{CommandTag: []byte("CREATE TABLE")})
	case strings.Contains(sql, "DROP SCHEMA"):
		s.schema = ""
		b.Send(&pgproto3.CommandComplete{CommandTag: []byte("DROP SCHEMA")})
	case strings.Contains(sql, "pg_is_in_recovery"):
		table(b, [][]string{{"f"}})
	case strings.Contains(sql, "SELECT client, seq"):
		var rows [][]string
		for _, r := range s.rows {
			rows = append(rows, []string{strconv.Itoa(r.Client), strconv.FormatInt(r.Seq, 10)})
		}
		table(b, rows)
	default:
		s.t.Errorf("the server was asked: %s", sql)
		return false
	}
	return true
}

func (s *server) take(b *pgproto3.Backend, params [][]byte) bool {
	client, _ := strconv.Atoi(string(params[0]))
	seq, _ := strconv.ParseInt(string(params[1]), 10, 64)
	id := RowID{client, seq}
	kept, other, closed := true, pgproto3.BackendMessage(nil), false
	if s.insert != nil {
		kept, other, closed = s.insert(id)
	}
	if kept {
		s.rows = append(s.rows, id)
	}
	switch {
	case closed:
		return false
	case other != nil:
		b.Send(other)
		if _, notice := other.(*pgproto3.NoticeResponse); !notice {
			return true
		}
	}
	b.Send(&pgproto3.CommandComplete{CommandTag: []byte("INSERT 0 1")})
	return true
}

// table sends rows of text; the types are told by what the values look like.
func table(b *pgproto3.Backend, rows [][]string) {
	var d pgproto3.RowDescription
	if len(rows) > 0 {
		for i, v := range rows[0] {
			oid := uint32(25)
			if v == "t" || v == "f" {
				oid = 16
			} else if _, err := strconv.Atoi(v); err == nil && len(rows[0]) == 2 {
				oid = 20
			}
			d.Fields = append(d.Fields, pgproto3.FieldDescription{Name: fmt.Appendf(nil, "c%d", i), DataTypeOID: oid, DataTypeSize: -1})
		}
	}
	b.Send(&d)
	for _, r := range rows {
		var values [][]byte
		for _, v := range r {
			values = append(values, []byte(v))
		}
		b.Send(&pgproto3.DataRow{Values: values})
	}
	b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT")})
}
