package dcstest

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
)

// OpenAt connects to the cluster at prefix on these servers.
type OpenAt func(ctx context.Context, prefix string, addrs []string) (dcs.Store, error)

// ownerEnv makes a test binary the owner of a session: prefix, length and
// addresses, separated by blanks.
const ownerEnv = "DCSTEST_OWNER"

// Main runs a package's tests, or is the process that opens a session, where
// Processes has started the test binary as that. For TestMain.
func Main(m *testing.M, open OpenAt) {
	if task := os.Getenv(ownerEnv); task != "" {
		os.Exit(own(strings.Fields(task), os.NewFile(3, "report"), open))
	}
	os.Exit(m.Run())
}

// own opens a session, makes a key with it, reports the handle, and renews until
// the session is gone. Told to end, it closes the store and exits as a program
// does that was told to; interrupted, it panics.
func own(task []string, report *os.File, open OpenAt) int {
	say := func(format string, args ...any) { fmt.Fprintf(report, format+"\n", args...) }
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	ttl, err := time.ParseDuration(task[1])
	if err != nil {
		say("failed %v", err)
		return 1
	}
	ctx := context.Background()
	st, err := open(ctx, task[0], task[2:])
	if err != nil {
		say("failed %v", err)
		return 1
	}
	defer st.Close()
	n, err := st.Open(ctx, ttl)
	if err == nil {
		_, err = n.Put(ctx, "leader", "owner", dcs.Absent())
	}
	var handle []byte
	if err == nil {
		handle, err = n.Handle().MarshalBinary()
	}
	if err != nil {
		say("failed %v", err)
		return 1
	}
	say("handle %s", hex.EncodeToString(handle))
	for {
		select {
		case s := <-told:
			if s == syscall.SIGINT {
				panic("as the test asked for")
			}
			return 0
		case <-time.After(50 * time.Millisecond):
		}
		switch _, err := n.Renew(ctx); {
		case err == nil:
			say("renewed")
		case errors.Is(err, dcs.ErrSessionGone):
			_, err := n.Put(ctx, "leader", "owner", dcs.Absent())
			say("gone %t", errors.Is(err, dcs.ErrSessionGone))
			return 0
		default:
			say("error %v", err)
		}
	}
}

// owner is the process that opened a session.
type owner struct {
	*Process
	handle  dcs.Handle
	reports chan string
}

// startOwner starts one and waits for the handle.
func startOwner(t *testing.T, prefix string, ttl time.Duration, addrs []string) *owner {
	t.Helper()
	exe, err := os.Executable()
	must(t, "find the test binary", err)
	r, w, err := os.Pipe()
	must(t, "pipe", err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), ownerEnv+"="+strings.Join(append([]string{prefix, ttl.String()}, addrs...), " "))
	cmd.ExtraFiles = []*os.File{w}
	o := &owner{Process: start(t, "owner of a session", cmd), reports: make(chan string)}
	w.Close()
	t.Cleanup(func() { r.Close() })
	go func() {
		defer close(o.reports)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			select {
			case o.reports <- lines.Text():
			case <-t.Context().Done():
				return
			}
		}
	}()
	b, err := hex.DecodeString(o.await(t, "handle "))
	must(t, "read the handle", err)
	must(t, "decode the handle", o.handle.UnmarshalBinary(b))
	return o
}

// await reads reports until one begins so, and returns the rest of it.
func (o *owner) await(t *testing.T, begin string) string {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case line, open := <-o.reports:
			if rest, ok := strings.CutPrefix(line, begin); ok && open {
				return rest
			}
			if !open || strings.HasPrefix(line, "failed ") {
				t.Fatalf("the owner of the session said %q (it ended: %v) and never %q", line, !open, begin)
			}
		case <-limit:
			t.Fatalf("the owner of the session never said %q", begin)
		}
	}
}
