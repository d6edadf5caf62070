package netfence

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// ownNetwork gives the test a network namespace of its own. Its thread is never
// given back: it ends with the test.
func ownNetwork(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := raiseNetAdmin(); err != nil {
		t.Skipf("this test needs a network namespace of its own: %v", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("this test needs a network namespace of its own: %v", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("ip: %v: %s", err, out)
	}
}

func now() boot.Instant { return clock.Real{}.Now() }

func sleepUntil(at boot.Instant) { time.Sleep(at.Sub(now())) }

// pair is a connection to a listening server, both ends.
type pair struct {
	server, client *net.TCPConn
	port           uint16
}

func connect(t *testing.T, l net.Listener) pair {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return pair{s.(*net.TCPConn), c.(*net.TCPConn), uint16(l.Addr().(*net.TCPAddr).Port)}
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func (p pair) send(t *testing.T, text string) {
	t.Helper()
	if _, err := p.server.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// hears reads what comes within the time, and the error that ends it.
func (p pair) hears(t *testing.T, within time.Duration) (string, error) {
	t.Helper()
	if err := p.client.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(p.client)
	return string(b), err
}

func (p pair) mustHear(t *testing.T, want string) {
	t.Helper()
	if err := p.client.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(want))
	if _, err := io.ReadFull(p.client, b); err != nil || string(b) != want {
		t.Fatalf("heard %q, %v; want %q", b, err, want)
	}
}

// mustHearTheEnd waits for the end of the connection, with nothing before it.
func (p pair) mustHearTheEnd(t *testing.T) {
	t.Helper()
	got, err := p.hears(t, 20*time.Second)
	if got != "" || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("heard %q, then %v; want the end of the connection alone", got, err)
	}
}

func open(t *testing.T, port uint16) *Fence {
	t.Helper()
	f := Open("/data", port, true, clock.Real{})
	if !f.Able() || f.Trouble() != nil {
		t.Fatalf("no fence: %v", f.Trouble())
	}
	return f
}

func raise(t *testing.T, f *Fence, d time.Duration) boot.Instant {
	t.Helper()
	hard := now().Add(d)
	if !f.Raise(hard) || f.Trouble() != nil {
		t.Fatalf("not raised: %v", f.Trouble())
	}
	return hard
}

// closed waits until the fence has certainly lapsed.
func lapsed(t *testing.T, f *Fence, d time.Duration) {
	t.Helper()
	sleepUntil(raise(t, f, d).Add(coarse))
}

func lift(t *testing.T, f *Fence) {
	t.Helper()
	if err := f.Lift(); err != nil {
		t.Fatal(err)
	}
	if got := tables(t); got != "" {
		t.Fatalf("left behind: %s", got)
	}
}

func tables(t *testing.T) string {
	t.Helper()
	all, err := (&nftables.Conn{}).ListTables()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range all {
		names = append(names, x.Name)
	}
	return strings.Join(names, " ")
}

// addresses are the ways in which a client may have come.
var addresses = map[string]string{"IPv4": "127.0.0.1:0", "IPv6": "[::1]:0"}

// The port sends for as long as the deadline is moved on, and no byte later,
// although no process does anything at the deadline.
func TestThePortFallsSilent(t *testing.T) {
	for name, address := range addresses {
		t.Run(name, func(t *testing.T) {
			ownNetwork(t)
			p := connect(t, listen(t, address))
			other := connect(t, listen(t, address))
			f := open(t, p.port)
			const step = 300 * time.Millisecond
			hard := raise(t, f, step)
			for range 8 {
				time.Sleep(step / 3)
				hard = raise(t, f, step)
				p.send(t, "live")
				p.mustHear(t, "live")
			}
			sleepUntil(hard.Add(coarse))
			p.send(t, "late")
			if got, err := p.hears(t, time.Second); got != "" || dropped(t, f) == 0 {
				t.Errorf("heard %q (%v) after the deadline; %d dropped", got, err, dropped(t, f))
			}
			other.send(t, "another port")
			other.mustHear(t, "another port")
		})
	}
}

// What a server tried to send after the deadline stays in the kernel. It must
// not come out when the fence is taken away, whether the server is alive, dead,
// or its socket was full before.
func TestWhatWasHeldBackNeverArrives(t *testing.T) {
	ends := map[string]func(p pair){
		"socket open":   func(pair) {},
		"socket closed": func(p pair) { p.server.Close() },
	}
	for family, address := range addresses {
		for name, end := range ends {
			t.Run(family+", "+name, func(t *testing.T) {
				ownNetwork(t)
				p := connect(t, listen(t, address))
				f := open(t, p.port)
				lapsed(t, f, 50*time.Millisecond)
				p.send(t, "late")
				end(p)
				lift(t, f)
				p.mustHearTheEnd(t)
			})
		}
	}
	// The measure of the test: a table that is simply deleted lets it out.
	t.Run("a table that is simply deleted", func(t *testing.T) {
		ownNetwork(t)
		p := connect(t, listen(t, "127.0.0.1:0"))
		f := open(t, p.port)
		lapsed(t, f, 50*time.Millisecond)
		p.send(t, "late")
		p.server.Close()
		if err := f.remove(); err != nil {
			t.Fatal(err)
		}
		p.mustHear(t, "late")
	})
}

// A client that reads nothing: what was written before the deadline waits in the
// server's socket, and must not be sent after it either.
func TestWhatWasQueuedBeforeTheDeadline(t *testing.T) {
	ownNetwork(t)
	p := connect(t, listen(t, "127.0.0.1:0"))
	f := open(t, p.port)
	hard := raise(t, f, time.Second)
	_ = p.server.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	sent := 0
	for b := make([]byte, 1<<16); ; {
		n, err := p.server.Write(b)
		if sent += n; err != nil {
			break
		}
	}
	sleepUntil(hard.Add(coarse))
	p.server.Close()
	lift(t, f)
	got, err := p.hears(t, 20*time.Second)
	if len(got) >= sent || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("heard %d of %d bytes, then %v: want less, and the end of the connection", len(got), sent, err)
	}
}

// Clients for which nothing was held back hear of the end as ever, and a port on
// which nobody listens refuses, also while the fence is closed.
func TestClientsHearOfTheEnd(t *testing.T) {
	ownNetwork(t)
	l := listen(t, "127.0.0.1:0")
	idle, ended := connect(t, l), connect(t, l)
	f := open(t, idle.port)
	lapsed(t, f, 50*time.Millisecond)
	ended.server.Close()
	l.Close()
	if _, err := net.DialTimeout("tcp", l.Addr().String(), 5*time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a port on which nobody listens: %v", err)
	}
	lift(t, f)
	idle.mustHearTheEnd(t)
	// It had only its end to tell: that is let out, not destroyed.
	if got, err := ended.hears(t, 20*time.Second); got != "" || err != nil {
		t.Errorf("heard %q, %v; want the orderly end", got, err)
	}
}

// Replacing the element leaves no gap in which a packet is dropped.
func TestRenewingDropsNothing(t *testing.T) {
	ownNetwork(t)
	p := connect(t, listen(t, "127.0.0.1:0"))
	f := open(t, p.port)
	raise(t, f, time.Minute)
	sent := make(chan error)
	go func() {
		for range 20000 {
			if _, err := p.server.Write([]byte("x")); err != nil {
				sent <- err
				return
			}
		}
		sent <- p.server.Close()
	}()
	go func() { _, _ = io.Copy(io.Discard, p.client) }()
	for n := 0; ; n++ {
		raise(t, f, time.Minute)
		select {
		case err := <-sent:
			if err != nil {
				t.Fatal(err)
			}
			if drops := dropped(t, f); drops != 0 {
				t.Errorf("%d packets were dropped in %d renewals", drops, n)
			}
			return
		default:
		}
	}
}

// dropped is what the rule's counter says.
func dropped(t *testing.T, f *Fence) (n uint64) {
	t.Helper()
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: f.name}
	rules, err := (&nftables.Conn{}).GetRules(table, &nftables.Chain{Name: chainName, Table: table})
	if err != nil || len(rules) != 1 {
		t.Fatalf("%d rules, %v", len(rules), err)
	}
	for _, e := range rules[0].Exprs {
		if c, ok := e.(*expr.Counter); ok {
			n = c.Packets
		}
	}
	return n
}

