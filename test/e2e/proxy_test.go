package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

const ttl = 20 * time.Second

// TestEntrypoint: what the entrypoint promises its clients while hosts and
// links are lost around it.
func TestEntrypoint(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded, Timing: [3]int{20, 1, 3}})
	c.StartAll()
	c.WaitHealthy(60 * time.Second)
	cancelled(t, c)
	w := lab.StartWriter(t, c.DSN())
	storeUnseen(t, c, w)
	leaderUnseen(t, c, w)
	restUnseen(t, c, w)
	storeAndLeaderUnseen(t, c, w)
	formerPrimary(t, c, w)
	w.Stop()
}

// cancelled: a cancel request finds the right session through the entrypoint.
func cancelled(t *testing.T, c *lab.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	conn, other := connect(t, ctx, c), connect(t, ctx, c)
	defer conn.Close(ctx)
	defer other.Close(ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Exec(ctx, "SELECT pg_sleep(30)")
		ended <- err
	}()
	lab.Until(t, 10*time.Second, "the statement running", func() string {
		var n int
		if err := other.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' AND state = 'active'").Scan(&n); err != nil || n != 1 {
			return fmt.Sprint(n, err)
		}
		return ""
	})
	if err := conn.PgConn().CancelRequest(ctx); err != nil {
		t.Fatalf("cancel request: %v", err)
	}
	var pg *pgconn.PgError
	if err := <-ended; !errors.As(err, &pg) || pg.Code != "57014" {
		t.Fatalf("the statement ended with %v, want SQLSTATE 57014 (cancelled)", err)
	}
	if _, err := conn.Exec(ctx, "SELECT 1"); err != nil {
		t.Fatalf("the session after a cancelled statement: %v", err)
	}
}

func connect(t *testing.T, ctx context.Context, c *lab.Cluster) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(ctx, c.DSN())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// storeUnseen: the entrypoint goes on without the store for as long as the
// leader itself says that it leads.
func storeUnseen(t *testing.T, c *lab.Cluster, w *lab.Writer) {
	t.Helper()
	w.WaitProgress(t, 20*time.Second)
	w.Gap()
	for _, m := range c.Members {
		c.Entry.CutPort(m.IP, 2379)
	}
	for end := time.Now().Add(ttl + 3*time.Second); time.Now().Before(end); time.Sleep(time.Second) { // the pace of looking
		w.WaitProgress(t, 15*time.Second)
		if _, err := lab.SQL(c.DSN(), "SELECT 1"); err != nil {
			t.Fatalf("a new client while the entrypoint does not see the store: %v", err)
		}
	}
	t.Logf("entrypoint without the store for longer than a ttl: longest gap %s", w.Gap().Round(10*time.Millisecond))
	c.Entry.Mend()
}

// session is a client that waits for the end of its session.
func session(t *testing.T, c *lab.Cluster) (server string, ended chan time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*ttl)
	t.Cleanup(cancel)
	conn := connect(t, ctx, c)
	if err := conn.QueryRow(ctx, "SELECT host(inet_server_addr())").Scan(&server); err != nil {
		t.Fatal(err)
	}
	ended = make(chan time.Duration, 1)
	start := time.Now()
	go func() {
		_, _ = conn.Exec(ctx, "SELECT pg_sleep(120)")
		ended <- time.Since(start)
	}()
	return server, ended
}

// held opens a connection that has to wait for a primary, and says where it
// came out.
func held(c *lab.Cluster) chan string {
	out := make(chan string, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*ttl)
		defer cancel()
		conf, err := pgx.ParseConfig(c.DSN())
		if err != nil {
			out <- err.Error()
			return
		}
		conf.ConnectTimeout = 2 * ttl
		conn, err := pgx.ConnectConfig(ctx, conf)
		if err != nil {
			out <- err.Error()
			return
		}
		defer conn.Close(ctx)
		var server string
		if err := conn.QueryRow(ctx, "SELECT host(inet_server_addr()) || ' ' || pg_is_in_recovery()").Scan(&server); err != nil {
			server = err.Error()
		}
		out <- server
	}()
	return out
}

