package guard

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/guard/netfence"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/internal/messages"
)

const testPort = 5432

// ownNetwork gives the test, and all that it starts, a network of its own. Its
// thread is never given back: it ends with the test.
func ownNetwork(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("this test needs a network namespace of its own (CAP_SYS_ADMIN): %v", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("ip: %v: %s", err, out)
	}
}

// tables are the names of nftables' tables in the test's network.
func tables(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("nft", "list", "tables").CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func awaitNoTable(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); tables(t) != ""; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("left behind: %s", tables(t))
		}
	}
}

// onPort is a server that also listens on TCP, with a table to write to.
func onPort(t *testing.T) *server {
	t.Helper()
	s := startServer(t, "-c", "listen_addresses=127.0.0.1", "-c", "port="+strconv.Itoa(testPort))
	conn := s.connect()
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), "create table t (i int)"); err != nil {
		t.Fatal(err)
	}
	return s
}

func byTCP(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), "host=127.0.0.1 user=postgres dbname=postgres sslmode=disable connect_timeout=5 port="+strconv.Itoa(testPort))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn.Close(ctx)
	})
	return conn
}

func write(conn *pgx.Conn) error {
	_, err := conn.Exec(context.Background(), "insert into t values (1)")
	return err
}

func kernelGuard(t *testing.T, s *server) *Client {
	t.Helper()
	c, err := Start(context.Background(), optionsFor(Duty{DataDir: s.dir, Port: testPort, KernelFence: KernelFenceAutomatic}, nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	return c
}

// mustBeActive: a test that runs as root has all that the fence needs.
func mustBeActive(t *testing.T, c *Client) {
	t.Helper()
	if k := c.Kernel(); !k.Active || k.Trouble != "" {
		t.Fatalf("kernel-timed fence %+v", k)
	}
}

// The guard stands still past the deadline, and the server works on: it reaches
// nobody over the port. When the guard goes on it kills, and only then takes the
// fence away: the client hears of the end, and of no commit.
func TestNoAnswerWhileTheGuardStandsStill(t *testing.T) {
	ownNetwork(t)
	s := onPort(t)
	c := kernelGuard(t, s)
	mustBeActive(t, c)
	conn, inside := byTCP(t), s.connect()
	d := within(2 * time.Second)
	arm(t, c, d)
	if err := write(conn); err != nil {
		t.Fatal(err)
	}
	stop(t, c.State().PID)
	time.Sleep(d.Hard.Sub(now()) + 50*time.Millisecond)

	answered := make(chan error, 1)
	go func() { answered <- write(conn) }()
	// The row is committed: it is seen by way of the Unix socket, which no packet
	// filter covers.
	for n := 0; n < 2; {
		if err := inside.QueryRow(context.Background(), "select count(*) from t").Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-answered:
		t.Fatalf("the client was answered after the deadline: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	deliver(t, c.State().PID, unix.SIGCONT)
	awaitFence(t, c)
	if err := <-answered; err == nil {
		t.Error("the commit was acknowledged after the fence was lifted")
	}
	awaitNoTable(t)
	s.mustBeFenced()

	// The server comes back on the same port, read-only as it has to be, and is
	// reached.
	s.start()
	if err := byTCP(t).Ping(context.Background()); err != nil {
		t.Error(err)
	}
}

// Renewals move the kernel's deadline on; disarming takes the fence away and
// leaves the clients alone.
func TestRenewedAndDisarmed(t *testing.T) {
	ownNetwork(t)
	s := onPort(t)
	c := kernelGuard(t, s)
	conn := byTCP(t)
	first := within(2 * time.Second)
	for now() < first.Hard.Add(time.Second) {
		arm(t, c, within(2*time.Second))
		if err := write(conn); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	mustBeActive(t, c)
	if tables(t) != "table inet "+netfence.TableName(s.dir, testPort) {
		t.Errorf("armed, and the tables are: %s", tables(t))
	}
	if err := c.Disarm(context.Background()); err != nil {
		t.Fatal(err)
	}
	awaitNoTable(t)
	if err := write(conn); err != nil {
		t.Error(err)
	}
	mustBeActive(t, c)
}

// A guard that is killed leaves its fence. The next one goes on with it when it
// is armed in time; and takes it away when it is told that the server does not
// write.
func TestTheNextGuardTakesTheFenceOver(t *testing.T) {
	ownNetwork(t)
	s := onPort(t)
	conn := byTCP(t)
	c := kernelGuard(t, s)
	arm(t, c, within(time.Minute))
	c.Kill()
	c = kernelGuard(t, s)
	if !c.Kernel().Barred {
		t.Fatalf("the fence of the former guard was not found: %+v", c.Kernel())
	}
	d := within(1500 * time.Millisecond)
	arm(t, c, d)
	if err := write(conn); err != nil {
		t.Fatal(err)
	}
	c.Kill()
	time.Sleep(d.Hard.Sub(now()) + 50*time.Millisecond)
	answered := make(chan error, 1)
	go func() { answered <- write(conn) }()
	select {
	case err := <-answered:
		t.Fatalf("the client was answered after the deadline: %v", err)
	case <-time.After(500 * time.Millisecond):
	}

	if _, err := Kill(context.Background(), s.dir, clock.Real{}); err != nil {
		t.Fatal(err)
	}
	c = kernelGuard(t, s)
	if err := c.Disarm(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err == nil {
		t.Error("the commit was acknowledged after the fence was lifted")
	}
	awaitNoTable(t)
	for c.Kernel().Barred {
		<-c.Changed()
	}
	mustBeActive(t, c)
}

// Without its agent a guard lets the server stop, and leaves no fence behind.
func TestAnOrphanLeavesNoFence(t *testing.T) {
	for name, d := range map[string]fence.Deadlines{"stopped": within(4 * time.Second), "killed": within(2 * time.Second)} {
		t.Run(name, func(t *testing.T) {
			ownNetwork(t)
			s := onPort(t)
			c := kernelGuard(t, s)
			if name == "killed" {
				stop(t, busy(t, s)) // it hears of no shutdown
			}
			n := now()
			arm(t, c, fence.Deadlines{Sent: n, Soft: n.Add(time.Second), Hard: n.Add(d.Hard.Sub(d.Sent))})
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			<-c.Done()
			if got := tables(t); got != "" {
				t.Errorf("left behind: %s", got)
			}
			s.awaitEnd()
		})
	}
}

// What the guard may not do it says; with "required" it does not serve.
func TestKernelFenceAndRights(t *testing.T) {
	exe := copyOfTest(t)
	owner := []string{"--reuid=postgres", "--regid=postgres", "--clear-groups"}
	for _, c := range []struct {
		name   string
		rights []string
		file   bool // the program has the file capability
		active bool
	}{
		{"root", []string{"--nnp"}, false, true},
		{"root without CAP_NET_ADMIN", []string{"--bounding-set=-net_admin"}, false, false},
		{"owner", owner, false, false},
		{"owner, file capability", owner, true, true},
		{"owner, file capability that the container does not grant", append(owner, "--bounding-set=-net_admin"), true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ownNetwork(t)
			s := onPort(t)
			program := exe
			if c.file {
				program = copyOfTest(t)
				permit(t, program)
			}
			o := optionsFor(Duty{DataDir: s.dir, Port: testPort, KernelFence: KernelFenceAutomatic}, nil)
			o.Executable, o.Args = "/usr/bin/setpriv", append(c.rights, program)
			g, err := Start(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(g.Kill)
			k := g.Kernel()
			if k.Active != c.active || (k.Trouble == "") != c.active {
				t.Fatalf("%+v", k)
			}
			arm(t, g, within(500*time.Millisecond))
			if (tables(t) != "") != c.active {
				t.Errorf("tables: %s", tables(t))
			}
			awaitFence(t, g)
			s.mustBeFenced()
			awaitNoTable(t)

			o = optionsFor(Duty{DataDir: s.dir, Port: testPort, KernelFence: KernelFenceRequired}, nil)
			o.Executable, o.Args = "/usr/bin/setpriv", append(c.rights, program)
			g, err = Start(context.Background(), o)
			if (err == nil) != c.active {
				t.Errorf("required: %v", err)
			}
			if err == nil {
				g.Kill()
			} else {
				messages.Check(t, "kernel-fence-required", err.Error())
			}
		})
	}
}

// permit gives a program CAP_NET_ADMIN as permitted, as setcap cap_net_admin+p
// does.
func permit(t *testing.T, program string) {
	t.Helper()
	const revision2 = 0x02000000
	b := binary.LittleEndian.AppendUint32(nil, revision2)
	b = binary.LittleEndian.AppendUint32(b, 1<<unix.CAP_NET_ADMIN) // permitted; the rest is zero
	if err := unix.Setxattr(program, "security.capability", append(b, make([]byte, 12)...), 0); err != nil {
		t.Skipf("this test needs a file system with file capabilities: %v", err)
	}
}

// A packet filter that does not answer holds up the acknowledgement, never the
// kill.
func TestTheKillDoesNotWaitForTheKernel(t *testing.T) {
	s := startServer(t)
	k, err := newKiller(s.dir, clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	pairs := [2][2]int{}
	for i := range pairs {
		if pairs[i], err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pairs[i][1])
	}
	timer, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{killer: k, clock: clock.Real{}, sock: pairs[0][0], kern: pairs[1][0], timer: timer, dogWake: -1,
		handover: handover{listener: -1}, releases: releases{access: -1, wake: -1}}
	ended := make(chan error, 1)
	go func() { ended <- c.run() }()

	d := within(time.Second)
	var buf [maxMessage]byte
	if err := unix.Sendto(pairs[0][1], message{kind: kindArm, nonce: 1, a: int64(d.Soft), b: int64(d.Hard)}.encode(buf[:]), 0, nil); err != nil {
		t.Fatal(err)
	}
	for {
		poll := []unix.PollFd{{Fd: int32(pairs[0][1]), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, 20_000); n != 1 && !errors.Is(err, unix.EINTR) {
			t.Fatalf("no word within 20 s: %v", err)
		}
		n, err := unix.Read(pairs[0][1], buf[:])
		if err != nil {
			continue
		}
		m, err := decode(buf[:n])
		if err != nil {
			t.Fatal(err)
		}
		if m.kind == kindAck {
			t.Fatal("acknowledged, although the kernel has no such deadline")
		}
		if m.kind == kindFenced && m.flags&1 != 0 {
			break
		}
	}
	s.mustBeFenced()
	// Its agent gone, it ends when the kernel has answered both words.
	if err := unix.Shutdown(pairs[0][1], unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := unix.Sendto(pairs[1][1], message{kind: kindKernel}.encode(buf[:]), 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A lease that was lost early: the kernel closes the port at once, so that nothing is
// answered either if the guard itself is killed before its kill.
func TestADeadlineThatHasComeClosesThePort(t *testing.T) {
	k, err := newKiller(t.TempDir(), clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	c := &child{killer: k, clock: clock.Real{}, sock: -1, kern: pair[0], dogWake: -1}
	past := int64(now())
	c.hear(message{kind: kindArm, nonce: 7, a: past, b: past}, nil)
	var buf [maxMessage]byte
	n, err := unix.Read(pair[1], buf[:])
	if err != nil {
		t.Fatalf("the kernel was told nothing: %v", err)
	}
	if m, err := decode(buf[:n]); err != nil || m.kind != kindArm || m.b != past {
		t.Errorf("the kernel was told %+v, %v", m, err)
	}
	if c.owed.nonce == 7 {
		t.Error("a deadline that has come may be acknowledged")
	}
}

// A fence that fails while the guard runs is told once, and that it is back.
func TestMessagesKernelFence(t *testing.T) {
	var log bytes.Buffer
	c := &Client{log: slog.New(slog.NewTextHandler(&log, nil)), ready: make(chan struct{}), changed: make(chan struct{}, 1)}
	tell := func(k KernelState) { c.hear(message{kind: kindKernel, flags: k.flags(), text: k.Trouble}) }
	well, ill := KernelState{Active: true}, KernelState{Trouble: "no buffer space available"}
	tell(ill) // told by whoever started it
	close(c.ready)
	tell(well)
	log.Reset()
	tell(ill)
	tell(ill)
	messages.Check(t, "kernel-fence-lost", log.String())
	if c.Kernel() != ill {
		t.Errorf("state %+v", c.Kernel())
	}
	tell(well)
	if got := log.String(); strings.Count(got, "the kernel-timed fence is active again") != 1 {
		t.Error(got)
	}
}

// The guard's memory is locked and its garbage collector rests: what it does for
// as long as a member leads must leave nothing behind.
func TestArmingLeavesNothingBehind(t *testing.T) {
	ownNetwork(t)
	k, err := newKiller(t.TempDir(), clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	var pairs [2][2]int
	for i := range pairs {
		if pairs[i], err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pairs[i][0])
		defer unix.Close(pairs[i][1])
	}
	f := &fencer{sock: pairs[1][1], fence: netfence.Open(k.dir, testPort, true, clock.Real{})}
	at := f.state(nil)
	c := &child{killer: k, clock: clock.Real{}, sock: pairs[0][0], kern: pairs[1][0], kernel: at, told: at}
	d := within(time.Hour)
	var buf [maxMessage]byte
	renewal := func() {
		m := message{kind: kindArm, nonce: 7, a: int64(d.Soft), b: int64(d.Hard), text: testHandle}
		if err := unix.Sendto(pairs[0][1], m.encode(buf[:]), 0, nil); err != nil {
			t.Fatal(err)
		}
		c.listen()
		if err := f.step(); err != nil {
			t.Fatal(err)
		}
		c.listenKernel()
		n, err := unix.Read(pairs[0][1], buf[:])
		if err != nil {
			t.Fatal(err)
		}
		if m, err := decode(buf[:n]); err != nil || m.kind != kindAck || m.nonce != 7 {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	renewal() // makes the table, and knows the directory
	if n := testing.AllocsPerRun(100, renewal); n != 0 {
		t.Errorf("%v allocations for each renewal", n)
	}
}

// A fence that could not be lifted before its end closes the port at it, and
// nobody is told then: that it stands must be told at once.
func TestAFenceThatIsNotLiftedBars(t *testing.T) {
	f := &fencer{fence: netfence.Open(t.TempDir(), testPort, false, clock.Real{})}
	if st := f.state(errors.New("no memory")); !st.Barred || st.Active || st.Trouble == "" {
		t.Errorf("%+v", st)
	}
}
