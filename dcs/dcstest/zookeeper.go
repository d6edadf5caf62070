package dcstest

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ZooKeeperTick is the tickTime of the servers that are started here.
const ZooKeeperTick = 200 * time.Millisecond

// ZooKeeper is a running ensemble of one or more servers.
type ZooKeeper struct {
	Hosts   []string // host:port
	Servers []*Process
}

// StartZooKeeper runs one server on loopback until the test ends and returns
// its hosts. Options are added to its configuration, one "name=value" each.
func StartZooKeeper(t testing.TB, options ...string) []string {
	t.Helper()
	return StartZooKeeperEnsemble(t, 1, options...).Hosts
}

// StartZooKeeperEnsemble runs n servers that form one store.
func StartZooKeeperEnsemble(t testing.TB, n int, options ...string) *ZooKeeper {
	t.Helper()
	dir := tempDir(t)
	e := &ZooKeeper{Hosts: freeAddrs(t, n)}
	var members []string
	if n > 1 {
		addrs := freeAddrs(t, 2*n)
		for i := range n {
			members = append(members, fmt.Sprintf("server.%d=127.0.0.1:%d:%d", i+1, port(addrs[2*i]), port(addrs[2*i+1])))
		}
	}
	for i := range n {
		data := filepath.Join(dir, fmt.Sprint(i+1))
		lines := append([]string{
			fmt.Sprintf("tickTime=%d", ZooKeeperTick.Milliseconds()), "initLimit=100", "syncLimit=50",
			"dataDir=" + data, "clientPortAddress=127.0.0.1", fmt.Sprintf("clientPort=%d", port(e.Hosts[i])),
			"maxSessionTimeout=120000", "maxClientCnxns=0", "admin.enableServer=false", "4lw.commands.whitelist=srvr",
		}, append(members, options...)...)
		config := filepath.Join(dir, fmt.Sprintf("zoo%d.cfg", i+1))
		writeFile(t, filepath.Join(data, "myid"), fmt.Sprint(i+1))
		writeFile(t, config, strings.Join(lines, "\n")+"\n")
		e.Servers = append(e.Servers, start(t, "zookeeper", exec.Command("java",
			"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Dzookeeper.forceSync=no",
			"-cp", "/usr/share/java/zookeeper.jar", "org.apache.zookeeper.server.quorum.QuorumPeerMain", config)))
	}
	for i, p := range e.Servers {
		p.await(t, "zookeeper", func() bool { return ZooKeeperMode(e.Hosts[i]) != "" })
	}
	return e
}

// ZooKeeperMode asks a server for its role: standalone, leader or follower;
// empty when it does not serve.
func ZooKeeperMode(host string) string {
	c, err := net.DialTimeout("tcp", host, time.Second)
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := io.WriteString(c, "srvr"); err != nil {
		return ""
	}
	answer, _ := io.ReadAll(c)
	for line := range strings.Lines(string(answer)) {
		if mode, ok := strings.CutPrefix(line, "Mode: "); ok {
			return strings.TrimSpace(mode)
		}
	}
	return ""
}

func writeFile(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
