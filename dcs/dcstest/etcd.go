package dcstest

import (
	"fmt"
	"net/http"
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
	dir := tempDir(t)
	clients, peers := freeAddrs(t, n), []string{}
	var initial []string
	for i, addr := range freeAddrs(t, n) {
		peers = append(peers, addr)
		initial = append(initial, fmt.Sprintf("s%d=http://%s", i, addr))
	}
	c := &Etcd{Endpoints: clients}
	for i := range n {
		args := append([]string{
			"--name", fmt.Sprintf("s%d", i), "--data-dir", filepath.Join(dir, fmt.Sprint(i)),
			"--listen-client-urls", "http://" + clients[i], "--advertise-client-urls", "http://" + clients[i],
			"--listen-peer-urls", "http://" + peers[i], "--initial-advertise-peer-urls", "http://" + peers[i],
			"--initial-cluster", strings.Join(initial, ","), "--initial-cluster-token", dir,
			"--heartbeat-interval", "50", "--election-timeout", "500", "--logger", "zap", "--log-level", "error",
			"--unsafe-no-fsync",
		}, options...)
		c.Servers = append(c.Servers, start(t, "etcd", exec.Command("etcd", args...)))
	}
	client := &http.Client{Timeout: time.Second}
	for i, p := range c.Servers {
		p.await(t, "etcd", func() bool {
			resp, err := client.Get("http://" + clients[i] + "/health")
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		})
	}
	return c
}
