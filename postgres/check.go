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

// lineage asks a source for its timeline and its ancestors.
func (s *Server) lineage(ctx context.Context, src Source) (wal.Timeline, wal.History, error) {
	c, err := s.replicationSession(ctx, src)
	if err != nil {
		return 0, nil, err
	}
	defer c.Close(ctx)
	tl, err := identifyTimeline(ctx, c)
	if err != nil || tl == 1 {
		return tl, nil, err
	}
	rows, err := c.Exec(ctx, fmt.Sprintf("TIMELINE_HISTORY %d", tl)).ReadAll()
	if err != nil || len(rows) == 0 || len(rows[0].Rows) == 0 || len(rows[0].Rows[0]) < 2 {
		return 0, nil, fmt.Errorf("history of timeline %d from %s: %v", tl, src.Name, err)
	}
	h, err := wal.ParseHistory(string(rows[0].Rows[0][1]))
	return tl, h, err
}

func identifyTimeline(ctx context.Context, c *pgconn.PgConn) (wal.Timeline, error) {
	rows, err := c.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll()
	if err != nil {
		return 0, errors.New("IDENTIFY_SYSTEM: " + probe.Message(err))
	}
	if len(rows) == 0 || len(rows[0].Rows) == 0 || len(rows[0].Rows[0]) < 2 {
		return 0, errors.New("IDENTIFY_SYSTEM: no answer")
	}
	var tl uint32
	_, err = fmt.Sscan(string(rows[0].Rows[0][1]), &tl)
	return wal.Timeline(tl), err
}
