package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/postgres/control"
	"github.com/matriarch-ha/matriarch/postgres/probe"
)

// What PostgreSQL itself does, as far as package sim relies on it: see the table
// in its documentation.

// What was acknowledged is there after every process was killed, in the middle
// of other commits.
func TestKillKeepsWhatWasAcknowledged(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	a.sql(t, ctx, "CREATE TABLE t (i int)")
	c, err := a.session(ctx)
	must(t, err)
	defer c.Close()
	acked, some := 0, make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c.Exec(ctx, fmt.Sprintf("INSERT INTO public.t VALUES (%d)", acked+1)) == nil {
			if acked++; acked == 100 {
				close(some)
			}
		}
	}()
	<-some
	a.crash(t, ctx)
	<-done
	if f := a.Observe(ctx); f.Control.Clean() {
		t.Fatal("a killed server passes for one that was shut down")
	}
	must(t, a.StartPrimary(ctx, 0))
	if got := a.sql(t, ctx, "SELECT count(*) FROM t WHERE i <= "+fmt.Sprint(acked)); got != fmt.Sprint(acked) {
		t.Errorf("%s rows of %d that were acknowledged", got, acked)
	}
}

// waiting begins a commit that waits for a standby that is not there, and
// returns when it does; its end arrives on the channel.
func waiting(t *testing.T, ctx context.Context, a *Server) (*probe.Conn, <-chan error) {
	t.Helper()
	must(t, a.SetSyncNames(ctx, []string{"nobody"}))
	c, err := a.session(ctx)
	must(t, err)
	t.Cleanup(c.Close)
	must(t, c.Exec(ctx, "SET synchronous_commit = on"))
	ended := make(chan error, 1)
	go func() { ended <- c.Exec(ctx, "INSERT INTO public.t VALUES (1)") }()
	must(t, poll(ctx, 20*time.Millisecond, "a commit to wait for the standby", func() (bool, error) {
		return a.sql(t, ctx, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "1", nil
	}))
	if n := a.sql(t, ctx, "SELECT count(*) FROM t"); n != "0" {
		t.Errorf("the row of a commit that waits is seen: %s", n)
	}
	return c, ended
}

const syncWarning = "canceling wait for synchronous replication"

// A client that cancels the wait is told that its commit is done, with a warning.
func TestCancelledSyncWaitIsASuccess(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	a.sql(t, ctx, "CREATE TABLE t (i int)")
	c, ended := waiting(t, ctx, a)
	a.sql(t, ctx, fmt.Sprintf("SELECT pg_cancel_backend(%d)", c.BackendPID()))
	if err := <-ended; err != nil {
		t.Errorf("the cancelled commit failed: %s", probe.Message(err))
	}
	if n := a.sql(t, ctx, "SELECT count(*) FROM t"); n != "1" {
		t.Errorf("%s rows", n)
	}
	if log := tail(a.opt.ServerLog, 0); !strings.Contains(log, syncWarning) {
		t.Error("there was no warning")
	}
}

// One whose standby is not waited for any more is let go without a warning.
func TestSyncWaitEndsWithTheSetting(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	a.sql(t, ctx, "CREATE TABLE t (i int)")
	_, ended := waiting(t, ctx, a)
	must(t, a.SetSyncNames(ctx, nil))
	if err := <-ended; err != nil {
		t.Errorf("the commit failed: %s", probe.Message(err))
	}
	if log := tail(a.opt.ServerLog, 0); strings.Contains(log, syncWarning) {
		t.Error("there was a warning")
	}
}

// A crash in the wait leaves the commit, of which nobody was told, in place.
func TestCrashInASyncWaitKeepsTheCommit(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	a.sql(t, ctx, "CREATE TABLE t (i int)")
	_, ended := waiting(t, ctx, a)
	a.crash(t, ctx)
	if err := <-ended; err == nil {
		t.Error("the client was told that its commit is safe")
	}
	must(t, a.StartPrimary(ctx, 0))
	if n := a.sql(t, ctx, "SELECT count(*) FROM t"); n != "1" {
		t.Errorf("%s rows", n)
	}
}

// pg_rewind believes numbers: two servers that were promoted to one number at
// one point, and hold different rows, need no rewind by its word.
func TestRewindBelievesNumbers(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	b, c, _, _ := l.twoBranches(ctx)
	for _, s := range []*Server{b, c} {
		s.sql(t, ctx, "CREATE TABLE only_on_"+s.opt.Name+"()")
		_, err := s.Stop(ctx, StopFast, StopOptions{})
		must(t, err)
	}
	cmd, err := b.command(ctx, nil, "pg_rewind", "--dry-run", "--target-pgdata="+b.opt.DataDir, "--source-pgdata="+c.opt.DataDir)
	must(t, err)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "no rewind required") {
		t.Errorf("%v: %s", err, out)
	}
}

