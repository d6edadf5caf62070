package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// query is what the options say.
type query struct {
	command, file  string
	role, member   string
	user, database string
	format         string
	delimiter      string
	ask            bool
	password       string
}

func (a *app) queryCommand() *cobra.Command {
	var q query
	w := watching{app: a, keep: true}
	c := &cobra.Command{
		Use:   "query [CLUSTER]",
		Short: "Run SQL on a member",
		Long: "Runs SQL on the leader, or on the first member of a role, or on a named one. The user, the\n" +
			"database, the password and TLS are taken as psql takes them: from PGUSER, PGDATABASE,\n" +
			"PGPASSWORD, ~/.pgpass, PGSSLMODE, unless options say otherwise.",
		Example: a.examples("{} query -c 'SELECT 1'", "{} query -r replica -f check.sql -d app -U app",
			"{} query -c 'SELECT pg_last_wal_replay_lsn()' -r replica --format json -W"),
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, names []string) error { return a.query(c, clusterArg(names), q, &w) },
	}
	f := c.Flags()
	f.StringVarP(&q.command, "command", "c", "", "the `SQL` to run")
	f.StringVarP(&q.file, "file", "f", "", "`FILE` with the SQL to run")
	roleFlag(c, &q.role, "on whom")
	a.memberFlag(c, &q.member)
	f.StringVarP(&q.user, "username", "U", "", "database user `NAME`")
	f.StringVarP(&q.database, "dbname", "d", "", "database `NAME`")
	f.BoolVar(&q.ask, "password", false, "ask for the password")
	f.StringVar(&q.delimiter, "delimiter", "\t", "between columns, for tsv")
	formatFlag(c, &q.format, "", formatTSV)
	w.flags(c)
	groupFlag(c)
	c.ValidArgsFunction = a.completeCluster
	return c
}

func (a *app) query(c *cobra.Command, name string, q query, w *watching) error {
	sql, err := q.sql(c)
	if err != nil {
		return err
	}
	if q.ask {
		if q.password, err = newPrompter(c).secret(c, "Password"); err != nil {
			return err
		}
	}
	x, s, err := a.look(c, name)
	if err != nil {
		return err
	}
	defer x.close()
	conn := &session{query: q, doc: s.doc}
	defer conn.close()
	return w.repeat(c, func(ctx context.Context, out io.Writer) error { return a.queryOnce(ctx, out, c, conn, sql) })
}

// sql settles what is to be run.
func (q query) sql(c *cobra.Command) (string, error) {
	given := c.Flags().Changed("command")
	switch {
	case q.file != "" && given:
		return "", usage(c, errors.New("--file and --command are mutually exclusive options"))
	case q.file == "" && !given:
		return "", usage(c, errors.New("You need to specify either --command or --file")) //nolint:staticcheck // the reference's text
	case q.role != "" && q.member != "":
		return "", usage(c, errors.New("--role and --member are mutually exclusive options"))
	case q.file == "-":
		text, err := io.ReadAll(c.InOrStdin())
		return string(text), err
	case q.file != "":
		text, err := os.ReadFile(q.file)
		return string(text), err
	}
	return q.command, nil
}

// queryOnce runs the SQL and shows its result. Under the old name an error is a
// row like any other.
func (a *app) queryOnce(ctx context.Context, out io.Writer, c *cobra.Command, conn *session, sql string) error {
	r, err := conn.run(ctx, sql)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return errors.New("interrupted; the server was asked to cancel the query")
	case a.opts.Patronictl:
		r = resultSet{rows: []resultRow{{text: []string{a.opts.Now().Format("2006-01-02 15:04:05"), rowOfError(err)}}}}
	default:
		return sqlError(err)
	}
	text, err := r.render(conn.query.format, conn.query.delimiter, a.opts.Patronictl)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(out, text)
	return err
}
