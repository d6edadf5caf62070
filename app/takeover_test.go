package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/guard"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// orphan is a member, and the guard that a former agent of it has left, armed.
func orphan(t *testing.T, out *lockedBuffer) (*member, *guard.Client) {
	t.Helper()
	dir := t.TempDir()
	f, _, err := config.Load("", []string{"MATRIARCH_CONFIGURATION=" + fmt.Sprintf(
		"scope: demo\nname: n1\nmatriarch: {state_dir: %s, kernel_fence: 'off'}\npostgresql: {data_dir: %s, bin_dir: /usr/lib/postgresql/15/bin}\netcd3: {host: '%s'}\n",
		dir, filepath.Join(dir, "data"), freeAddr(t))})
	if err != nil {
		t.Fatal(err)
	}
	m := &member{file: f, log: slog.New(slog.NewTextHandler(out, nil)), clock: clock.Real{}, stats: newStatistics(f.Scope, f.Name)}
	m.life.log = m.log
	t.Cleanup(m.life.stop)
	duty := m.duty()
	g, err := guard.Start(t.Context(), guard.Options{Args: guardArgs(duty), Duty: duty})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	n := m.clock.Now()
	if err := g.Arm(t.Context(), fence.Deadlines{Sent: n, Soft: n.Add(time.Hour), Hard: n.Add(time.Hour)}, nil); err != nil {
		t.Fatal(err)
	}
	return m, g
}

// An agent that is told to stop while it takes over is gone like any other: the
// guard is not told to kill the server.
func TestStopDuringATakeover(t *testing.T) {
	var out lockedBuffer
	m, g := orphan(t, &out)
	_ = g.Close()
	ctx, cancel := context.WithCancel(t.Context())
	if err := errors.Join(m.claimGuard(ctx), m.openServer(ctx)); err != nil || m.inherited == nil {
		t.Fatal(err, out.String())
	}
	i := m.inherited
	cancel()
	if err := m.inherit(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("goes on: %v", err)
	}
	if i.State().Armed == 0 || !i.State().Running {
		t.Errorf("the guard was ended with its server: %+v", i.State())
	}
	_ = i.Disarm(t.Context())
	_ = i.Client.Close()
}

// A guard that stands still stops nothing at the end of its lease: its server is
// killed, and then it, whether or not the store answers.
func TestMuteGuardIsEndedWithoutTheStore(t *testing.T) {
	var out lockedBuffer
	m, g := orphan(t, &out)
	if err := syscall.Kill(g.State().PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for { // it may run on for a moment
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.State().PID))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), ") T ") {
			break
		}
		time.Sleep(time.Millisecond)
	}
	_ = g.Close() // as the end of its agent
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.start(ctx) }()
	defer func() { cancel(); <-ended }()
	select {
	case <-g.Done():
	case err := <-ended:
		ended <- err
		t.Fatalf("%v\n%s", err, out.String())
	case <-time.After(time.Minute):
		t.Errorf("it waits for the store first:\n%s", out.String())
	}
}