// A promotion takes the number after the highest of the server's own history
// files, whatever others have promoted to.
func TestPromotionCountsItsOwnFiles(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b, c := l.replica(ctx, "b", a), l.replica(ctx, "c", a)
	must(t, c.user.WriteFile(filepath.Join(c.walDir(), "00000002.history"), []byte("1\t0/1000000\tplaceholder\n"), 0o600))
	for s, want := range map[*Server]string{b: "00000002", c: "00000003"} {
		s.sql(t, ctx, "SELECT pg_promote()")
		if got := s.sql(t, ctx, "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"); got != want {
			t.Errorf("%s was promoted to %s, want %s", s.opt.Name, got, want)
		}
	}
}

// A standby that was killed has all that it ever confirmed, and says so to its
// primary. Until it streams it knows only what it has replayed.
func TestStandbyKeepsWhatItConfirmed(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)
	a.sql(t, ctx, "CREATE TABLE t AS SELECT generate_series(1, 20000)")
	l.caughtUp(ctx, b, a)
	flush := func() string { return a.sql(t, ctx, "SELECT max(flush_lsn) FROM pg_stat_replication") }
	before := flush()
	b.crash(t, ctx)
	must(t, b.StartStandby(ctx, nil, true))
	must(t, poll(ctx, 20*time.Millisecond, "the standby to replay what it has", func() (bool, error) {
		f := b.Observe(ctx)
		if f.Received != 0 {
			t.Errorf("it remembers %s", f.Received)
		}
		return f.ReplayDone, nil
	}))
	if b.sql(t, ctx, "SELECT pg_last_wal_replay_lsn() >= '"+before+"'") != "t" {
		t.Errorf("it had confirmed %s and has %s", before, b.Observe(ctx).Position)
	}
	must(t, b.Follow(ctx, a.upstream()))
	must(t, poll(ctx, 10*time.Millisecond, "the first word of the standby", func() (bool, error) { return flush() != "", nil }))
	if a.sql(t, ctx, "SELECT max(flush_lsn) >= '"+before+"' FROM pg_stat_replication") != "t" {
		t.Errorf("it had confirmed %s and confirms %s", before, flush())
	}
}

// A fast shutdown waits until each standby that is connected has the last record,
// also for one whose receiver stands still.
func TestFastShutdownWaitsForItsWalsenders(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)
	pid := receiverPID(b.process().PID)
	must(t, freeze(pid))
	defer thaw(pid)
	p := a.process()
	must(t, p.Signal(syscall.SIGINT))
	must(t, poll(ctx, 20*time.Millisecond, "the shutdown checkpoint", func() (bool, error) {
		ctl, err := a.control(ctx)
		return ctl.State == control.ShutDown, err
	}))
	// It is there as long as the receiver stands still (to wal_sender_timeout); a
	// second is a thousand times what it takes otherwise.
	limit, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := p.Wait(limit); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("it did not wait for the standby: %v", err)
	}
	thaw(pid)
	must(t, p.Wait(ctx))
	end, _, err := a.StoppedPosition(ctx)
	must(t, err)
	must(t, poll(ctx, 20*time.Millisecond, "the standby to have the last record", func() (bool, error) {
		return b.Observe(ctx).Position.LSN == end.LSN, nil
	}))
}

