package up

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/drill"
	"github.com/matriarch-ha/matriarch/internal/proc"
)

// FindReach is the drill's way to the processes of a cluster of `matriarch up`
// on this machine.
func FindReach(_ context.Context, p drill.Place) (drill.Reach, error) {
	dir, asked := strings.CutPrefix(p.Asked, "up:")
	if p.Asked != "" && p.Asked != "up" && !asked {
		return nil, nil
	}
	var dirs []string
	switch {
	case asked:
		dirs = []string{dir}
	default:
		if p.ConfigFile != "" {
			if file, err := filepath.Abs(p.ConfigFile); err == nil {
				dirs = append(dirs, filepath.Dir(filepath.Dir(file)))
			}
		}
		if usual, err := defaultDir(p.Picture.Scope); err == nil && scopeName.MatchString(p.Picture.Scope) {
			dirs = append(dirs, usual)
		}
	}
	var why error
	for _, d := range dirs {
		plan, err := planOf(d, p.Picture)
		if err == nil {
			return &reach{plan}, keptUp(d)
		}
		why = err
	}
	if p.Asked == "" {
		return nil, nil
	}
	return nil, why
}

// planOf is the cluster of a directory, if it is the one of the picture.
func planOf(dir string, p drill.Picture) (plan, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return plan{}, err
	}
	var r record
	if err := readJSON(filepath.Join(dir, recordName), &r); err != nil {
		return plan{}, fmt.Errorf("no cluster of `matriarch up`: %w", err)
	}
	if r.Scope != p.Scope || r.Members < 1 || r.Members > maxMembers {
		return plan{}, fmt.Errorf("%s holds the cluster %q, not %q", dir, r.Scope, p.Scope)
	}
	whole := newPlan(dir, r)
	for _, m := range whole.servers() {
		if x, ok := p.Member(m.name); ok && x.Base != m.base() {
			return plan{}, fmt.Errorf("%s of the cluster answers at %s, that of %s would at %s", m.name, x.Base, dir, m.base())
		}
	}
	return whole, nil
}

// keptUp makes sure that `matriarch up` runs: it starts again what a drill ends.
func keptUp(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("look whether `matriarch up` runs: %w (run the drill as the same user)", err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("`matriarch up` does not run on %s, so nothing would start again what a drill ends: start it, it takes the cluster over", dir)
	}
	return nil
}

// reach is the way to a cluster's processes on this machine.
type reach struct{ plan plan }

// Where implements drill.Reach.
func (r *reach) Where() string { return "the processes of `matriarch up` in " + r.plan.dir }

// Entrypoint implements drill.Reach.
func (r *reach) Entrypoint() string { return uri(r.plan.entry, r.plan.passFile()) }

// Kinds of undoing.
const (
	undoHold = "up-release"
	undoStop = "process-continue"
)

// Undoers undo what drills do to processes on this machine.
func Undoers() drill.Undoers {
	return drill.Undoers{
		undoHold: func(_ context.Context, args map[string]string) error { return release(args["file"]) },
		undoStop: func(_ context.Context, args map[string]string) error { return goOn(args) },
	}
}

// Steps implements drill.Reach.
func (r *reach) Steps(_ context.Context, s drill.Scenario, x drill.Member, within time.Duration) ([]drill.Step, error) {
	for _, m := range r.plan.servers() {
		if m.name == x.Name {
			return r.steps(s, m, within)
		}
	}
	return nil, fmt.Errorf("%s is none of the members in %s", x.Name, r.plan.dir)
}

func (r *reach) steps(s drill.Scenario, m member, within time.Duration) ([]drill.Step, error) {
	agent, err := recordIn(filepath.Join(m.dir, "agent.pid"))
	if err != nil {
		return nil, fmt.Errorf("the agent of %s: %w", m.name, err)
	}
	called := fmt.Sprintf("the agent of %s (process %d)", m.name, agent.PID)
	switch s {
	case drill.StopAgent:
		return []drill.Step{holding(m, false, within), {Say: "stop " + called, Do: func(ctx context.Context) error { return end(ctx, agent) }}}, nil
	case drill.KillAgent:
		return []drill.Step{{Say: "kill " + called + "; `matriarch up` starts it again",
			Do: func(context.Context) error { return agent.Send(unix.SIGKILL) }}}, nil
	case drill.PauseAgent:
		return []drill.Step{{Say: "make " + called + " stand still", Undo: continuing(m, agent),
			Do: func(context.Context) error { return agent.Send(unix.SIGSTOP) }}}, nil
	case drill.KillPostgres:
		pid := postmaster(m.data())
		server, err := proc.Of(pid)
		if err != nil {
			return nil, fmt.Errorf("PostgreSQL of %s: %w", m.name, err)
		}
		return []drill.Step{{Say: fmt.Sprintf("kill PostgreSQL of %s (process %d)", m.name, pid),
			Do: func(context.Context) error { return server.Send(unix.SIGKILL) }}}, nil
	case drill.PowerOff:
		return []drill.Step{holding(m, true, within), {Say: "kill all processes of " + m.name + " at once: agent, guard, server and vote",
			Do: func(ctx context.Context) error { return cutPower(ctx, m) }}}, nil
	}
	return nil, fmt.Errorf("%s cannot be done to a cluster of `matriarch up`: all its members share one host and one network; "+
		"use the compose deployment, or pause-agent, which cuts the agent off from everything", s)
}

// holding keeps a member down; its processes are ended by the step after.
func holding(m member, store bool, within time.Duration) drill.Step {
	return drill.Step{
		Say:  "tell `matriarch up` to leave " + m.name + " down",
		Undo: &drill.Undo{Say: "let `matriarch up` start " + m.name + " again", Kind: undoHold, Args: map[string]string{"file": m.holdFile()}},
		Do:   func(context.Context) error { return holdDown(m, store, within) },
	}
}

func continuing(m member, p pidRecord) *drill.Undo {
	return &drill.Undo{Say: fmt.Sprintf("let the agent of %s (process %d) go on", m.name, p.PID), Kind: undoStop, Args: map[string]string{
		"pid": strconv.Itoa(p.PID), "start_time": strconv.FormatUint(p.StartTime, 10), "boot_id": p.BootID}}
}

// goOn lets a stopped process run; one that has ended needs nothing.
func goOn(args map[string]string) error {
	pid, err := strconv.Atoi(args["pid"])
	if err != nil {
		return err
	}
	started, err := strconv.ParseUint(args["start_time"], 10, 64)
	if err != nil {
		return err
	}
	err = pidRecord{PID: pid, StartTime: started, BootID: args["boot_id"]}.Send(unix.SIGCONT)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// recordIn reads a pid file and checks that its process runs.
func recordIn(file string) (pidRecord, error) {
	var p pidRecord
	if err := readJSON(file, &p); err != nil {
		return p, err
	}
	if !p.Alive() {
		return p, os.ErrProcessDone
	}
	return p, nil
}

// end asks a process to end and waits until it has.
func end(ctx context.Context, r pidRecord) error {
	p, err := findRecord(r)
	if p == nil || err != nil {
		return errors.Join(err, os.ErrProcessDone)
	}
	if err := r.Send(unix.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("process %d has not ended yet: %w", r.PID, ctx.Err())
	}
}
