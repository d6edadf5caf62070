package lab

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var labs atomic.Int32

// Network is a switch with hosts, and this process connected to it.
type Network struct {
	t      testing.TB
	id     string
	prefix string // 10.x.y
	hosts  []*Host
	Dir    string // for the hosts' files; readable by all
}

// NewNetwork makes a switch and connects this process to it. It needs root.
func NewNetwork(t testing.TB) *Network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
	n := labs.Add(1)
	pid := os.Getpid()
	net := &Network{t: t, id: fmt.Sprintf("m%x%d", pid%0xffff, n), prefix: fmt.Sprintf("10.%d.%d", 64+pid%60, (pid/60+int(n)*7)%250)}
	dir, err := os.MkdirTemp("", "matriarch-lab-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	net.Dir = dir
	t.Cleanup(net.remove)
	net.ip("netns", "add", net.sw())
	net.ip("-n", net.sw(), "link", "set", "lo", "up")
	net.ip("-n", net.sw(), "link", "add", "br0", "type", "bridge")
	net.ip("-n", net.sw(), "link", "set", "br0", "up")
	net.ip("link", "add", net.id+"r", "type", "veth", "peer", "name", "root", "netns", net.sw())
	net.ip("-n", net.sw(), "link", "set", "root", "master", "br0", "up")
	net.ip("addr", "add", net.prefix+".1/24", "dev", net.id+"r")
	net.ip("link", "set", net.id+"r", "up")
	return net
}

func (n *Network) sw() string { return n.id + "-sw" }

func (n *Network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (n *Network) remove() {
	for _, h := range n.hosts {
		h.killAll()
	}
	for _, h := range n.hosts {
		_ = exec.Command("ip", "netns", "del", h.ns).Run()
		_ = os.RemoveAll("/etc/netns/" + h.ns)
	}
	_ = exec.Command("ip", "link", "del", n.id+"r").Run()
	_ = exec.Command("ip", "netns", "del", n.sw()).Run()
	if n.t.Failed() {
		keep := "/tmp/matriarch-lab-failed-" + strings.NewReplacer("/", "_").Replace(n.t.Name())
		_ = os.RemoveAll(keep)
		if os.Rename(n.Dir, keep) == nil {
			n.t.Logf("logs and data of the failed test are in %s", keep)
			return
		}
	}
	_ = os.RemoveAll(n.Dir)
}

// Here is the address of this process on the network.
func (n *Network) Here() string { return n.prefix + ".1" }

// Host is one machine: a namespace with an address.
type Host struct {
	net   *Network
	Name  string
	IP    string
	ns    string
	procs []*Process
	off   bool
}

// Host adds a host to the network.
func (n *Network) Host(name string) *Host {
	n.t.Helper()
	i := len(n.hosts)
	h := &Host{net: n, Name: name, IP: fmt.Sprintf("%s.%d", n.prefix, 11+i), ns: fmt.Sprintf("%s-%d", n.id, i)}
	n.hosts = append(n.hosts, h)
	n.ip("netns", "add", h.ns)
	n.ip("-n", h.ns, "link", "set", "lo", "up")
	n.ip("link", "add", "eth0", "netns", h.ns, "type", "veth", "peer", "name", h.port(), "netns", n.sw())
	n.ip("-n", n.sw(), "link", "set", h.port(), "master", "br0", "up")
	n.ip("-n", h.ns, "addr", "add", h.IP+"/24", "dev", "eth0")
	n.ip("-n", h.ns, "link", "set", "eth0", "up")
	if err := os.MkdirAll(h.Dir(), 0o755); err != nil {
		n.t.Fatal(err)
	}
	return h
}

// NameHosts makes the names of all hosts, and the aliases, known on every host:
// programs started on them see an /etc/hosts of their own.
func (n *Network) NameHosts(aliases map[string]*Host) {
	n.t.Helper()
	text := "127.0.0.1 localhost\n"
	for _, h := range n.hosts {
		text += h.IP + " " + h.Name + "\n"
	}
	for name, h := range aliases {
		text += h.IP + " " + name + "\n"
	}
	for _, h := range n.hosts {
		dir := "/etc/netns/" + h.ns // where ip netns exec looks for it
		if err := os.MkdirAll(dir, 0o755); err != nil {
			n.t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/hosts", []byte(text), 0o644); err != nil {
			n.t.Fatal(err)
		}
	}
}

func (h *Host) port() string { return "p" + h.IP[strings.LastIndexByte(h.IP, '.')+1:] }

// Namespace is the name of the host's network namespace.
func (h *Host) Namespace() string { return h.ns }

// Dir is the host's directory, which keeps its files when the power goes.
func (h *Host) Dir() string { return h.net.Dir + "/" + h.Name }

// Unplug takes the host's link down: nothing gets in or out, and nobody is told.
func (h *Host) Unplug() { h.net.ip("-n", h.net.sw(), "link", "set", h.port(), "down") }

// Plug puts the link up again.
func (h *Host) Plug() { h.net.ip("-n", h.net.sw(), "link", "set", h.port(), "up") }

// PowerOff takes the link down first, so that no reset leaves, and then kills
// every process of the host at once.
func (h *Host) PowerOff() {
	h.Unplug()
	h.off = true
	h.killAll()
}

// PowerOn brings the host back; nothing runs on it yet.
func (h *Host) PowerOn() {
	h.off = false
	h.Plug()
}

// Off reports whether the host has no power.
func (h *Host) Off() bool { return h.off }

// Cut drops all packets between the host and the addresses, both ways.
func (h *Host) Cut(addrs ...string) {
	h.net.t.Helper()
	rules := "add table inet lab\nadd chain inet lab in { type filter hook input priority 0; }\nadd chain inet lab out { type filter hook output priority 0; }\n"
	for _, a := range addrs {
		rules += fmt.Sprintf("add rule inet lab in ip saddr %s drop\nadd rule inet lab out ip daddr %s drop\n", a, a)
	}
	h.nft(rules)
}

// CutPort drops what the host sends to a TCP port of an address and what comes
// from there.
func (h *Host) CutPort(addr string, port int) {
	h.nft(fmt.Sprintf("add table inet lab\nadd chain inet lab in { type filter hook input priority 0; }\nadd chain inet lab out { type filter hook output priority 0; }\n"+
		"add rule inet lab in ip saddr %s tcp sport %d drop\nadd rule inet lab out ip daddr %s tcp dport %d drop\n", addr, port, addr, port))
}

// Mend removes all cuts of the host.
func (h *Host) Mend() {
	_ = exec.Command("ip", "netns", "exec", h.ns, "nft", "delete", "table", "inet", "lab").Run()
}

func (h *Host) nft(rules string) {
	h.net.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", h.ns, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		h.net.t.Fatalf("nft on %s: %v: %s", h.Name, err, out)
	}
}

// pids lists every process of the host.
func (h *Host) pids() []int {
	out, err := exec.Command("ip", "netns", "pids", h.ns).Output()
	if err != nil {
		return nil
	}
	var pids []int
	for _, f := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(f); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Find returns the processes of the host whose command line contains the text.
func (h *Host) Find(text string) []int {
	var found []int
	for _, pid := range h.pids() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(strings.ReplaceAll(string(b), "\x00", " "), text) {
			found = append(found, pid)
		}
	}
	return found
}

// killAll kills every process of the host until none is left. All are stopped
// first, so that none can react to the end of another.
func (h *Host) killAll() {
	for range 50 {
		pids := h.pids()
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGSTOP)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(10 * time.Millisecond) // for the kernel to reap
	}
	for _, p := range h.procs {
		<-p.done
	}
}
