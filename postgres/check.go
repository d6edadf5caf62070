package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/matriarch-ha/matriarch/postgres/conf"
	"github.com/matriarch-ha/matriarch/postgres/probe"
	"github.com/matriarch-ha/matriarch/wal"
)

// Why a source refuses replication; ReplicationCheck's error wraps one of them.
var (
	ErrHBA         = errors.New("pg_hba.conf of the source does not let us in")
	ErrPassword    = errors.New("the source refuses the password")
	ErrUnreachable = errors.New("the source cannot be reached")
	ErrWalSenders  = errors.New("the source has no free walsender")
	ErrNotReady    = errors.New("the source is starting up or shutting down")
	ErrRole        = errors.New("the role may not replicate")
)

// ReplicationCheck tries to connect to a source for replication, as a WAL
// receiver would, and says in the error's class why it cannot.
func (s *Server) ReplicationCheck(ctx context.Context, src Source) error {
	c, err := s.replicationSession(ctx, src)
	if err != nil {
		return err
	}
	return c.Close(ctx)
}

// replicationSession opens a walsender session to a source.
func (s *Server) replicationSession(ctx context.Context, src Source) (*pgconn.PgConn, error) {
	t := s.replicationTarget(src)
	c, err := probe.Connect(ctx, probe.Dial{Host: t.Host, Port: t.Port, DBName: t.DBName, Credentials: t.Credentials,
		Application: s.opt.Name, Replication: true})
	if err != nil {
		return nil, classify(err, src, t)
	}
	return c, nil
}

// classify names the reason; the message names place, role and remedy.
func classify(err error, src Source, t conf.Target) error {
	where := fmt.Sprintf("%s (%s:%s) as role %s", src.Name, t.Host, t.Port, t.Credentials.Username)
	class, remedy := ErrUnreachable, "check that it runs, listens there, and that no firewall is between"
	switch code := probe.Code(err); {
	case code == "28000" && strings.Contains(err.Error(), "pg_hba.conf"):
		class, remedy = ErrHBA, fmt.Sprintf("add a line such as: host replication %s <our address>/32 scram-sha-256", t.Credentials.Username)
	case code == "28000", code == "42501":
		class, remedy = ErrRole, "give it LOGIN and REPLICATION"
	case code == "28P01":
		class, remedy = ErrPassword, "make authentication.replication agree on all members and in the database"
	case code == "53300":
		class, remedy = ErrWalSenders, "raise max_wal_senders (or max_connections), or end what uses them up"
	case code == "57P03":
		class, remedy = ErrNotReady, "wait for it"
	case code != "":
		class, remedy = ErrUnreachable, "see its log"
	default:
		var op *net.OpError
		if !errors.As(err, &op) && !errors.Is(err, context.DeadlineExceeded) {
			remedy = "see the message"
		}
	}
	return fmt.Errorf("%w: %s: %s; %s", class, where, probe.Message(err), remedy)
}

// lineage asks a source where it is, and for the ancestors of its timeline.
func (s *Server) lineage(ctx context.Context, src Source) (wal.Position, wal.History, error) {
	c, err := s.replicationSession(ctx, src)
	if err != nil {
		return wal.Position{}, nil, err
	}
	defer c.Close(ctx)
	at, err := identify(ctx, c)
	if err != nil || at.Timeline == 1 {
		return at, nil, err
	}
	rows, err := c.Exec(ctx, fmt.Sprintf("TIMELINE_HISTORY %d", at.Timeline)).ReadAll()
	if err != nil || len(rows) == 0 || len(rows[0].Rows) == 0 || len(rows[0].Rows[0]) < 2 {
		return wal.Position{}, nil, fmt.Errorf("history of timeline %d from %s: %v", at.Timeline, src.Name, err)
	}
	h, err := wal.ParseHistory(string(rows[0].Rows[0][1]))
	return at, h, err
}

// identify asks for the timeline and how far it is flushed.
func identify(ctx context.Context, c *pgconn.PgConn) (wal.Position, error) {
	rows, err := c.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll()
	if err != nil {
		return wal.Position{}, errors.New("IDENTIFY_SYSTEM: " + probe.Message(err))
	}
	if len(rows) == 0 || len(rows[0].Rows) == 0 || len(rows[0].Rows[0]) < 3 {
		return wal.Position{}, errors.New("IDENTIFY_SYSTEM: no answer")
	}
	var tl uint32
	if _, err := fmt.Sscan(string(rows[0].Rows[0][1]), &tl); err != nil {
		return wal.Position{}, err
	}
	lsn, err := wal.ParseLSN(string(rows[0].Rows[0][2]))
	return wal.Position{Timeline: wal.Timeline(tl), LSN: lsn}, err
}