// As long as one process of a killed server is left, none can be started.
func TestNoStartBesideAProcessThatIsLeft(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	waits := make(chan struct{}, 1)
	l.heard = func(line []byte) {
		if strings.Contains(string(line), "waiting for the processes of the former server") {
			select {
			case waits <- struct{}{}:
			default:
			}
		}
	}
	a := l.primary(ctx, "a")
	c, err := a.session(ctx)
	must(t, err)
	defer c.Close()
	must(t, freeze(c.BackendPID()))
	p := a.process()
	must(t, p.Signal(syscall.SIGKILL))
	must(t, p.Wait(ctx))
	cmd, err := a.command(ctx, nil, "postgres", "-D", a.opt.DataDir)
	must(t, err)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "shared memory") {
		t.Fatalf("%v: %s", err, out)
	}

	// A start waits for its end, but not for ever.
	a.formerWait = 50 * time.Millisecond
	if err := a.StartPrimary(ctx, 0); err == nil || !strings.Contains(err.Error(), "shared memory") {
		t.Fatalf("started beside a process of the former server: %v", err)
	}
	killed := 0
	a.opt.Kill = func(_ context.Context, dir string) error {
		if killed++; dir != a.opt.DataDir {
			t.Errorf("the server of %s is killed", dir)
		}
		return errors.New("refused")
	}
	if err := a.StartPrimary(ctx, 0); err == nil || !strings.Contains(err.Error(), "shared memory") || killed != 1 {
		t.Fatalf("killed %d times, started beside a process of the former server: %v", killed, err)
	}
	a.formerWait = time.Minute
	<-waits // that of the attempts before
	started := make(chan error, 1)
	go func() { started <- a.StartPrimary(ctx, 0) }()
	select {
	case <-waits:
	case err := <-started:
		t.Fatalf("it did not wait: %v", err)
	}
	must(t, syscall.Kill(c.BackendPID(), syscall.SIGKILL))
	must(t, <-started)

	// One that does not end by itself is killed.
	again, err := a.session(ctx)
	must(t, err)
	defer again.Close()
	must(t, freeze(again.BackendPID()))
	a.formerWait = 100 * time.Millisecond
	a.opt.Kill = func(context.Context, string) error {
		a.formerWait = time.Minute // the kernel may be busy
		return syscall.Kill(again.BackendPID(), syscall.SIGKILL)
	}
	p = a.process()
	must(t, p.Signal(syscall.SIGKILL))
	must(t, p.Wait(ctx))
	must(t, a.StartPrimary(ctx, 0))
}

// A server that finds no room for its WAL panics: what it acknowledged is there
// when there is room again.
func TestNoRoomForWALIsAPanic(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	_, err := a.Stop(ctx, StopFast, StopOptions{})
	must(t, err)
	small := filepath.Join(l.dir, "small")
	must(t, a.user.MkdirAll(small, 0o755))
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=12m", "none", small).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", small).Run() })
	must(t, exec.Command("cp", "-a", a.walDir(), filepath.Join(small, "wal")).Run())
	must(t, os.RemoveAll(a.walDir()))
	must(t, os.Symlink(filepath.Join(small, "wal"), a.walDir()))
	must(t, a.StartPrimary(ctx, 0))
	a.sql(t, ctx, "CREATE TABLE t (x text)")
	p := a.process()
	c, err := a.session(ctx)
	must(t, err)
	defer c.Close()
	acked := 0
	for acked < 1000 && c.Exec(ctx, "INSERT INTO public.t SELECT repeat(md5(random()::text), 4) FROM generate_series(1, 4000)") == nil {
		acked++
	}
	must(t, p.Wait(ctx)) // restart_after_crash is off
	if log := tail(a.opt.ServerLog, 0); !strings.Contains(log, "PANIC") || !strings.Contains(log, "No space left on device") {
		t.Fatal("the server ended otherwise")
	}
	must(t, exec.Command("mount", "-o", "remount,size=200m", small).Run())
	must(t, a.StartPrimary(ctx, 0))
	if got := a.sql(t, ctx, "SELECT count(*) FROM t"); got != fmt.Sprint(acked*4000) {
		t.Errorf("%s rows, and %d were acknowledged", got, acked*4000)
	}
}
