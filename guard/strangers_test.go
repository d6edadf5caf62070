package guard

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/internal/clock"
)

// Another user's process is no agent, and another user's socket no guard.
func TestStrangersAreTurnedAway(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to be somebody else")
	}
	t.Parallel()
	s := newSite(t)
	c := s.guard(time.Minute, time.Minute)
	s.arm(c, long())
	_ = c.conn.Close()
	// The directories let everybody through, and so does the socket now.
	for dir := s.socket; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		_ = os.Chmod(dir, 0o777)
	}
	exe := copyOfTest(t)
	cmd := exec.Command("/usr/bin/setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", exe)
	cmd.Env = []string{"TEST_CLAIM=" + s.socket}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), ErrServes.Error()) {
		t.Errorf("a stranger: %s %v", out, err)
	}
	// And a stranger listens where a guard would.
	path := filepath.Join(filepath.Dir(s.socket), "other.sock")
	cmd = exec.Command("/usr/bin/setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", exe)
	cmd.Env = []string{"TEST_LISTEN=" + path}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(line, err)
	}
	if _, err := Claim(context.Background(), path, slog.New(slog.DiscardHandler), clock.Real{}); !errors.Is(err, ErrNoGuard) || !strings.Contains(err.Error(), "not to this user") {
		t.Errorf("a stranger's socket: %v", err)
	}
	s.mustClaim()
}

// strangerMain is another user's process in TestStrangersAreTurnedAway.
func strangerMain(claim, listen string) int {
	if claim != "" {
		_, err := Claim(context.Background(), claim, slog.New(slog.DiscardHandler), clock.Real{})
		fmt.Println(err)
		return 0
	}
	dir, err := unix.Open(filepath.Dir(listen), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return 1
	}
	fd, _ := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if unix.Bind(fd, &unix.SockaddrUnix{Name: inDir(dir, filepath.Base(listen))}) != nil || unix.Listen(fd, 1) != nil {
		return 1
	}
	fmt.Println("listening")
	select {}
}
