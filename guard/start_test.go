package guard

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/internal/clock"
)

// A guard holds secrets in its memory: no core dump may have them.
func TestNoCoreDump(t *testing.T) {
	t.Parallel()
	c := startGuard(t, t.TempDir())
	text, err := os.ReadFile(procPath(c.State().PID, "limits"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok {
			if f := strings.Fields(rest); f[0] != "1" && f[0] != "0" || f[1] != f[0] {
				t.Errorf("core dumps: %q", rest)
			}
			return
		}
	}
	t.Error("no limit for core dumps")
}

// Where the handover socket cannot be made, a guard guards all the same, and says
// that nobody can take it over.
func TestStartsWithoutAPlaceForItsSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := optionsFor(Duty{DataDir: dir, KernelFence: KernelFenceOff, Handover: filepath.Join(dir, "missing", HandoverName)}, nil)
	c, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	if why := c.State().Refused; !strings.Contains(why, "no other agent can take the server over") {
		t.Errorf("it says %q", why)
	}
	arm(t, c, within(200*time.Millisecond))
	awaitFence(t, c)
}

// A handover socket that takes no more connections now is not the absence of a
// guard: whoever started another beside it would have two.
func TestCrowdedHandoverSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), HandoverName)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for { // until nobody fits in any more
		conn, err := dialHandover(path)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if _, err := Claim(context.Background(), path, slog.New(slog.DiscardHandler), clock.Real{}); !errors.Is(err, ErrServes) || errors.Is(err, ErrNoGuard) {
		t.Errorf("a guard that takes no connections: %v", err)
	}
}
