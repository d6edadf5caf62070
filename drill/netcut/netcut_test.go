package netcut

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// apart moves the test's thread into a network namespace of its own.
func apart(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace of its own: %v", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Skipf("lo: %v %s", err, out)
	}
}

// echo answers on an address of this namespace, and returns it.
func echo(t *testing.T, address string) netip.AddrPort {
	t.Helper()
	fd, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("%s: %v", address, err)
	}
	t.Cleanup(func() { fd.Close() })
	go func() {
		for {
			c, err := fd.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	return netip.MustParseAddrPort(fd.Addr().String())
}

// TestCut: connections that stand and new ones are cut, others are not; the
// kernel ends the cut by itself, and Mend before.
func TestCut(t *testing.T) {
	apart(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		store, other := echo(t, address), echo(t, address)
		standing, err := net.Dial("tcp", store.String())
		if err != nil {
			t.Fatal(err)
		}
		defer standing.Close()
		if !answers(standing) {
			t.Fatal("no answer before the cut")
		}
		if err := Cut([]netip.AddrPort{store}, time.Hour); err != nil {
			t.Fatal(err)
		}
		if answers(standing) || dials(store) {
			t.Errorf("%s is not cut off", store)
		}
		if !dials(other) {
			t.Errorf("%s is cut off too", other)
		}
		if err := Mend(); err != nil {
			t.Fatal(err)
		}
		if !dials(store) {
			t.Errorf("%s is still cut off", store)
		}
		if err := Cut([]netip.AddrPort{store}, 2*time.Second); err != nil {
			t.Fatal(err)
		}
		for until := time.Now().Add(time.Minute); !dials(store); {
			if time.Now().After(until) {
				t.Fatalf("%s: the cut does not end by itself", store)
			}
		}
	}
	if err := errors.Join(Mend(), Mend()); err != nil {
		t.Errorf("mending nothing: %v", err)
	}
}

func answers(c net.Conn) bool {
	c.SetDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	_, err := c.Read(make([]byte, 1))
	return err == nil
}

func dials(a netip.AddrPort) bool {
	c, err := net.DialTimeout("tcp", a.String(), 300*time.Millisecond)
	if err == nil {
		c.Close()
	}
	return err == nil
}

func TestResolve(t *testing.T) {
	got, err := Resolve(t.Context(), []string{"127.0.0.1:2181", "[::1]:2379", "127.0.0.1:2181"})
	if err != nil || len(got) != 2 || got[1].String() != "[::1]:2379" {
		t.Errorf("%v, %v", got, err)
	}
	for _, wrong := range []string{"nowhere", "127.0.0.1:port", "127.0.0.1:70000"} {
		if _, err := Resolve(t.Context(), []string{wrong}); err == nil {
			t.Errorf("%q was read", wrong)
		}
	}
	if err := Cut(nil, time.Minute); err == nil || !strings.Contains(err.Error(), "no addresses") {
		t.Errorf("%v", err)
	}
}