// A fence that is lifted before the deadline has held nothing back: what clients
// do on the port goes on.
func TestLiftedInTimeNothingIsDestroyed(t *testing.T) {
	ownNetwork(t)
	p := connect(t, listen(t, "127.0.0.1:0"))
	f := open(t, p.port)
	raise(t, f, time.Minute)
	lift(t, f)
	p.send(t, "still here")
	p.mustHear(t, "still here")
	lift(t, f) // again: nothing to do
}

// The fence of a guard that was killed stays, and the next one knows it by name.
func TestTheFenceOfAFormerGuard(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		ownNetwork(t)
		p := connect(t, listen(t, "127.0.0.1:0"))
		lapsed(t, open(t, p.port), 50*time.Millisecond)
		p.send(t, "late")
		p.server.Close()

		next := Open("/data", p.port, wanted, clock.Real{})
		if !next.Barred() {
			t.Fatal("the former table was not found")
		}
		if other := Open("/data", p.port+1, wanted, clock.Real{}); other.Barred() || other.Lift() != nil || tables(t) == "" {
			t.Fatal("a table of another port was taken")
		}
		lift(t, next)
		p.mustHearTheEnd(t)
	}
}

// A server in another directory had the port before, and its guard was killed:
// nobody else would ever open the port again. A fence that has not lapsed may be
// in use, and is left alone.
func TestTheFenceOfAServerThatWasHereBefore(t *testing.T) {
	for name, use := range map[string]func(*testing.T, *Fence){"a replica": lift, "a primary": func(t *testing.T, f *Fence) {
		if raise(t, f, time.Minute); strings.Contains(tables(t), TableName("/data", f.port)) {
			t.Error("the former fence stands")
		}
	}} {
		t.Run(name, func(t *testing.T) {
			ownNetwork(t)
			l := listen(t, "127.0.0.1:0")
			before := connect(t, l)
			former := open(t, before.port)
			raise(t, former, time.Minute)
			if f := Open("/other", before.port, true, clock.Real{}); f.Barred() {
				t.Error("a fence that is in use was taken for a left one")
			}
			lapsed(t, former, 50*time.Millisecond)
			before.send(t, "late")
			before.server.Close()

			next := Open("/other", before.port, true, clock.Real{})
			if !next.Barred() {
				t.Fatal("the former fence was not found")
			}
			if use(t, next); next.Barred() {
				t.Error("barred still")
			}
			before.mustHearTheEnd(t)
			after := connect(t, l)
			after.send(t, "open")
			after.mustHear(t, "open")
		})
	}
}

