package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/matriarch-ha/matriarch/api"
)

// connectTimeout bounds connecting to a server and asking it for its role.
const connectTimeout = 5 * time.Second

// session is the connection that a query uses, made when it is needed.
type session struct {
	query query
	doc   api.ClusterDoc
	conn  *pgconn.PgConn
}

func (s *session) close() {
	if s.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.conn.Close(ctx) // the server notices the end in any case
		s.conn = nil
	}
}

// noConnection: there is no member as it is wanted.
type noConnection struct{ whom string }

func (n noConnection) Error() string { return "No connection to " + n.whom + " is available" }

// whom names the wanted member for people.
func (q query) whom() string {
	switch {
	case q.member != "":
		return "member " + q.member
	case q.role != "":
		return "role " + q.role
	}
	return "role leader"
}

// run sends the SQL and returns the last result that it gave.
func (s *session) run(ctx context.Context, sql string) (resultSet, error) {
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			return resultSet{}, err
		}
	}
	return s.exec(ctx, sql)
}

// exec sends statements and reads what the last of them gave. Data that a
// statement wants from here are refused: otherwise the server would wait for
// them without end.
func (s *session) exec(ctx context.Context, sql string) (resultSet, error) {
	front := s.conn.Frontend()
	front.SendQuery(&pgproto3.Query{String: sql})
	err := front.Flush()
	var read reading
	for err == nil && !read.ready {
		var m pgproto3.BackendMessage
		if m, err = s.conn.ReceiveMessage(ctx); err != nil {
			break
		}
		if _, wants := m.(*pgproto3.CopyInResponse); wants {
			front.Send(&pgproto3.CopyFail{Message: "there are no data to copy from here"})
			err = front.Flush()
			continue
		}
		read.take(m)
	}
	if err != nil {
		s.close()
	}
	return read.result, errors.Join(read.failure, err)
}

// connect finds the member and connects to its server. Roles are what the
// cluster said; what a server is by now, it is asked itself.
func (s *session) connect(ctx context.Context) error {
	m, ok := anyMember(s.doc, s.query.role, s.query.member)
	if !ok {
		return noConnection{s.query.whom()}
	}
	conf, err := s.settings(m)
	if err != nil {
		return err
	}
	try, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgconn.ConnectConfig(try, conf)
	var refusal *pgconn.PgError
	if conf.Password == "" && errors.As(err, &refusal) && refusal.Code == "28P01" && refusal.Hint == "" {
		refusal.Hint = "no password was given: set PGPASSWORD or PGPASSFILE, or let --password ask for it; -U names another user"
	}
	if err != nil {
		return err
	}
	s.conn = conn
	if fits, err := s.fits(try); err != nil || !fits {
		s.close()
		return errors.Join(err, noConnection{s.query.whom()})
	}
	return nil
}

// settings are how to connect: as psql would, from the environment, except for
// what the options say.
func (s *session) settings(m api.MemberDoc) (*pgconn.Config, error) {
	conf, err := pgconn.ParseConfig("host=" + quoted(m.Host) + " port=" + strconv.Itoa(m.Port) + s.query.given())
	if err != nil {
		return nil, fmt.Errorf("how to connect to %s:%d: %w", m.Host, m.Port, err)
	}
	if s.query.ask { // never part of a text that an error might quote
		conf.Password = s.query.password
	}
	if conf.RuntimeParams["application_name"] == "" {
		conf.RuntimeParams["application_name"] = "Patroni ctl"
	}
	conf.ConnectTimeout = connectTimeout
	// Who interrupts the command means the query too.
	conf.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: time.Second}
	}
	return conf, nil
}

// given are the options in the form of a connection string.
func (q query) given() string {
	var b strings.Builder
	if q.user != "" {
		b.WriteString(" user=" + quoted(q.user))
	}
	if q.database != "" {
		b.WriteString(" dbname=" + quoted(q.database))
	}
	return b.String()
}

// quoted writes a value of a connection string.
func quoted(v string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
}

// fits asks the server whether it is what the role wants.
func (s *session) fits(ctx context.Context) (bool, error) {
	role := s.query.role
	if role == "" || role == "any" || role == "leader" {
		return true, nil
	}
	r, err := s.exec(ctx, "SELECT pg_catalog.pg_is_in_recovery()")
	if err != nil {
		return false, err
	}
	if len(r.rows) != 1 {
		return false, errors.New("the server does not say whether it is in recovery")
	}
	inRecovery := r.rows[0].text[0] != "f"
	return inRecovery == (role != "primary"), nil
}

// sqlError is an error of the server in the words of psql.
func sqlError(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	text := fmt.Sprintf("%s (SQLSTATE %s)", pg.Message, pg.Code)
	if pg.Detail != "" {
		text += "\nDetail: " + pg.Detail
	}
	if pg.Hint != "" {
		text += "\nHint: " + pg.Hint
	}
	return errors.New(text)
}

// rowOfError is an error as one cell.
func rowOfError(err error) string {
	var none noConnection
	if errors.As(err, &none) {
		return none.Error()
	}
	text := err.Error()
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		text = pg.Code
	}
	return "ERROR, SQLSTATE: " + strings.ReplaceAll(text, "\n", " ")
}
