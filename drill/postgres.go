package drill

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// connectPatience bounds a connection through the entrypoint, which holds new
	// ones while nobody leads.
	connectPatience = 10 * time.Second
	// claimKey is the advisory lock of drills: "drill" in ASCII.
	claimKey = 0x6472696c6c
	// mark begins the comment on a drill's schema; the time until which the drill
	// may last follows.
	mark = "made by matriarch drill, which drops it; valid until "
	// validFor is longer than any drill lasts.
	validFor = time.Hour
	// dropWaits is how long a drop waits for the claim of the drill that made the
	// schema: until then a statement of a killed drill may still be at work.
	dropWaits = 10 * time.Second
)

var schemaName = regexp.MustCompile(`^matriarch_drill_[0-9a-f]{16}$`)

// Postgres is the cluster's database as clients reach it.
type Postgres struct {
	dsn    string
	schema string
	claim  *pgx.Conn
}

// Open prepares the way through a connection string; nothing is connected yet.
func Open(dsn string) (*Postgres, error) {
	if _, err := connConfig(dsn); err != nil {
		return nil, err
	}
	var id [8]byte
	rand.Read(id[:])
	return &Postgres{dsn: dsn, schema: "matriarch_drill_" + hex.EncodeToString(id[:])}, nil
}

// connConfig reads a connection string as libpq does, from the environment too.
func connConfig(dsn string) (*pgx.ConnConfig, error) {
	conf, err := pgx.ParseConfig(dsn)
	if err != nil {
		// Its text quotes the string, without the password.
		return nil, fmt.Errorf("the entrypoint's connection string: %w", err)
	}
	conf.ConnectTimeout = connectPatience
	if conf.RuntimeParams["application_name"] == "" {
		conf.RuntimeParams["application_name"] = "matriarch drill"
	}
	conf.DefaultQueryExecMode = pgx.QueryExecModeExec // also where a pooler stands between
	return conf, nil
}

func connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	conf, err := connConfig(dsn)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, conf)
}

// address is where a connection string leads, for people.
func address(dsn string) string {
	conf, err := connConfig(dsn)
	if err != nil {
		return "?"
	}
	out := net.JoinHostPort(conf.Host, fmt.Sprint(conf.Port))
	for _, f := range conf.Fallbacks {
		if a := net.JoinHostPort(f.Host, fmt.Sprint(f.Port)); !strings.Contains(out, a) {
			out += ", " + a
		}
	}
	return out
}

// ErrOther is the refusal because another drill runs.
var ErrOther = errors.New("another drill runs on this cluster")

// Claim connects, looks whether this is the primary of the cluster and whether a
// table can be made here, and claims the cluster for one drill. Nothing is
// changed. notes are what a person should know.
func (p *Postgres) Claim(ctx context.Context, systemID string) (notes []string, err error) {
	p.claim, err = connect(ctx, p.dsn)
	if err != nil {
		hint := ""
		if refused := (*pgconn.PgError)(nil); errors.As(err, &refused) && strings.HasPrefix(refused.Code, "28") {
			hint = ": give user and password in --entrypoint, or in PGUSER and PGPASSWORD"
		}
		return nil, fmt.Errorf("the entrypoint at %s cannot be used: %s%s", address(p.dsn), plainError(err), hint)
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	var recovery, may, got bool
	var role, database string
	err = p.claim.QueryRow(ctx, `SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.has_database_privilege(current_database(), 'CREATE'),
		current_user, current_database()`).Scan(&recovery, &may, &role, &database)
	switch {
	case err != nil:
		return nil, fmt.Errorf("ask the server behind the entrypoint: %w", err)
	case recovery:
		return nil, errors.New("the entrypoint leads to a server that is in recovery: name the read-write one with --entrypoint")
	case !may:
		return nil, fmt.Errorf("the role %s may not make a schema in the database %s: GRANT CREATE ON DATABASE %s TO %s, or name another role or database with --entrypoint",
			role, database, database, role)
	}
	if err = p.sameCluster(ctx, systemID); err != nil {
		return nil, err
	}
	if err = p.claim.QueryRow(ctx, `SELECT pg_catalog.pg_try_advisory_lock($1)`, int64(claimKey)).Scan(&got); err != nil {
		return nil, fmt.Errorf("claim the cluster for this drill: %w", err)
	}
	if !got {
		return nil, ErrOther
	}
	notes, err = p.leftovers(ctx)
	return notes, err
}

// sameCluster makes sure that the entrypoint leads to the cluster whose members
// were asked: a drill measured on another one would say nothing.
func (p *Postgres) sameCluster(ctx context.Context, systemID string) error {
	var id string
	err := p.claim.QueryRow(ctx, `SELECT system_identifier::text FROM pg_catalog.pg_control_system()`).Scan(&id)
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused):
		return nil // not for this role to know
	case err != nil:
		return err
	case systemID != "" && id != systemID:
		return fmt.Errorf("the entrypoint leads to the database system %s, the members have %s: name this cluster's own with --entrypoint", id, systemID)
	}
	return nil
}