// A fence that could not be refreshed once, and could the next time, is no trouble
// any more: where it is required, trouble means that no deadline is granted.
func TestTroubleIsOver(t *testing.T) {
	ownNetwork(t)
	f := open(t, connect(t, listen(t, "127.0.0.1:0")).port)
	raise(t, f, time.Minute)
	f.trouble = ErrUnlifted
	raise(t, f, time.Minute)
}

// A primary whose guard is replaced: the new guard takes the fence over. What a
// dead server left in its sockets stays unsent, what lives goes on.
func TestTakingOver(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		ownNetwork(t)
		l := listen(t, "127.0.0.1:0")
		dead, alive := connect(t, l), connect(t, l)
		lapsed(t, open(t, dead.port), 50*time.Millisecond)
		dead.send(t, "late")
		dead.server.Close()
		alive.send(t, "delayed")

		next := Open("/data", dead.port, wanted, clock.Real{})
		raise(t, next, time.Minute)
		alive.mustHear(t, "delayed")
		dead.mustHearTheEnd(t)
		if next.Barred() || (tables(t) != "") != wanted {
			t.Errorf("wanted %v: %s", wanted, tables(t))
		}
	}
}

func flushRules(t *testing.T) {
	t.Helper()
	c := &nftables.Conn{}
	c.FlushRuleset()
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
}

