package proxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/matriarch-ha/matriarch/internal/freeport"
)

// pgBin finds the newest installed server; without one there is nothing to test
// against, and that is said.
func pgBin(t testing.TB) string {
	t.Helper()
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(dirs) == 0 {
		t.Skip("no PostgreSQL server is installed under /usr/lib/postgresql")
	}
	slices.Sort(dirs)
	return filepath.Dir(dirs[len(dirs)-1])
}

// asServerOwner makes a command run as a user that PostgreSQL accepts.
func asServerOwner(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
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
	cmd.Dir = "/"
}

// startPostgres runs a server in a fresh directory and returns its address.
func startPostgres(t testing.TB) string {
	t.Helper()
	bin := pgBin(t)
	dir, err := os.MkdirTemp("", "proxy-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(bin+"/initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
	asServerOwner(t, initdb)
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: freePort(t)}
	writeCertificate(t, data)
	var log strings.Builder
	srv := exec.Command(bin+"/postgres", "-D", data, "-p", strconv.Itoa(addr.Port), "-h", "127.0.0.1", "-k", "", "-c", "fsync=off",
		"-c", "max_connections=250", "-c", "ssl=on", "-c", "shared_buffers=32MB")
	asServerOwner(t, srv)
	srv.Stdout, srv.Stderr = &log, &log
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		srv.Process.Signal(syscall.SIGINT)
		srv.Wait()
	})
	eventually(t, "PostgreSQL accepts connections", func() bool {
		c, err := pgx.Connect(t.Context(), dsn(addr, "sslmode=disable"))
		if err == nil {
			c.Close(t.Context())
		}
		return err == nil
	})
	return addr.String()
}

func dsn(a net.Addr, more string) string {
	return fmt.Sprintf("postgres://postgres@%s/postgres?%s", a, more)
}

// allowScram makes a role that needs a password.
func allowScram(t *testing.T, server string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), "postgres://postgres@"+server+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	var hba string
	if err := c.QueryRow(t.Context(), "show hba_file").Scan(&hba); err != nil {
		t.Fatal(err)
	}
	lines, err := os.ReadFile(hba)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hba, append([]byte("host all scram all scram-sha-256\n"), lines...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"create role scram login password 'geheim'", "select pg_reload_conf()"} {
		if _, err := c.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the line is in force", func() bool {
		_, err := pgx.Connect(t.Context(), "postgres://scram:wrong@"+server+"/postgres?sslmode=disable")
		return err != nil
	})
}

// withServer makes a fake member lead to a real server.
func withServer(t testing.TB, name, role string, lease time.Duration, addr string) *fakeMember {
	m := newMember(t, name, role, lease)
	m.server = addr
	return m
}

