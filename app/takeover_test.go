package app

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/guard"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// A guard that stands still stops nothing at the end of its lease: its server is
// killed, and then it, whether or not the store answers.
func TestMuteGuardIsEndedWithoutTheStore(t *testing.T) {
	dir := t.TempDir()
	f, _, err := config.Load("", []string{"MATRIARCH_CONFIGURATION=" + fmt.Sprintf(
		"scope: demo\nname: n1\nmatriarch: {state_dir: %s, kernel_fence: 'off'}\npostgresql: {data_dir: %s, bin_dir: /usr/lib/postgresql/15/bin}\netcd3: {host: '%s'}\n",
		dir, filepath.Join(dir, "data"), freeAddr(t))})
	if err != nil {
		t.Fatal(err)
	}
	var out lockedBuffer
	m := &member{file: f, log: slog.New(slog.NewTextHandler(&out, nil)), clock: clock.Real{}, stats: newStatistics(f.Scope, f.Name)}
	m.life.log = m.log
	defer m.life.stop()
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
	if err := syscall.Kill(g.State().PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
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
