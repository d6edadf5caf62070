package up

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	pauseFirst = 500 * time.Millisecond
	pauseMost  = 10 * time.Second
	// steadyAfter is how long a process must have run for its end to count as
	// the first in a row.
	steadyAfter = time.Minute
)

// keeper keeps one process running: it takes over the one that runs, starts one
// otherwise, and starts it again when it ends.
type keeper struct {
	command
	say func(format string, values ...any)
	// held, if set, says who wants the process to stay down, empty for nobody.
	held func() string

	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	proc *process
}

// start begins to keep the process. gate, if set, is waited for before the
// first start.
func (k *keeper) start(gate func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel, k.done = cancel, make(chan struct{})
	go func() {
		defer close(k.done)
		if gate == nil || gate(ctx) == nil {
			k.keep(ctx)
		}
	}()
}

func (k *keeper) keep(ctx context.Context) {
	pause := pauseFirst
	for k.awaitRelease(ctx) {
		begun := time.Now()
		p, err := k.adoptOrLaunch()
		if err != nil {
			k.say("%s does not start: %v; again in %s", k.name, err, pause)
		} else {
			select {
			case <-ctx.Done():
				return
			case <-p.ended:
			}
			if time.Since(begun) > steadyAfter {
				pause = pauseFirst
			}
			k.say("%s ended%s; starting it again in %s. Its last line: %s", k.name, exitText(p), pause, lastLine(k.log))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, pauseMost)
	}
}

// awaitRelease waits while somebody wants the process to stay down; false: ctx
// has ended.
func (k *keeper) awaitRelease(ctx context.Context) bool {
	for said := ""; k.held != nil && ctx.Err() == nil; {
		who := k.held()
		if who == "" {
			break
		}
		if who != said {
			said = who
			k.say("%s stays down: %s", k.name, who)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pollHold):
		}
	}
	return ctx.Err() == nil
}

func exitText(p *process) string {
	if p.exit == "" {
		return ""
	}
	return " (" + p.exit + ")"
}

func (k *keeper) adoptOrLaunch() (*process, error) {
	p, err := find(k.pid)
	if p == nil && err == nil {
		p, err = launch(k.command)
	}
	if err != nil {
		return nil, err
	}
	if p.found {
		k.say("%s already runs (process %d): taken over", k.name, p.pid)
	}
	k.mu.Lock()
	k.proc = p
	k.mu.Unlock()
	return p, nil
}

// stop ends the keeping and the process, by SIGKILL when ctx ends first.
func (k *keeper) stop(ctx context.Context) error {
	if k.cancel == nil {
		return nil
	}
	k.cancel()
	<-k.done
	k.mu.Lock()
	p := k.proc
	k.mu.Unlock()
	if p == nil {
		return nil
	}
	err := p.stop(ctx)
	os.Remove(k.pid)
	if err != nil {
		return fmt.Errorf("%s: %w", k.name, err)
	}
	return nil
}

// lastLine is what a process said last, for a person who has only our line.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > 4096 {
		f.Seek(-4096, io.SeekEnd)
	}
	text, _ := io.ReadAll(f)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
