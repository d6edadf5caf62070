package dcstest

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Etcd is a running etcd of one or more servers.
type Etcd struct {
	Endpoints []string // host:port
	Servers   []*Process

	dir     string
	token   string
	peers   []string // peer addresses, as advertised
	listen  []string // peer addresses, as listened at
	options []string
}

// StartEtcd runs one server on loopback until the test ends and returns its
// endpoints. Options are added to its command line.
func StartEtcd(t testing.TB, options ...string) []string {
	t.Helper()
	return StartEtcdCluster(t, 1, options...).Endpoints
}

// StartEtcdCluster runs n servers that form one store. Its timing lets leases
// be as short as a second.
func StartEtcdCluster(t testing.TB, n int, options ...string) *Etcd {
	t.Helper()
	c := &Etcd{dir: tempDir(t), Endpoints: freeAddrs(t, n), peers: freeAddrs(t, n), options: options}
	c.token, c.listen = c.dir, c.peers
	for i := range n {
		c.Servers = append(c.Servers, c.start(t, i))
	}
	for i := range n {
		c.await(t, i)
	}
	return c
}

// initial lists the servers as etcd wants it.
func (c *Etcd) initial() string {
	var list []string
	for i, addr := range c.peers {
		list = append(list, fmt.Sprintf("s%d=http://%s", i, addr))
	}
	return strings.Join(list, ",")
}

func (c *Etcd) start(t testing.TB, i int) *Process {
	t.Helper()
	return start(t, "etcd", exec.Command("etcd", append([]string{
		"--name", fmt.Sprintf("s%d", i), "--data-dir", filepath.Join(c.dir, fmt.Sprint(i)),
		"--listen-client-urls", "http://" + c.Endpoints[i], "--advertise-client-urls", "http://" + c.Endpoints[i],
		"--listen-peer-urls", "http://" + c.listen[i], "--initial-advertise-peer-urls", "http://" + c.peers[i],
		"--initial-cluster", c.initial(), "--initial-cluster-token", c.token,
		"--heartbeat-interval", "50", "--election-timeout", "500", "--logger", "zap", "--log-level", "error",
		"--unsafe-no-fsync",
	}, c.options...)...))
}

func (c *Etcd) await(t testing.TB, i int) {
	t.Helper()
	client := &http.Client{Timeout: time.Second}
	c.Servers[i].await(t, "etcd", func() bool {
		resp, err := client.Get("http://" + c.Endpoints[i] + "/health")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// Restart kills a server and starts it again on its data; the raft term rises.
func (c *Etcd) Restart(t testing.TB, i int) {
	t.Helper()
	c.Servers[i].Kill()
	c.Servers[i] = c.start(t, i)
	c.await(t, i)
}

// Backup saves the state of a store of one server, as an operator would, and
// returns the file.
func (c *Etcd) Backup(t testing.TB) string {
	t.Helper()
	file := filepath.Join(tempDir(t), "backup")
	etcdctl(t, "--endpoints", c.Endpoints[0], "snapshot", "save", file)
	return file
}

// Restore makes a second store of a backup of this one, beside it, with the same
// name, token and advertised peer address, and so with the same cluster id.
func (c *Etcd) Restore(t testing.TB, backup string) *Etcd {
	t.Helper()
	r := &Etcd{dir: tempDir(t), token: c.token, Endpoints: freeAddrs(t, 1), peers: c.peers, listen: freeAddrs(t, 1), options: c.options}
	etcdctl(t, "snapshot", "restore", backup, "--name", "s0", "--data-dir", filepath.Join(r.dir, "0"),
		"--initial-cluster", r.initial(), "--initial-advertise-peer-urls", "http://"+r.peers[0], "--initial-cluster-token", r.token)
	r.Servers = []*Process{r.start(t, 0)}
	r.await(t, 0)
	return r
}

func etcdctl(t testing.TB, args ...string) {
	t.Helper()
	cmd := exec.Command("etcdctl", args...)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("etcdctl %s: %v (install Debian's etcd-client)\n%s", strings.Join(args, " "), err, out)
	}
}
