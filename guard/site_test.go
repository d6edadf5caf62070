package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

const (
	testHandle = "the handle\x00of a session"
	testAccess = "password of the store"
)

// site is a server with a guard that can be taken over, and whose helpers write
// what they were given into a directory.
type site struct {
	*server
	root   string
	socket string
}

func newSite(t *testing.T) *site {
	s := &site{server: startServer(t), root: t.TempDir()}
	// Longer than the address of a socket may be.
	dir := filepath.Join(s.root, strings.Repeat("d", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.socket = filepath.Join(dir, HandoverName)
	return s
}

func (s *site) options(grace, clean time.Duration) Options {
	null, _ := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	o := optionsFor(Duty{DataDir: s.dir, KernelFence: KernelFenceOff, Grace: grace, CleanStop: clean, Handover: s.socket}, null)
	o.Env = append(o.Env, envHelper+"="+s.root)
	o.Access = []byte(testAccess)
	return o
}

// guard starts a guard whose agent is this process.
func (s *site) guard(grace, clean time.Duration) *Client {
	s.t.Helper()
	c, err := Start(context.Background(), s.options(grace, clean))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Kill)
	return c
}

func (s *site) arm(c *Client, d fence.Deadlines) {
	s.t.Helper()
	if err := c.Arm(context.Background(), d, []byte(testHandle)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) claim() (*Inherited, error) {
	i, err := Claim(context.Background(), s.socket, slog.New(slog.DiscardHandler), clock.Real{})
	if err == nil {
		s.t.Cleanup(i.Kill)
	}
	return i, err
}

func (s *site) mustClaim() *Inherited {
	s.t.Helper()
	// The former agent's end is closed before its process is gone, and this one may
	// be faster than the guard.
	for {
		i, err := s.claim()
		if err == nil {
			return i
		}
		if !errors.Is(err, ErrServes) {
			s.t.Fatal(err)
		}
	}
}

// helperMain is a helper: it notes what it was given, and when the server was
// not dead by then.
func helperMain(root string) int {
	handle, access, err := ReadRelease()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	argv := strings.Join(os.Args, " ") + strings.Join(os.Environ(), " ")
	text := string(handle) + "|" + string(access)
	if strings.Contains(argv, testHandle) || strings.Contains(argv, testAccess) {
		text = "secrets in arguments or environment: " + argv
	}
	f, err := os.OpenFile(filepath.Join(root, "released"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 1
	}
	fmt.Fprintf(f, "%d %s\n", os.Getpid(), text)
	f.Close()
	for {
		if _, err := os.Stat(filepath.Join(root, "hold")); err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := os.Stat(filepath.Join(root, "fail")); err == nil {
		return 1
	}
	return 0
}

// released returns what the helpers wrote.
func (s *site) released() (lines []string) {
	text, _ := os.ReadFile(filepath.Join(s.root, "released"))
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// awaitReleased waits for the first helper, which must have been given what the guard
// knew.
func (s *site) awaitReleased() {
	s.t.Helper()
	for until := time.Now().Add(time.Minute); len(s.released()[0]) == 0 && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
	}
	s.mustHaveReleased(1)
}

func (s *site) mustHaveReleased(times int) {
	s.t.Helper()
	lines := s.released()
	if len(lines) == 1 && lines[0] == "" {
		lines = nil
	}
	if len(lines) != times {
		s.t.Fatalf("helpers: %q, want %d", lines, times)
	}
	for _, l := range lines {
		if _, what, _ := strings.Cut(l, " "); what != testHandle+"|"+testAccess {
			s.t.Errorf("a helper was given %q", what)
		}
	}
}

func long() fence.Deadlines {
	n := now()
	return fence.Deadlines{Sent: n, Soft: n.Add(50 * time.Second), Hard: n.Add(time.Minute)}
}