// Somebody loads rules of their own, which takes all others away: the next
// renewal brings the fence back.
func TestFlushedRulesComeBack(t *testing.T) {
	ownNetwork(t)
	p := connect(t, listen(t, "127.0.0.1:0"))
	f := open(t, p.port)
	raise(t, f, time.Minute)
	flushRules(t)
	lapsed(t, f, 200*time.Millisecond)
	p.send(t, "late")
	if got, _ := p.hears(t, 500*time.Millisecond); got != "" {
		t.Errorf("heard %q", got)
	}
	lift(t, f)
}

// When the fence cannot be kept it is taken away, and said so.
func TestAFenceThatCannotBeKeptIsTakenAway(t *testing.T) {
	ownNetwork(t)
	p := connect(t, listen(t, "127.0.0.1:0"))
	f := open(t, p.port)
	hard := raise(t, f, 300*time.Millisecond)
	f.renewal.batch = bytes.ReplaceAll(f.renewal.batch, []byte(setName), []byte("lost")) // of another set: refused
	if !f.Raise(now().Add(time.Minute)) || f.Trouble() == nil {
		t.Fatalf("trouble %v", f.Trouble())
	}
	sleepUntil(hard.Add(coarse))
	p.send(t, "open")
	p.mustHear(t, "open")
	if got := tables(t); got != "" {
		t.Errorf("left: %s", got)
	}
}

// A deadline that is past closes the port.
func TestAPastDeadline(t *testing.T) {
	ownNetwork(t)
	p := connect(t, listen(t, "127.0.0.1:0"))
	f := open(t, p.port)
	raise(t, f, time.Minute)
	raise(t, f, -time.Second)
	p.send(t, "late")
	if got, _ := p.hears(t, 300*time.Millisecond); got != "" {
		t.Errorf("heard %q", got)
	}
}

// It does so too where somebody has flushed the rules.
func TestAPastDeadlineWithoutRules(t *testing.T) {
	ownNetwork(t)
	p := connect(t, listen(t, "127.0.0.1:0"))
	f := open(t, p.port)
	raise(t, f, time.Minute)
	flushRules(t)
	raise(t, f, -time.Second)
	p.send(t, "late")
	if got, _ := p.hears(t, 300*time.Millisecond); got != "" {
		t.Errorf("heard %q", got)
	}
}

func TestRenewingAllocatesNothing(t *testing.T) {
	ownNetwork(t)
	f := open(t, 5432)
	raise(t, f, time.Minute)
	if n := testing.AllocsPerRun(100, func() { raise(t, f, time.Minute) }); n != 0 {
		t.Errorf("%v allocations for each renewal", n)
	}
}

// What a process may do: nothing without the capability, all with one that was
// permitted only, as a file capability is.
func TestRights(t *testing.T) {
	set := func(t *testing.T, permitted bool) {
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if permitted {
			data[0].Permitted = 1 << unix.CAP_NET_ADMIN
		}
		if err := unix.Capset(&hdr, &data[0]); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("none", func(t *testing.T) {
		ownNetwork(t)
		set(t, false)
		f := Open("/data", 5432, true, clock.Real{})
		if !errors.Is(f.Trouble(), ErrNotPermitted) || f.Able() || f.Barred() {
			t.Fatalf("trouble %v", f.Trouble())
		}
		if !f.Raise(now().Add(time.Minute)) || f.Trouble() == nil || f.Lift() != nil {
			t.Error("where there can be no fence, the guard goes on without one and says so")
		}
	})
	t.Run("permitted", func(t *testing.T) {
		ownNetwork(t)
		set(t, true)
		lapsed(t, open(t, 5432), 10*time.Millisecond)
	})
}

func BenchmarkRenewal(b *testing.B) {
	runtime.LockOSThread()
	if unix.Unshare(unix.CLONE_NEWNET) != nil {
		b.Skip("needs a network namespace of its own")
	}
	f := Open("/data", 5432, true, clock.Real{})
	for b.Loop() {
		if !f.Raise(now().Add(time.Minute)) || f.Trouble() != nil {
			b.Fatal(f.Trouble())
		}
	}
}
