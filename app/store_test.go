package app

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/etcdembed"
	"github.com/matriarch-ha/matriarch/internal/freeport"
)

// TestMain lets the test binary be the program: with the name of a command as
// its first argument it is that command.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		os.Exit(Main(ctx, os.Args, os.Environ(), os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := freeport.Next()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// TestTheStoreIsReportedOnce: what the store says of itself is logged by one
// layer only.
func TestTheStoreIsReportedOnce(t *testing.T) {
	dir := t.TempDir()
	text := fmt.Sprintf("scope: demo\nname: n1\npostgresql: {data_dir: %s}\nembedded: {listen_peer: '%s', listen_client: '%s'}\n",
		filepath.Join(dir, "data"), freeAddr(t), freeAddr(t))
	f, _, err := config.Load("", []string{"MATRIARCH_CONFIGURATION=" + text})
	if err != nil {
		t.Fatal(err)
	}
	var out lockedBuffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	var l lifecycle
	l.log = log
	defer l.stop()
	sup, err := startEmbedded(f, etcdembed.KeptByAgent, log, &l)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := sup.Ready(ctx); err != nil {
		t.Fatal(err, out.String())
	}
	l.stop() // whoever reports has done so when this returns
	if n := strings.Count(out.String(), "phase=ready"); n != 1 {
		t.Errorf("that the store is ready is said %d times:\n%s", n, out.String())
	}
}

// TestOneTroubleInAnyOrder: a store of several addresses fails with them in an
// order that changes, and is one trouble all the same.
func TestOneTroubleInAnyOrder(t *testing.T) {
	say := func(order ...string) string {
		_, about := storeRemedy(dcs.ErrUnavailable.Error() + ": " + strings.Join(order, ": connection refused; ") + ": connection refused")
		return about
	}
	if one, other := say("10.0.0.1:2379", "10.0.0.2:2379"), say("10.0.0.2:2379", "10.0.0.1:2379"); one != other {
		t.Errorf("%q and %q differ", one, other)
	}
	if say("10.0.0.1:2379") == say("10.0.0.2:2379") {
		t.Error("two hosts are one trouble")
	}
}