// leftovers looks for schemas of other drills. The claim is lost when the
// primary is, so a drill that is under way shows here alone while it connects
// again; one that was killed together with its second process left its schema.
func (p *Postgres) leftovers(ctx context.Context) (notes []string, err error) {
	rows, err := p.claim.Query(ctx, `SELECT nspname::text, until::text, until > pg_catalog.clock_timestamp() FROM (
			SELECT nspname, pg_catalog.substr(d, pg_catalog.length($1::text) + 1)::timestamptz AS until
			FROM (SELECT nspname, pg_catalog.obj_description(oid, 'pg_namespace') AS d FROM pg_catalog.pg_namespace
				WHERE nspname LIKE 'matriarch\_drill\_%' OFFSET 0) s
			WHERE pg_catalog.starts_with(d, $1)) t`, mark)
	if err != nil {
		return nil, fmt.Errorf("look for other drills: %w", err)
	}
	type leftover struct {
		name, until string
		valid       bool
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (l leftover, err error) {
		return l, r.Scan(&l.name, &l.until, &l.valid)
	})
	if err != nil {
		return nil, fmt.Errorf("look for other drills: %w", err)
	}
	for _, l := range list {
		if l.valid {
			return nil, fmt.Errorf("%w, or was killed: its schema %s is valid until %s. If none runs: DROP SCHEMA %s CASCADE", ErrOther, l.name, l.until, l.name)
		}
		notes = append(notes, fmt.Sprintf("the schema %s was left by a drill that was killed: DROP SCHEMA %s CASCADE", l.name, l.name))
	}
	return notes, nil
}

// Make makes the table. Until says the comment how long it is valid, by the
// server's clock.
func (p *Postgres) Make(ctx context.Context) error {
	s := p.schema
	var until string
	err := p.claim.QueryRow(ctx, `SELECT (pg_catalog.clock_timestamp() + $1::interval)::text`, fmt.Sprintf("%d seconds", int(validFor.Seconds()))).Scan(&until)
	if err != nil {
		return fmt.Errorf("ask the server for the time: %w", err)
	}
	// One implicit transaction: all of it or nothing.
	_, err = p.claim.PgConn().Exec(ctx, fmt.Sprintf(`CREATE SCHEMA %s; COMMENT ON SCHEMA %s IS '%s';
		CREATE TABLE %s.writes (client int, seq bigint, at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (client, seq))`,
		s, s, mark+strings.ReplaceAll(until, "'", "''"), s)).ReadAll()
	if err != nil {
		return fmt.Errorf("make the drill's table: %w", err)
	}
	return nil
}

// Close implements Table.
func (p *Postgres) Close() {
	if p.claim != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.claim.Close(ctx) // the server notices the end in any case
		p.claim = nil
	}
}

// Rows implements Table.
func (p *Postgres) Rows(ctx context.Context) ([]RowID, error) {
	conn, err := connect(ctx, p.dsn)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	var recovery bool
	if err := conn.QueryRow(ctx, `SELECT pg_catalog.pg_is_in_recovery()`).Scan(&recovery); err != nil {
		return nil, err
	}
	if recovery {
		return nil, errors.New("the entrypoint leads to a server that is in recovery")
	}
	rows, err := conn.Query(ctx, fmt.Sprintf(`SELECT client, seq FROM %s.writes`, p.schema))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (id RowID, err error) {
		return id, r.Scan(&id.Client, &id.Seq)
	})
}

func closeConn(c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx) // the server notices the end in any case
}

const dropSchema = "drop-schema"

// Undo implements Table.
func (p *Postgres) Undo() Undo {
	return Undo{Say: "drop the drill's table (schema " + p.schema + ")", Kind: dropSchema, Args: map[string]string{"dsn": p.dsn, "schema": p.schema}}
}

// PostgresUndoers undo what a Postgres does.
func PostgresUndoers() Undoers { return Undoers{dropSchema: drop} }

// drop removes a drill's schema from the primary. It waits for the claim first:
// while it is held, a statement of the drill that makes the schema may be under
// way, and would make it after the drop.
func drop(ctx context.Context, args map[string]string) error {
	schema := args["schema"]
	if !schemaName.MatchString(schema) {
		return fmt.Errorf("%q is no schema of a drill", schema)
	}
	conn, err := connect(ctx, args["dsn"])
	if err != nil {
		return errors.New(plainError(err)) // without the connection string's parts
	}
	defer closeConn(conn)
	for until := time.Now().Add(dropWaits); time.Now().Before(until); {
		var got bool
		if err := conn.QueryRow(ctx, `SELECT pg_catalog.pg_try_advisory_lock($1)`, int64(claimKey)).Scan(&got); err != nil {
			return errors.New(plainError(err))
		}
		if got {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	if _, err := conn.Exec(ctx, `SET client_min_messages = warning; DROP SCHEMA IF EXISTS `+schema+` CASCADE`, pgx.QueryExecModeSimpleProtocol); err != nil {
		return errors.New(plainError(err))
	}
	return nil
}
