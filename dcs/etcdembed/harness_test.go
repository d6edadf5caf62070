package etcdembed

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/dcstest"
	"github.com/matriarch-ha/matriarch/dcs/etcd"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// storeEnv makes the test binary act as `matriarch store`.
const storeEnv = "ETCDEMBED_TEST_STORE=1"

func TestMain(m *testing.M) {
	if os.Getenv("ETCDEMBED_TEST_STORE") == "1" {
		endWithParent()
		reached = endAt
		if decide := os.Getenv("ETCDEMBED_TEST_DECIDE"); decide != "" {
			os.Exit(decideMain(decide))
		}
		if err := Run(context.Background(), os.Stdin, nil, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	dcstest.Main(m, openAt)
}

func openAt(ctx context.Context, prefix string, addrs []string) (dcs.Store, error) {
	return etcd.Open(ctx, etcd.Config{Endpoints: addrs, Prefix: prefix}, clock.Real{})
}

// endWithParent lets nothing survive a test run that was killed. The real
// store has no such thing: it outlives its parent.
func endWithParent() {
	parent := os.Getppid()
	go func() {
		for ; os.Getppid() == parent; time.Sleep(time.Second) {
		}
		os.Exit(3)
	}()
}

// endAt kills the process the first time it reaches the point that the test
// named.
func endAt(point string) {
	if at := os.Getenv("ETCDEMBED_TEST_END_AT"); at != "" && os.Remove(at+"-"+point) == nil {
		unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	}
}

// endOnce makes this node's processes end when one reaches the point; reports
// whether one did.
func (n *node) endOnce(t *testing.T, point string) (ended func() bool) {
	t.Helper()
	at := filepath.Join(t.TempDir(), "end")
	file := at + "-" + point
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.env = append(n.env, "ETCDEMBED_TEST_END_AT="+at)
	return func() bool { return !exists(file) }
}

// decideMain acts as `matriarch store recover` and `matriarch store found`.
func decideMain(what string) int {
	var c Config
	err := json.NewDecoder(os.Stdin).Decode(&c)
	c.Log = os.Stderr
	if err == nil && what == "found" {
		_, err = Found(context.Background(), c)
	} else if err == nil {
		_, err = Recover(context.Background(), c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// decide is a person's decision on a node; it returns what the command said.
func (n *node) decide(t *testing.T, what string) (string, error) {
	t.Helper()
	conf, err := json.Marshal(n.cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), storeEnv, "ETCDEMBED_TEST_DECIDE="+what), n.env...)
	cmd.Stdin = bytes.NewReader(conf)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (n *node) mustDecide(t *testing.T, what string) {
	t.Helper()
	if out, err := n.decide(t, what); err != nil {
		t.Fatalf("%s on %s: %v\n%s", what, n.cfg.Name, err, out)
	}
}

// node is one member under test.
type node struct {
	cfg Config
	env []string
	sup *Supervisor
}

func (n *node) store(t *testing.T) Identity {
	t.Helper()
	id, err := recorded(n.cfg)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// loseDisk removes all that the node knows.
func (n *node) loseDisk(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(filepath.Dir(n.cfg.DataDir)); err != nil {
		t.Fatal(err)
	}
}

type herd struct {
	t     testing.TB
	nodes []*node
}

// newHerd prepares n members on loopback addresses of their own, so that tests
// never compete for ports.
func newHerd(t testing.TB, n int) *herd {
	t.Helper()
	h := &herd{t: t}
	net := fmt.Sprintf("127.%d.%d", 1+rand.IntN(250), rand.IntN(250))
	var members []Member
	for i := range n {
		ip := fmt.Sprintf("%s.%d", net, i+1)
		members = append(members, Member{Name: fmt.Sprintf("n%d", i+1), Peer: ip + ":2380", Client: ip + ":2379"})
	}
	base := t.TempDir()
	for _, m := range members {
		h.nodes = append(h.nodes, &node{cfg: Config{Name: m.Name, Scope: "test", Members: members,
			ListenPeer: m.Peer, ListenClient: m.Client, DataDir: filepath.Join(base, m.Name, "store")}})
	}
	t.Cleanup(func() {
		var wg sync.WaitGroup
		for _, n := range h.nodes {
			wg.Go(func() { h.stop(n) })
		}
		wg.Wait()
		if t.Failed() {
			h.showLogs()
		}
	})
	return h
}

func (h *herd) showLogs() {
	for _, n := range h.nodes {
		b, _ := os.ReadFile(n.cfg.beside(".log"))
		h.t.Logf("--- log of %s:\n%s", n.cfg.Name, b)
	}
}

func (n *node) options() Options {
	return Options{Command: []string{os.Args[0]}, Env: append([]string{storeEnv}, n.env...)}
}

func (h *herd) start(nodes ...*node) {
	h.t.Helper()
	for _, n := range nodes {
		sup, err := NewSupervisor(n.cfg, n.options())
		if err != nil {
			h.t.Fatal(err)
		}
		n.sup = sup
		if err := sup.Start(); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *herd) stop(n *node) {
	if n.sup == nil {
		return
	}
	if err := n.sup.Stop(context.Background()); err != nil {
		h.t.Error(err)
	}
	n.sup = nil
}

func (h *herd) ready(nodes ...*node) {
	h.t.Helper()
	for _, n := range nodes {
		if err := n.sup.Ready(h.deadline()); err != nil {
			h.t.Fatalf("%s: %v", n.cfg.Name, err)
		}
	}
}

// deadline is generous: a busy machine is no failure.
func (h *herd) deadline() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	h.t.Cleanup(cancel)
	return ctx
}

func (h *herd) wait(n *node, p Phase) State {
	h.t.Helper()
	st, err := n.sup.Wait(h.deadline(), func(s State) bool { return s.Phase == p })
	if err != nil {
		h.t.Fatalf("%s: waiting for %s: %v", n.cfg.Name, p, err)
	}
	return st
}

func (h *herd) client() *clientv3.Client {
	h.t.Helper()
	cl, err := h.nodes[0].cfg.Access().client()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { cl.Close() })
	return cl
}

// put repeats itself: a write that a follower has forwarded to a leader that
// just died is lost, and answered only after seven seconds.
func (h *herd) put(key, value string) {
	h.t.Helper()
	ctx, cl := h.deadline(), h.client()
	for {
		tctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		_, err := cl.Put(tctx, key, value)
		cancel()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			h.t.Fatal(err)
		}
	}
}

// want reads linearizably through one node.
func (h *herd) want(n *node, key, value string) {
	h.t.Helper()
	r, err := h.through(n).Get(h.deadline(), key)
	if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != value {
		h.t.Fatalf("%s: %s = %v, %v; want %q", n.cfg.Name, key, r, err, value)
	}
}

// through is a client of one node alone.
func (h *herd) through(n *node) *clientv3.Client {
	h.t.Helper()
	cl, err := Access{Members: []Endpoint{{n.cfg.Name, n.cfg.ClientURL()}}}.client()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { cl.Close() })
	return cl
}

var serializable = clientv3.WithSerializable()

// process is the one that runs now.
func (s *Supervisor) process() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

// crash kills the process under its supervisor's eyes.
func (h *herd) crash(n *node) {
	h.t.Helper()
	if err := n.sup.process().signal(unix.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
}

// kill ends the process of a node as a crash would, without the supervisor.
func (h *herd) kill(n *node) {
	h.t.Helper()
	n.sup.Leave()
	if err := n.sup.proc.signal(unix.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
	<-n.sup.proc.ended
	n.sup = nil
}

func mustContain(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q does not mention %q", text, p)
		}
	}
}
