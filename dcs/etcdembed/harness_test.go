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
)

// storeEnv makes the test binary act as `matriarch store`.
const storeEnv = "ETCDEMBED_TEST_STORE=1"

func TestMain(m *testing.M) {
	if os.Getenv("ETCDEMBED_TEST_STORE") == "1" {
		endWithParent()
		if os.Getenv("ETCDEMBED_TEST_RECOVER") == "1" {
			os.Exit(recoverMain())
		}
		if err := Run(context.Background(), os.Stdin, nil, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
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

// recoverMain acts as `matriarch store recover`.
func recoverMain() int {
	var c Config
	err := json.NewDecoder(os.Stdin).Decode(&c)
	if err == nil {
		err = Recover(context.Background(), c, nil)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func recoverInChild(t *testing.T, c Config) {
	t.Helper()
	conf, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), storeEnv, "ETCDEMBED_TEST_RECOVER=1")
	cmd.Stdin = bytes.NewReader(conf)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("recover: %v\n%s", err, out)
	}
}

// node is one member under test.
type node struct {
	cfg Config
	sup *Supervisor
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

func options() Options {
	return Options{Command: []string{os.Args[0]}, Env: []string{storeEnv}}
}

func (h *herd) start(nodes ...*node) {
	h.t.Helper()
	for _, n := range nodes {
		sup, err := NewSupervisor(n.cfg, options())
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
	cl, err := Access{Members: []Endpoint{{n.cfg.Name, n.cfg.ClientURL()}}}.client()
	if err != nil {
		h.t.Fatal(err)
	}
	defer cl.Close()
	r, err := cl.Get(h.deadline(), key)
	if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != value {
		h.t.Fatalf("%s: %s = %v, %v; want %q", n.cfg.Name, key, r, err, value)
	}
}

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
