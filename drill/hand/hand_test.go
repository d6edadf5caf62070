package hand

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/internal/proc"
)

var settleUsual time.Duration

// TestMain lets this program be a hand, and an agent that listens.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "drill-hand" {
		if Main(context.Background(), os.Args[2], os.Stdin, os.Stdout) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 2 && os.Args[1] == "agent" {
		agentMain(os.Args[2])
	}
	settleUsual, settle = settle, 300*time.Millisecond
	os.Exit(m.Run())
}

// agentMain listens where it is told, and says what it was made of.
func agentMain(address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		os.Exit(1)
	}
	fmt.Println("secret:", os.Getenv("HAND_SECRET"))
	for {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		c.Close()
	}
}

// agent starts one from a program that is called as the real one is.
func agent(t *testing.T) (r proc.Record, port int, log string) {
	t.Helper()
	dir := t.TempDir()
	self, err := os.ReadFile("/proc/self/exe")
	program := filepath.Join(dir, "matriarch")
	if err == nil {
		err = os.WriteFile(program, self, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	log = filepath.Join(dir, "log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(program, "agent", address)
	cmd.Env, cmd.Dir, cmd.Stdout = []string{"HAND_SECRET=hush"}, dir, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if r, err := agentAt(port); err == nil { // one that was started again
			_ = r.Send(unix.SIGKILL)
			_ = r.AwaitEnd(context.Background())
		}
	})
	for {
		if r, err = agentAt(port); err == nil {
			return r, port, log
		}
		select {
		case <-ended:
			t.Fatal("the agent has ended")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestAgentIsFoundByItsPort: and nobody else is taken for it.
func TestAgentIsFoundByItsPort(t *testing.T) {
	r, port, _ := agent(t)
	if got, err := agentAt(port); err != nil || got != r {
		t.Errorf("%+v, %v", got, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // this test is no agent
	if err != nil {
		t.Fatal(err)
	}
	other := l.Addr().(*net.TCPAddr).Port
	if _, err := agentAt(other); err == nil || !strings.Contains(err.Error(), "which is no agent of Matriarch") {
		t.Errorf("%v", err)
	}
	l.Close()
	if _, err := agentAt(other); !errors.Is(err, errNobody) {
		t.Errorf("%v", err)
	}
	// It has no guard, so nothing more is known of it.
	if _, err := look(t.Context(), Request{Port: port}); err == nil || !strings.Contains(err.Error(), "has no guard") {
		t.Errorf("%v", err)
	}
}

func TestListeningIn(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F48 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1F48 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
   2: 0100007F:1F49 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0
   3: 00000000000000000000000000000000:1F48 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1
   4: torn
`
	if got := strings.Join(listeningIn(table, 8008), " "); got != "4711 4714" {
		t.Errorf("%q", got)
	}
}

func TestAgentCalled(t *testing.T) {
	for line, want := range map[string]bool{
		"/usr/local/bin/matriarch matriarch agent /etc/matriarch": true,
		"/usr/local/bin/matriarch patroni /etc/matriarch.yml":     true,
		"/opt/patroni matriarch n1.yml":                           true,
		"/usr/local/bin/matriarch matriarch proxy n1.yml":         false,
		"/usr/local/bin/matriarch matriarch":                      false,
		"/usr/bin/python3 patroni /etc/patroni.yml":               false,
	} {
		w := strings.Fields(line)
		if got := agentCalled(w[0], w[1:]); got != want {
			t.Errorf("%s: %t", line, got)
		}
	}
}

// TestStopAndStart: what is started again is the very same, once, however often
// it is asked for.
func TestStopAndStart(t *testing.T) {
	r, port, log := agent(t)
	s, err := specOf(r.PID)
	if err != nil {
		t.Fatal(err)
	}
	again := Again{Spec: s}
	back := Request{Port: port, Target: r, Again: again}
	// The way back of what was never done.
	if err := start(t.Context(), back); err != nil || !r.Alive() {
		t.Fatalf("%v", err)
	}
	if err := apart(ending, Request{Target: r, Again: again}); err != nil || r.Alive() {
		t.Fatalf("%v, alive %t", err, r.Alive())
	}
	results := make(chan error, 2)
	for range 2 {
		go func() { results <- start(context.Background(), back) }()
	}
	if err := errors.Join(<-results, <-results); err != nil {
		t.Fatal(err)
	}
	now, err := agentAt(port)
	if err != nil {
		t.Fatal(err)
	}
	other, err := specOf(now.PID)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(s)
	if got, _ := json.Marshal(other); !bytes.Equal(got, want) {
		t.Errorf("made of %s, not of %s", got, want)
	}
	if text, err := os.ReadFile(log); err != nil || string(text) != "secret: hush\nsecret: hush\n" {
		t.Errorf("its output is %q, %v", text, err)
	}
}

// TestStartWaitsForAStop: a way back that comes while a stop is under way begins
// when that is over.
func TestStartWaitsForAStop(t *testing.T) {
	r, port, _ := agent(t)
	s, err := specOf(r.PID)
	if err != nil {
		t.Fatal(err)
	}
	at, err := mark(stopping(r))
	if at == nil || err != nil {
		t.Fatal(err)
	}
	result := make(chan error)
	go func() { result <- start(context.Background(), Request{Port: port, Target: r, Again: Again{Spec: s}}) }()
	select {
	case err := <-result:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(3 * settle):
	}
	if err := r.Send(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	at.Close()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if now, err := agentAt(port); err != nil || now == r {
		t.Errorf("%+v, %v", now, err)
	}
}

// TestPause: it ends when it is asked to, and by itself.
func TestPause(t *testing.T) {
	r, _, _ := agent(t)
	if err := apart(hold, Request{Target: r, Seconds: 600}); err != nil || !standsStill(r) {
		t.Fatalf("%v", err)
	}
	if err := apart(hold, Request{Target: r, Seconds: 600}); err == nil || !strings.Contains(err.Error(), "another drill pauses it already") {
		t.Errorf("%v", err)
	}
	for range 2 {
		if err := goOn(t.Context(), Request{Target: r}); err != nil || standsStill(r) {
			t.Fatalf("%v", err)
		}
	}
	if err := apart(hold, Request{Target: r, Seconds: 1}); err != nil {
		t.Fatal(err)
	}
	for standsStill(r) {
		time.Sleep(10 * time.Millisecond)
	}
	if err := apart(hold, Request{Target: r}); err == nil || standsStill(r) {
		t.Errorf("%v", err)
	}
}

// TestRefusals: what could not be taken back is not done.
func TestRefusals(t *testing.T) {
	r, _, _ := agent(t)
	for _, a := range []Again{{}, {WhyNot: "it cannot"}, {Unit: "--now"}} {
		if err := apart(ending, Request{Target: r, Again: a}); err == nil || !r.Alive() {
			t.Errorf("%+v: %v", a, err)
		}
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", r.PID))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(exe); err != nil {
		t.Fatal(err)
	}
	if a := againOf(t.Context(), r); !strings.Contains(a.WhyNot, "its program was replaced since it was started") {
		t.Errorf("%+v", a)
	}
}

// TestMainAsks: nothing is done for who says nothing, and what cannot be read is
// not repeated.
func TestMainAsks(t *testing.T) {
	for in, want := range map[string]string{"": "nothing was asked", "secret\n": "is no request"} {
		var out bytes.Buffer
		err := Main(t.Context(), Kill, strings.NewReader(in), &out)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") || out.String() != Greeting+"\n" {
			t.Errorf("%q: %v, %q", in, err, out.String())
		}
	}
	if err := Main(t.Context(), "earthquake", strings.NewReader(""), &bytes.Buffer{}); err == nil {
		t.Error("any verb is taken")
	}
}

// TestLate: what comes when the way back may have been gone is not done.
func TestLate(t *testing.T) {
	if lateness >= settleUsual {
		t.Error("a way back does not wait for all that may still be asked")
	}
	before := lateness
	lateness = 0
	t.Cleanup(func() { lateness = before })
	r, _, _ := agent(t)
	line, err := json.Marshal(Request{Target: r})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = Main(t.Context(), Kill, bytes.NewReader(append(line, '\n')), &out)
	if err != nil || !strings.Contains(out.String(), "too late: nothing was done") || !r.Alive() {
		t.Errorf("%v, %s, alive %t", err, out.String(), r.Alive())
	}
}
