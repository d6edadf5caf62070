package dcstest

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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
	// followers[i][j] carries what server i, when it follows server j, has to do
	// with it; empty unless the ensemble can be split.
	followers [][]*Relay
	configs   []string // their files
	dirs      []string // their data
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
	return startZooKeeper(t, n, false, options)
}

// StartZooKeeperSplittable is StartZooKeeperEnsemble for an ensemble that can be
// Split.
func StartZooKeeperSplittable(t testing.TB, n int, options ...string) *ZooKeeper {
	t.Helper()
	return startZooKeeper(t, n, true, options)
}

func startZooKeeper(t testing.TB, n int, splittable bool, options []string) *ZooKeeper {
	t.Helper()
	dir := tempDir(t)
	addrs := freeAddrs(t, 3*n)
	e := &ZooKeeper{Hosts: addrs[:n]}
	peers, elections := addrs[n:2*n], addrs[2*n:]
	for i := range n {
		e.followers = append(e.followers, make([]*Relay, n))
		for j := range n {
			if splittable && i != j {
				e.followers[i][j] = StartRelay(t, peers[j])
			}
		}
	}
	for i := range n {
		var members []string
		for j := range n {
			peer := peers[j]
			if r := e.followers[i][j]; r != nil {
				peer = r.Addr()
			}
			if n > 1 {
				members = append(members, fmt.Sprintf("server.%d=127.0.0.1:%d:%d", j+1, port(peer), port(elections[j])))
			}
		}
		data := filepath.Join(dir, fmt.Sprint(i+1))
		lines := append([]string{
			fmt.Sprintf("tickTime=%d", ZooKeeperTick.Milliseconds()), "initLimit=100", "syncLimit=50",
			"dataDir=" + data, "clientPortAddress=127.0.0.1", fmt.Sprintf("clientPort=%d", port(e.Hosts[i])),
			"maxSessionTimeout=120000", "maxClientCnxns=0", "admin.enableServer=false", "4lw.commands.whitelist=srvr",
		}, slices.Concat(members, options)...)
		config := filepath.Join(dir, fmt.Sprintf("zoo%d.cfg", i+1))
		writeFile(t, filepath.Join(data, "myid"), fmt.Sprint(i+1))
		writeFile(t, config, strings.Join(lines, "\n")+"\n")
		e.configs, e.dirs = append(e.configs, config), append(e.dirs, data)
		e.Servers = append(e.Servers, e.start(t, i))
	}
	for i := range e.Servers {
		e.await(t, i)
	}
	return e
}

func (e *ZooKeeper) start(t testing.TB, i int) *Process {
	t.Helper()
	return start(t, "zookeeper", exec.Command("java",
		"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Dzookeeper.forceSync=no",
		"-cp", "/usr/share/java/zookeeper.jar", "org.apache.zookeeper.server.quorum.QuorumPeerMain", e.configs[i]))
}

func (e *ZooKeeper) await(t testing.TB, i int) {
	t.Helper()
	e.Servers[i].await(t, "zookeeper", func() bool { return ZooKeeperMode(e.Hosts[i]) != "" })
}

// Restart kills a server and starts it again on its data: the sessions of a single
// server last for their whole length again.
func (e *ZooKeeper) Restart(t testing.TB, i int) {
	t.Helper()
	e.Servers[i].Kill()
	e.Servers[i] = e.start(t, i)
	e.await(t, i)
}

// Backup copies the data of all servers, which may run, as an operator would.
func (e *ZooKeeper) Backup(t testing.TB) (dir string) {
	t.Helper()
	dir = tempDir(t)
	for i, data := range e.dirs {
		copyDir(t, data, filepath.Join(dir, strconv.Itoa(i)))
	}
	return dir
}

// Restore starts all servers anew, on the data of a backup.
func (e *ZooKeeper) Restore(t testing.TB, backup string) {
	t.Helper()
	e.replace(t, func(i int) { copyDir(t, filepath.Join(backup, strconv.Itoa(i)), e.dirs[i]) })
}

// Replace starts all servers anew, without data.
func (e *ZooKeeper) Replace(t testing.TB) {
	t.Helper()
	e.replace(t, func(i int) { writeFile(t, filepath.Join(e.dirs[i], "myid"), strconv.Itoa(i+1)) })
}

func (e *ZooKeeper) replace(t testing.TB, fill func(i int)) {
	t.Helper()
	for _, s := range e.Servers {
		s.Kill()
	}
	for i, dir := range e.dirs {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		fill(i)
		e.Servers[i] = e.start(t, i)
	}
	for i := range e.Servers {
		e.await(t, i)
	}
}

// copyDir copies files, which are mostly room that a log has reserved.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", "--sparse=always", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v\n%s", from, err, out)
	}
}

// Lag lets a server hear nothing of its leader until the returned function is
// called: what it tells of its own is past by then.
func (e *ZooKeeper) Lag(i int) (end func()) {
	var ends []func()
	for _, r := range e.followers[i] {
		if r != nil {
			ends = append(ends, r.Hold())
		}
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

// Split parts the servers named by index from all others, which notice at once,
// while a leader among those named does not: it goes on as if its followers were
// only silent, until its syncLimit has passed.
func (e *ZooKeeper) Split(named ...int) {
	for i := range e.followers {
		for j, r := range e.followers[i] {
			if r != nil && slices.Contains(named, i) != slices.Contains(named, j) {
				r.Strand()
			}
		}
	}
}

// ZooKeeperMode asks a server for its role: standalone, leader or follower;
// empty when it does not serve.
func ZooKeeperMode(host string) string { return zooKeeperSays(host, "Mode") }

// ZooKeeperZxid asks a server for the number of the last transaction that it has
// applied; 0 when it does not serve.
func ZooKeeperZxid(host string) int64 {
	n, _ := strconv.ParseInt(zooKeeperSays(host, "Zxid"), 0, 64)
	return n
}

// zooKeeperSays returns one line of a server's answer to srvr.
func zooKeeperSays(host, name string) string {
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
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(value)
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
