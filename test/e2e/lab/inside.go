package lab

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Listen takes a TCP port of the host, as another program would.
func (h *Host) Listen(port int) net.Listener {
	h.net.t.Helper()
	type result struct {
		l   net.Listener
		err error
	}
	done := make(chan result)
	go func() {
		// The thread goes back before anything else: it may be the process's first,
		// by which the host's processes are told when the power goes.
		runtime.LockOSThread()
		here, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer here.Close()
		there, err := os.Open("/run/netns/" + h.ns)
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer there.Close()
		var l net.Listener
		if err = unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err == nil {
			l, err = net.Listen("tcp", fmt.Sprintf("%s:%d", h.IP, port))
		}
		if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread() // otherwise the thread ends with this goroutine
		}
		done <- result{l, err}
	}()
	r := <-done
	if r.err != nil {
		h.net.t.Fatalf("listen on port %d of %s: %v", port, h.Name, r.err)
	}
	h.net.t.Cleanup(func() { r.l.Close() })
	return r.l
}

// Edit replaces texts in the member's configuration file: old, new, old, new…
// Each old text must be there.
func (m *Member) Edit(oldnew ...string) {
	m.c.t.Helper()
	b, err := os.ReadFile(m.File())
	if err != nil {
		m.c.t.Fatal(err)
	}
	text := string(b)
	for i := 0; i+1 < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			m.c.t.Fatalf("%s does not hold %q", m.File(), oldnew[i])
		}
		text = strings.Replace(text, oldnew[i], oldnew[i+1], 1)
	}
	m.c.write(m.Host, "member.yml", text)
}
