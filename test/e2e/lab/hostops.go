package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Pids lists every process of the host.
func (h *Host) Pids() []int { return h.pids() }

// Roles are the host's processes of the program by their first argument: agent,
// guard, store, proxy.
func (h *Host) Roles(role string) []int {
	var found []int
	for _, pid := range h.pids() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue
		}
		args := strings.Split(string(b), "\x00")
		if len(args) > 1 && args[1] == role && !strings.HasSuffix(args[0], "/postgres") {
			found = append(found, pid)
		}
	}
	return found
}

// Filter puts rules in the place of all that were made by Cut, CutPort or an
// earlier Filter, in one transaction: nothing in between is let through or
// held up that neither would. Each names its chain, in or out.
func (h *Host) Filter(rules []string) error {
	text := "add table inet lab\ndelete table inet lab\n"
	if len(rules) > 0 {
		text += "add table inet lab\nadd chain inet lab in { type filter hook input priority 0; }\nadd chain inet lab out { type filter hook output priority 0; }\n"
	}
	for _, r := range rules {
		text += "add rule inet lab " + r + "\n"
	}
	cmd := exec.Command("ip", "netns", "exec", h.ns, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft on %s: %w: %s", h.Name, err, out)
	}
	return nil
}

// Slow queues what the host sends: at most that many kilobits a second, and what
// would wait longer than the delay is dropped. Zero ends it.
func (h *Host) Slow(kbit int, delay time.Duration) error {
	args := []string{"-n", h.ns, "qdisc", "del", "dev", "eth0", "root"}
	if kbit > 0 {
		args = []string{"-n", h.ns, "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", fmt.Sprintf("%dkbit", kbit), "burst", "5kb", "latency", fmt.Sprintf("%dms", delay.Milliseconds())}
	}
	if out, err := exec.Command("tc", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("tc %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Dialer connects as a program on the host would, however the host is cut off.
// It keeps a thread in the host's namespace until the context ends.
func (h *Host) Dialer(ctx context.Context) func(ctx context.Context, network, addr string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	type request struct {
		ctx           context.Context
		network, addr string
		done          chan result
	}
	requests := make(chan request)
	ready := make(chan error, 1)
	go apart(func() {
		// The thread is never given back: it ends with this goroutine.
		ready <- enter(h.ns)
		for {
			select {
			case <-ctx.Done():
				return
			case r := <-requests:
				conn, err := (&net.Dialer{}).DialContext(r.ctx, r.network, r.addr)
				r.done <- result{conn, err}
			}
		}
	})
	if err := <-ready; err != nil {
		h.net.t.Fatalf("enter the network of %s: %v", h.Name, err)
	}
	return func(c context.Context, network, addr string) (net.Conn, error) {
		r := request{c, network, addr, make(chan result, 1)}
		select {
		case requests <- r:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.Done():
			return nil, c.Err()
		}
		got := <-r.done
		return got.conn, got.err
	}
}

// apart runs f on a thread of its own that is not the process's first: by the
// namespace of that one the processes of a host are told when its power goes.
func apart(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		done := make(chan struct{})
		go func() { defer close(done); apart(f) }()
		<-done
		runtime.UnlockOSThread()
		return
	}
	f()
}

func enter(ns string) error {
	f, err := os.Open("/run/netns/" + ns)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
}

// Stop stops every process of the host. Unlike Freeze it does not wait for those
// that the kernel holds in the middle of a call: these stop when they leave it,
// before they run another instruction of their own.
func (h *Host) Stop() {
	for range 10 {
		missed := 0
		for _, pid := range h.pids() {
			if s := state(pid); s != "T" && s != "Z" && s != "" {
				_ = syscall.Kill(pid, syscall.SIGSTOP)
				if s != "D" {
					missed++
				}
			}
		}
		if missed == 0 {
			return
		}
	}
}

// OnTmpfs lays a file system in memory of that size under the member's data and
// state, before they are made: one that can be filled. Of a failed test the files
// are kept as ordinary ones.
func (m *Member) OnTmpfs(size string) {
	m.c.t.Helper()
	dir := m.Dir() + "/pg"
	var st unix.Stat_t
	err := unix.Stat(dir, &st)
	if err == nil {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755,size="+size)
	}
	if err == nil {
		err = os.Chown(dir, int(st.Uid), int(st.Gid))
	}
	if err != nil {
		m.c.t.Fatalf("a file system in memory at %s: %v", dir, err)
	}
	m.c.t.Cleanup(func() {
		m.killAll()
		if m.c.t.Failed() {
			_ = os.Remove(dir + "/ballast")
			_ = exec.Command("cp", "-a", dir, m.Dir()+"/pg.kept").Run()
		}
		_ = unix.Unmount(dir, unix.MNT_DETACH)
	})
}