// leaderUnseen: cut off from the leader alone, the entrypoint ends the sessions
// when the lease it was told of has run out, and new clients wait.
func leaderUnseen(t *testing.T, c *lab.Cluster, w *lab.Writer) {
	t.Helper()
	lead := c.WaitHealthy(30 * time.Second)
	_, ended := session(t, c)
	c.Entry.Cut(lead.IP)
	select {
	case after := <-ended:
		t.Logf("entrypoint cut off from the leader: its session ended after %s", after.Round(10*time.Millisecond))
	case <-time.After(ttl + 5*time.Second):
		t.Fatalf("a session to a leader that the entrypoint cannot ask still stands %s later", ttl+5*time.Second)
	}
	waiting := held(c)
	c.Entry.Mend()
	if got := <-waiting; got != lead.IP+" false" {
		t.Fatalf("a client that waited came to %q, want %s", got, lead.IP)
	}
	w.WaitProgress(t, 20*time.Second)
	if now := c.Leader(); now != lead {
		t.Fatalf("%s led, and does no more, although only the entrypoint could not reach it", lead.Name)
	}
}

// restUnseen: cut off from the leader's REST interface alone, the entrypoint ends
// the sessions all the same, although the server answers: nobody says that it may
// still be written to.
func restUnseen(t *testing.T, c *lab.Cluster, w *lab.Writer) {
	t.Helper()
	lead := c.WaitHealthy(30 * time.Second)
	_, ended := session(t, c)
	c.Entry.CutPort(lead.IP, 8008)
	select {
	case after := <-ended:
		t.Logf("entrypoint cut off from the leader's REST interface: its session ended after %s", after.Round(10*time.Millisecond))
	case <-time.After(ttl + 5*time.Second):
		t.Fatalf("a session to a leader whose lease nobody tells of still stands %s later", ttl+5*time.Second)
	}
	if rows, err := lab.SQL(lead.DSN(), "SELECT pg_is_in_recovery()::text"); err != nil || rows[0] != "false" {
		t.Fatalf("the primary itself: %v %v", rows, err)
	}
	c.Entry.Mend()
	w.WaitProgress(t, 20*time.Second)
}

// storeAndLeaderUnseen: while the entrypoint does not see the store the leader is
// lost. Its successor is found by asking the members.
func storeAndLeaderUnseen(t *testing.T, c *lab.Cluster, w *lab.Writer) {
	t.Helper()
	lead := c.WaitHealthy(30 * time.Second)
	w.WaitProgress(t, 20*time.Second)
	for _, m := range c.Members {
		c.Entry.CutPort(m.IP, 2379)
	}
	lead.Unplug()
	next := c.WaitLeader(2*ttl, lead)
	lab.Until(t, 2*ttl, "clients at the new primary", func() string {
		rows, err := lab.SQL(c.DSN(), "SELECT host(inet_server_addr())")
		if err != nil || rows[0] != next.IP {
			return fmt.Sprint(rows, err, c.EntryProcess().Tail(5))
		}
		return ""
	})
	w.WaitProgress(t, 20*time.Second)
	c.Entry.Mend()
	lead.Plug()
	c.WaitHealthy(60 * time.Second)
	w.WaitProgress(t, 20*time.Second)
}

// formerPrimary: a primary that was cut off keeps no session past its lease,
// clients that come meanwhile wait for its successor, and once that was heard of
// no row is acknowledged that it does not have.
func formerPrimary(t *testing.T, c *lab.Cluster, w *lab.Writer) {
	t.Helper()
	lead := c.WaitHealthy(30 * time.Second)
	server, ended := session(t, c)
	if server != lead.IP {
		t.Fatalf("the entrypoint leads to %s and %s leads", server, lead.Name)
	}
	w.WaitProgress(t, 20*time.Second)
	w.Gap()
	lead.Unplug()
	waiting := held(c)
	next := c.WaitLeader(2*ttl, lead)
	select {
	case after := <-ended:
		t.Logf("host cut off: its session ended after %s", after.Round(10*time.Millisecond))
	case <-time.After(3 * time.Second): // for the news to get here on a busy machine
		t.Fatalf("%s leads and a session to %s still stands", next.Name, lead.Name)
	}
	if got := <-waiting; got != next.IP+" false" {
		t.Fatalf("a client that waited came to %q, want the new primary %s", got, next.IP)
	}
	first := w.Count()
	w.WaitProgress(t, 20*time.Second)
	t.Logf("host cut off: longest gap %s", w.Gap().Round(10*time.Millisecond))
	lead.Plug()
	c.WaitHealthy(60 * time.Second)
	w.WaitProgress(t, 20*time.Second)
	acks := w.Acks()
	lost := map[int64]bool{}
	for _, id := range w.Lost(t, next.DSN()) {
		lost[id] = true
	}
	for _, a := range acks[first:] {
		if lost[a.ID] {
			t.Errorf("row %d was acknowledged after %s took over, and is not there", a.ID, next.Name)
		}
	}
}
