package hand

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/internal/proc"
)

const (
	// beat is the pause between two looks.
	beat = 100 * time.Millisecond
	// startPatience is how long an agent may take until it listens.
	startPatience = 90 * time.Second
)

// settle is how long a way back waits for what was asked before it and has not
// begun yet: lateness, and the time to begin.
var settle = 10 * time.Second

// mark takes a name that no two can have at once, and that the kernel takes back
// when its holder ends. It returns nil where another has it.
func mark(what string) (net.Listener, error) {
	l, err := net.Listen("unix", "@matriarch-drill/"+what)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, nil
	}
	return l, err
}

// marked waits until it has the name.
func marked(ctx context.Context, what string) (net.Listener, error) {
	for {
		l, err := mark(what)
		if l != nil || err != nil {
			return l, err
		}
		if err := wait(ctx); err != nil {
			return nil, fmt.Errorf("another drill's process is at work: %w", err)
		}
	}
}

// has reports whether somebody has the name.
func has(what string) (bool, error) {
	l, err := mark(what)
	if l != nil {
		l.Close()
	}
	return l == nil && err == nil, err
}

func stopping(p proc.Record) string { return fmt.Sprintf("stop/%d-%d", p.PID, p.StartTime) }
func paused(p proc.Record) string   { return fmt.Sprintf("pause/%d-%d", p.PID, p.StartTime) }

func wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(beat):
		return nil
	}
}

// stop ends an agent as its user would, and waits until it has ended.
func stop(ctx context.Context, r Request) error {
	if err := r.Again.can(); err != nil {
		return err
	}
	at, err := marked(ctx, stopping(r.Target))
	if err != nil {
		return err
	}
	defer at.Close()
	if !r.Target.Alive() {
		return gone(r.Target)
	}
	if unit := r.Again.Unit; unit != "" {
		if err := mainOf(ctx, unit, r.Target.PID); err != nil {
			return err
		}
		if err := systemctl(ctx, "stop", unit); err != nil {
			return err
		}
	} else if err := r.Target.Send(unix.SIGTERM); err != nil {
		return err
	}
	return r.Target.AwaitEnd(ctx)
}

func gone(p proc.Record) error {
	return fmt.Errorf("process %d runs no more: %w", p.PID, os.ErrProcessDone)
}

// kill ends a process at once.
func kill(ctx context.Context, r Request) error {
	if err := r.Target.Send(unix.SIGKILL); err != nil {
		return err
	}
	return r.Target.AwaitEnd(ctx)
}

// start is the way back of a stop and a kill: it waits for a stop that is under
// way, and starts the agent again unless one runs. Two of them do not get into
// each other's way.
func start(ctx context.Context, r Request) error {
	one, err := marked(ctx, fmt.Sprintf("start/%d", r.Port))
	if err != nil {
		return err
	}
	defer one.Close()
	if never, err := neverEnded(ctx, r.Target); never || err != nil {
		return err
	}
	switch _, err := agentAt(r.Port); {
	case err == nil:
		return nil // its service manager was faster
	case !errors.Is(err, errNobody):
		return err // the port is another's: an agent could not use it
	}
	ended, err := r.Again.launch(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		if _, err = agentAt(r.Port); err == nil {
			return nil
		}
		select {
		case how := <-ended:
			return fmt.Errorf("the agent was started again, and ended at once (%s): see its log", how)
		default:
		}
		if wait(ctx) != nil {
			return fmt.Errorf("the agent was started again, and its REST interface does not listen yet: %w", err)
		}
	}
}

// neverEnded waits for a stop that is under way or may still be about to begin.
// It reports whether the process runs on.
func neverEnded(ctx context.Context, p proc.Record) (bool, error) {
	settled := time.Now().Add(settle)
	for p.Alive() {
		busy, err := has(stopping(p))
		if err != nil {
			return false, err
		}
		if !busy && time.Now().After(settled) {
			return true, nil
		}
		if err := wait(ctx); err != nil {
			return false, fmt.Errorf("process %d has not ended yet: %w", p.PID, err)
		}
	}
	return false, nil
}
