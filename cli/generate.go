package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"
)

func (a *app) generateCommand() *cobra.Command {
	var dsn string
	var sample bool
	c := &cobra.Command{
		Use:   "generate-config [FILE]",
		Short: "Write the configuration of a member from a running server",
		Long: "Connects to a running PostgreSQL (--dsn, or the usual PG… variables) as a superuser and writes\n" +
			"the YAML file of a member for it: its parameters that differ from the defaults, access rules,\n" +
			"directories, addresses. What it cannot know is marked FIXME. Without FILE it writes to standard\n" +
			"output, with placeholders for passwords; a FILE is made with mode 0600 and must not exist.",
		Example: a.examples("{} generate-config --dsn 'host=/var/run/postgresql user=postgres' /etc/matriarch/n1.yml",
			"{} generate-config --sample > n1.yml"),
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, files []string) error {
			if sample && dsn != "" {
				return usage(c, errors.New("--sample and --dsn are mutually exclusive options"))
			}
			return Generate(c, firstOr(files), dsn, sample)
		},
	}
	c.Flags().StringVar(&dsn, "dsn", "", "how to connect, as a URL or keywords")
	c.Flags().BoolVar(&sample, "sample", false, "write a template, without a server")
	return c
}

func firstOr(files []string) string {
	if len(files) > 0 {
		return files[0]
	}
	return ""
}

// Generate writes a member's configuration to a new file, or to standard output
// when path is empty: from the server at dsn, or as a template.
func Generate(c *cobra.Command, path, dsn string, sample bool) error {
	if path != "" {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s exists: name another file, or move it away", path)
		}
	}
	m := sampleMember(c.Context())
	if !sample {
		var err error
		if m, err = memberOf(c.Context(), dsn); err != nil {
			return err
		}
	}
	if path == "" {
		_, err := io.WriteString(c.OutOrStdout(), m.yaml(false))
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(m.yaml(true))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	warn(c, "wrote %s (mode 0600); look for FIXME, then run: matriarch validate -i %s", path, path)
	return nil
}

// memberOf asks a running server.
func memberOf(ctx context.Context, dsn string) (*generated, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	conf, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("--dsn cannot be understood: write a URL, or host=… port=… user=…") // the error repeats it
	}
	conf.RuntimeParams["application_name"] = "matriarch generate-config"
	conf.RuntimeParams["search_path"] = "pg_catalog"
	conn, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to PostgreSQL: %w (the password is taken from --dsn, PGPASSWORD or the password file)", err)
	}
	defer conn.Close(context.Background())
	m := newGenerated()
	m.superuser, m.password = conf.User, conf.Password
	for _, step := range []func(context.Context, *pgx.Conn) error{m.askServer, m.askParameters, m.askRules, m.askRoles} {
		if err := step(ctx, conn); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// value asks for one text.
func value(ctx context.Context, conn *pgx.Conn, sql string, arguments ...any) (string, error) {
	var v *string
	err := conn.QueryRow(ctx, sql, arguments...).Scan(&v)
	if v == nil || err != nil {
		return "", err
	}
	return *v, nil
}