func TestPostgres(t *testing.T) {
	addr := startPostgres(t)
	t.Run("pgx and psql", func(t *testing.T) {
		p, f := start(t, nil)
		f.send(t, "a", withServer(t, "a", "primary", long, addr))
		for _, mode := range []string{"sslmode=disable", "sslmode=prefer"} {
			out, err := exec.Command(pgBin(t)+"/psql", dsn(p.Addr(), mode), "-Atc", "select count(*) from generate_series(1,100000)").CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != "100000" {
				t.Fatalf("%s: %v %s", mode, err, out)
			}
			c := mustConnect(t, p, mode)
			var n int
			if err := c.QueryRow(t.Context(), "select length(repeat('x', $1))", 1<<20).Scan(&n); err != nil || n != 1<<20 {
				t.Fatal(n, err)
			}
		}
	})
	t.Run("200 at once", func(t *testing.T) {
		p, f := start(t, nil)
		a := withServer(t, "a", "replica", 0, addr)
		f.send(t, "a", a)
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				c, err := pgx.Connect(t.Context(), dsn(p.Addr(), "sslmode=disable"))
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close(t.Context())
				var n int
				if err := c.QueryRow(t.Context(), "select 1").Scan(&n); err != nil {
					t.Error(err)
				}
			})
		}
		eventually(t, "all are held", func() bool { return p.Stats().Held == 200 })
		a.set(func() { a.role, a.lease = "primary", long })
		wg.Wait()
	})
	t.Run("cancel", func(t *testing.T) {
		p, f := start(t, nil)
		f.send(t, "a", withServer(t, "a", "primary", long, addr))
		c, watch := mustConnect(t, p, "sslmode=disable"), mustConnect(t, p, "sslmode=disable")
		var process uint32
		if err := c.QueryRow(t.Context(), "select pg_backend_pid()").Scan(&process); err != nil || process != c.PgConn().PID() {
			t.Fatalf("the server's process is %d (%v), the client has heard of %d", process, err, c.PgConn().PID())
		}
		done := make(chan error, 1)
		go func() { _, err := c.Exec(t.Context(), "select pg_sleep(100)"); done <- err }()
		eventually(t, "the query runs", func() bool {
			var n int
			watch.QueryRow(t.Context(), "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'").Scan(&n)
			return n == 1
		})
		if err := c.PgConn().CancelRequest(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantState(t, <-done, "57014")
	})
	t.Run("encrypted", func(t *testing.T) {
		p, f := start(t, nil)
		f.send(t, "a", withServer(t, "a", "primary", long, addr))
		c, watch := mustConnect(t, p, "sslmode=require"), mustConnect(t, p, "sslmode=disable")
		var encrypted bool
		if err := c.QueryRow(t.Context(), "select ssl from pg_stat_ssl where pid = pg_backend_pid()").Scan(&encrypted); err != nil || !encrypted {
			t.Fatal(encrypted, err)
		}
		done := make(chan error, 1)
		go func() { _, err := c.Exec(t.Context(), "select pg_sleep(101)"); done <- err }()
		eventually(t, "the query runs", func() bool {
			var n int
			watch.QueryRow(t.Context(), "select count(*) from pg_stat_activity where query = 'select pg_sleep(101)' and state = 'active'").Scan(&n)
			return n == 1
		})
		cancelInPlain(t, p, c)
		wantState(t, <-done, "57014")
	})
	t.Run("TLS ends here", func(t *testing.T) {
		p, f := startTLS(t, nil)
		f.send(t, "a", withServer(t, "a", "primary", long, addr))
		allowScram(t, addr)
		try := func(more string) (string, error) {
			out, err := exec.Command(pgBin(t)+"/psql", "postgres://scram:geheim@"+p.Addr().String()+"/postgres?"+more,
				"-Atc", "select repeat('x', 1000000)").CombinedOutput()
			return strings.TrimSpace(string(out)), err
		}
		for _, more := range []string{"sslmode=require", "sslmode=require&channel_binding=disable", "sslmode=disable"} {
			if out, err := try(more); err != nil || len(out) != 1000000 {
				t.Errorf("%s: %v %.300s", more, err, out)
			}
		}
		if out, err := try("sslmode=require&channel_binding=require"); err == nil {
			t.Errorf("channel binding through two connections: %.300s", out)
		}
		c := mustConnect(t, p, "sslmode=require")
		var n int
		if err := c.QueryRow(t.Context(), "select length($1)", strings.Repeat("x", 5<<20)).Scan(&n); err != nil || n != 5<<20 {
			t.Fatal(n, err)
		}
	})
	t.Run("hold timeout", func(t *testing.T) {
		p, f := start(t, func(o *Options) { o.HoldTimeout = 50 * time.Millisecond })
		f.send(t, "", withServer(t, "a", "replica", 0, addr))
		_, err := pgx.Connect(t.Context(), dsn(p.Addr(), "sslmode=prefer"))
		wantState(t, err, stateNoPrimary)
	})
	t.Run("lease ends", func(t *testing.T) {
		p, f := start(t, func(o *Options) { o.AskInterval = 20 * time.Millisecond })
		a := withServer(t, "a", "primary", long, addr)
		f.send(t, "a", a)
		c := mustConnect(t, p, "sslmode=disable")
		go func() {
			a.set(func() { a.lease = 0 })
		}()
		_, err := c.Exec(t.Context(), "select pg_sleep(100)")
		wantState(t, err, stateTerminated)
	})
	t.Run("leader changes", func(t *testing.T) {
		p, f := start(t, nil)
		a, b := withServer(t, "a", "primary", long, addr), withServer(t, "b", "primary", long, addr)
		f.send(t, "a", a, b)
		c := mustConnect(t, p, "sslmode=disable")
		f.send(t, "b", a, b)
		_, err := c.Exec(t.Context(), "select pg_sleep(100)")
		wantState(t, err, stateTerminated)
		mustConnect(t, p, "sslmode=disable")
	})
}

func mustConnect(t *testing.T, p *Proxy, more string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn(p.Addr(), more))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func wantState(t *testing.T, err error, code string) {
	t.Helper()
	var pe *pgconn.PgError
	if !errors.As(err, &pe) || pe.Code != code {
		t.Fatalf("got %v, want SQLSTATE %s", err, code)
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	port, err := freeport.Next()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// cancelInPlain sends a cancel request without encryption, as clients before
// libpq 17 always do, for a session whose key the entrypoint never saw.
func cancelInPlain(t *testing.T, p *Proxy, c *pgx.Conn) {
	t.Helper()
	k := dialRaw(t, p.Addr())
	k.c.Write(cancelPacket(c.PgConn().PID(), string(c.PgConn().SecretKey())))
	k.c.Read(make([]byte, 1))
}

// writeCertificate gives the server a certificate of its own making.
func writeCertificate(t testing.TB, data string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	sys := owner.Sys().(*syscall.Stat_t)
	for name, b := range map[string]*pem.Block{"server.crt": {Type: "CERTIFICATE", Bytes: cert}, "server.key": {Type: "PRIVATE KEY", Bytes: der}} {
		path := filepath.Join(data, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, int(sys.Uid), int(sys.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}
