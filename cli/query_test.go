package cli

import (
	"context"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/freeport"
)

const testPassword = "geheim"

// asServerOwner makes a command run as a user that PostgreSQL accepts.
func asServerOwner(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Dir = "/"
	if os.Getuid() != 0 {
		return
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// startPostgres runs a server that wants the password and returns its port.
func startPostgres(t *testing.T) int {
	t.Helper()
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(bins) == 0 {
		t.Skip("no PostgreSQL server is installed under /usr/lib/postgresql")
	}
	slices.Sort(bins)
	bin := bins[len(bins)-1]
	dir, err := os.MkdirTemp("", "cli-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(testPassword), 0o644); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(bin+"/initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", secret, "--no-sync", "-E", "UTF8", "--locale=C")
	asServerOwner(t, initdb)
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	port, err := freeport.Next()
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command(bin+"/postgres", "-D", data, "-p", strconv.Itoa(port), "-h", "127.0.0.1", "-k", "", "-c", "fsync=off", "-c", "shared_buffers=16MB")
	asServerOwner(t, server)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Signal(syscall.SIGINT)
		server.Wait()
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := pgconn.Connect(t.Context(), "host=127.0.0.1 user=postgres dbname=postgres password="+testPassword+" port="+strconv.Itoa(port))
		if err == nil {
			c.Close(t.Context())
			return port
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// served is the demo cluster whose leader is a real server; n2's is gone.
func served(t *testing.T, port int) *world {
	t.Helper()
	c := demo()
	c.Change(func(v *cluster.View) {
		v.Members[0].ConnURL = "postgres://127.0.0.1:" + strconv.Itoa(port) + "/postgres"
		v.Members[1].ConnURL = "postgres://127.0.0.1:1/postgres"
	})
	t.Setenv("PGUSER", "postgres")
	t.Setenv("PGDATABASE", "postgres")
	t.Setenv("PGPASSWORD", testPassword)
	return newWorld(t, c)
}

// TestQuery shares one server between its parts.
func TestQuery(t *testing.T) {
	port := startPostgres(t)
	for name, part := range map[string]func(*testing.T, *world){
		"results": queryResults, "errors": queryErrors, "password": queryPassword, "copy": queryCopy, "watched": queryWatched, "interrupted": queryInterrupted,
	} {
		t.Run(name, func(t *testing.T) { part(t, served(t, port)) })
	}
}

func queryResults(t *testing.T, w *world) {
	sql := "SELECT 1 AS a, 'x' || chr(228) AS b, NULL::text AS c, true AS d, 1.50::numeric AS e, 'NaN'::float8 AS f"
	w.run("", "query", "-c", sql).want(t, 0, "a\tb\tc\td\te\tf\n1\txä\t\tt\t1.50\tNaN\n", "")
	w.run("", "query", "lab", "-c", sql, "--delimiter", "|").want(t, 0, "a|b|c|d|e|f\n1|xä||t|1.50|NaN\n", "")
	w.run("", "query", "-c", sql, "--format", "json").want(t, 0, `[{"a": 1, "b": "x\u00e4", "c": null, "d": true, "e": 1.50, "f": "NaN"}]`+"\n", "")
	w.run("", "query", "-c", sql, "--format", "yaml").want(t, 0, "- a: 1\n  b: xä\n  c: null\n  d: true\n  e: 1.50\n  f: NaN\n", "")
	w.run("", "query", "-c", sql, "--format", "pretty").want(t, 0, `+---+----+---+---+------+-----+
| a | b  | c | d |    e |   f |
+---+----+---+---+------+-----+
| 1 | xä |   | t | 1.50 | NaN |
+---+----+---+---+------+-----+
`, "")
	w.run("", "query", "-c", "SELECT 1 AS first; SELECT 2 AS last", "-m", "n1").want(t, 0, "last\n2\n", "")
	w.run("", "query", "-c", "CREATE TEMP TABLE x ()").want(t, 0, "", "")
	w.run("", "query", "-c", "").want(t, 0, "", "")
	w.run("", "query", "-c", "SELECT WHERE false").want(t, 0, "", "")
	w.opts.Patronictl = true
	w.run("", "query", "-c", sql).want(t, 0, "a\tb\tc\td\te\tf\n1\txä\tNone\tTrue\t1.50\tNaN\n", "")

	file := filepath.Join(t.TempDir(), "q.sql")
	if err := os.WriteFile(file, []byte("SELECT current_user,\n current_setting('application_name') AS name"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run("", "query", "-f", file, "-d", "template1", "-U", "postgres", "-r", "primary").want(t, 0, "current_user\tname\npostgres\tPatroni ctl\n", "")
}

func queryErrors(t *testing.T, w *world) {
	w.run("", "query", "-c", "SELECT nothing").want(t, 1, "", `Error: column "nothing" does not exist (SQLSTATE 42703)`)
	w.run("", "query", "-c", "SELECT 1", "-m", "n2").contains(t, 1, "connection refused")
	w.run("", "query", "-c", "SELECT 1", "-m", "n9").want(t, 1, "", "Error: No connection to member n9 is available")
	w.run("", "query", "-c", "SELECT 1", "-r", "standby-leader").want(t, 1, "", "Error: No connection to role standby-leader is available")
	// The cluster calls n1 a replica; its server says otherwise.
	w.c.Change(func(v *cluster.View) {
		v.Leader.Name = "n2"
	})
	w.run("", "query", "-c", "SELECT 1", "-r", "replica").want(t, 1, "", "Error: No connection to role replica is available")
	w.c.Change(func(v *cluster.View) { v.Leader.Name = "n1" })
	w.run("", "query").contains(t, 2, "You need to specify either --command or --file")
	w.run("", "query", "-c", "x", "-f", "y").contains(t, 2, "mutually exclusive")
	w.run("", "query", "-c", "x", "-r", "any", "-m", "n1").contains(t, 2, "mutually exclusive")
	w.run("", "query", "-f", "/nonexistent").contains(t, 1, "/nonexistent")

	w.opts.Patronictl = true
	const now = "2026-11-22 23:05:46\t"
	w.run("", "query", "-c", "SELECT nothing").want(t, 0, now+"ERROR, SQLSTATE: 42703\n", "")
	w.run("", "query", "-c", "SELECT nothing", "--format", "json").want(t, 0, `[{"Field 1": "2026-11-22 23:05:46", "Field 2": "ERROR, SQLSTATE: 42703"}]`+"\n", "")
	w.run("", "query", "-c", "SELECT 1", "-r", "standby-leader").want(t, 0, now+"No connection to role standby-leader is available\n", "")
	w.run("", "query", "-c", "SELECT 1", "-m", "n2").contains(t, 0, now+"ERROR, SQLSTATE: failed to connect")
}

// queryPassword: it is asked for, and appears nowhere.
func queryPassword(t *testing.T, w *world) {
	t.Setenv("PGPASSWORD", "wrong")
	r := w.run("", "query", "-c", "SELECT 1")
	r.want(t, 1, "", `Error: password authentication failed for user "postgres" (SQLSTATE 28P01)`)
	t.Setenv("PGPASSWORD", "")
	t.Setenv("PGPASSFILE", "/nonexistent")
	w.run("", "query", "-c", "SELECT 1").contains(t, 1, "Hint: no password was given: set PGPASSWORD")
	w.run(testPassword+"\n", "query", "-c", "SELECT 1 AS one", "--password").want(t, 0, "one\n1\n", "Password: ")
	r = w.run("anders\n", "query", "-c", "SELECT 1", "--password")
	r.contains(t, 1, "password authentication failed")
	if strings.Contains(r.out+r.err, "anders") {
		t.Errorf("%s%s", r.out, r.err)
	}
}

// queryCopy: data that nobody sends do not hang the command.
func queryCopy(t *testing.T, w *world) {
	w.run("", "query", "-c", "CREATE TEMP TABLE x (a int); COPY x FROM STDIN").contains(t, 1, "there are no data to copy from here")
	w.run("", "query", "-c", "COPY (SELECT 1, 'a' UNION ALL SELECT 2, 'b') TO STDOUT").want(t, 0, "1\ta\n2\tb\n", "")
	w.run("", "query", "-c", "SELECT pg_terminate_backend(pg_backend_pid())").contains(t, 1, "57P01")
}

func queryWatched(t *testing.T, w *world) {
	root := NewWith(w.opts)
	var out syncBuffer
	root.SetOut(&out)
	root.SetArgs([]string{"--api", w.url, "query", "-c", "SELECT 7 AS n", "-w", "0.01"})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(ctx) }()
	for !strings.HasPrefix(out.String(), "n\n7\nn\n7\nn\n7\n") {
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	w.run("", "query", "-c", "SELECT 1", "-w", "-1").contains(t, 2, "is not from 0.01 to 86400 seconds")
}

// queryInterrupted: who ends the command ends the query too.
func queryInterrupted(t *testing.T, w *world) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	root := NewWith(w.opts)
	root.SetOut(io.Discard)
	root.SetArgs([]string{"--api", w.url, "query", "-c", "SELECT pg_sleep(600)"})
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(ctx) }()
	const sleepers = "SELECT count(*) AS n FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'"
	await := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); w.run("", "query", "-c", sleepers).out != want; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not %q", want)
			}
		}
	}
	await("n\n1\n")
	stop()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Error(err)
	}
	await("n\n0\n")
}
