package docker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/matriarch-ha/matriarch/drill"
)

// Kinds of undoing.
const (
	undoEnd   = "docker-start"
	undoPause = "docker-unpause"
	undoStop  = "docker-continue"
	undoCut   = "docker-mend"
)

// Undoers undo what drills do to containers.
func Undoers() drill.Undoers { return undoersOf(newEngine) }

func undoersOf(open func() (*engine, error)) drill.Undoers {
	with := func(f func(context.Context, *engine, map[string]string) error) drill.Undoer {
		return func(ctx context.Context, args map[string]string) error {
			e, err := open()
			if err != nil {
				return err
			}
			defer e.http.CloseIdleConnections()
			return f(ctx, e, args)
		}
	}
	return drill.Undoers{undoEnd: with(start), undoPause: with(unpause), undoStop: with(goOn), undoCut: with(mend)}
}

// beat is the pause between two looks at a container.
var beat = 250 * time.Millisecond

// start starts a container until it runs, and is certain that it stays so: the
// engine goes on with a stop whose caller was killed, so a container that still
// runs as it did before the fault may be about to end.
func start(ctx context.Context, e *engine, args map[string]string) error {
	grace, err := strconv.Atoi(args["grace"])
	if err != nil {
		return err
	}
	settled := time.Now().Add(time.Duration(grace)*time.Second + 2*time.Second)
	for {
		c, err := e.inspect(ctx, args["id"])
		if err != nil {
			return err
		}
		switch {
		case c.State.Running && c.State.StartedAt != args["started"]:
			return nil // it was started since
		case c.State.Running && time.Now().After(settled):
			return nil // it was never ended
		case !c.State.Running && !c.State.Restarting:
			if err := e.act(ctx, args["id"], "start"); err != nil {
				return err
			}
		}
		if err := sleep(ctx); err != nil {
			return fmt.Errorf("container %.12s does not run: %w", args["id"], err)
		}
	}
}

// unpause lets a container go on, also one that is only about to be paused by a
// call of a killed drill.
func unpause(ctx context.Context, e *engine, args map[string]string) error {
	for quiet := 0; quiet < 4; {
		c, err := e.inspect(ctx, args["id"])
		if err != nil {
			return err
		}
		if quiet++; c.State.Paused {
			quiet = 0
			if err := e.act(ctx, args["id"], "unpause"); err != nil {
				return err
			}
		}
		if err := sleep(ctx); err != nil {
			return err
		}
	}
	return nil
}

// goOn lets a stopped process go on. A container that does not run has none.
func goOn(ctx context.Context, e *engine, args map[string]string) error {
	if _, err := strconv.Atoi(args["pid"]); err != nil {
		return err
	}
	_, err := e.run(ctx, args["id"], command{Cmd: []string{"sh", "-c", "kill -CONT " + args["pid"] + " 2>/dev/null; true"}})
	var refused *refusal
	if errors.As(err, &refused) && refused.code == http.StatusConflict {
		return nil
	}
	return err
}

// mend ends a cut. A container that does not run has no network to be cut in.
func mend(ctx context.Context, e *engine, args map[string]string) error {
	_, err := e.run(ctx, args["id"], command{Cmd: []string{"matriarch", "drill-cut", "--mend"}})
	var refused *refusal
	if errors.As(err, &refused) && refused.code == http.StatusConflict {
		return nil
	}
	return err
}

func sleep(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(beat):
		return nil
	}
}
