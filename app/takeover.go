package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/matriarch-ha/matriarch/agent"
	"github.com/matriarch-ha/matriarch/guard"
	"github.com/matriarch-ha/matriarch/lease"
	"github.com/matriarch-ha/matriarch/postgres"
)

const (
	// claimWait is how long a guard is asked again that says it has an agent: one
	// whose agent has just died may not know yet.
	claimWait = 2 * time.Second
	// lookWait bounds the look at the server before it is taken over.
	lookWait = 3 * time.Second
	// endWait is how long a guard has to stop a server that is not taken over.
	endWait = 30 * time.Second
)

func (m *member) duty() guard.Duty {
	// A new postgresql.listen needs another agent, so its guard knows the port that
	// the server is started with.
	g := m.file.Matriarch.Guard
	return guard.Duty{DataDir: m.file.Postgres.DataDir, Port: uint16(m.file.Postgres.Port),
		KernelFence: guard.KernelFence(m.file.Matriarch.KernelFence),
		Grace:       g.TakeoverGrace, CleanStop: g.CleanStop, Handover: m.handover()}
}

func (m *member) handover() string {
	return filepath.Join(m.file.Matriarch.StateDir, guard.HandoverName)
}

// startGuard gives the agent a guard: at first the one that was taken over.
func (m *member) startGuard(ctx context.Context) (agent.Guard, error) {
	if g := m.inherited; g != nil {
		m.inherited = nil
		return g, nil
	}
	access, err := accessOf(m.file)
	if err != nil {
		return nil, err
	}
	duty := m.duty()
	g, err := guard.Start(ctx, guard.Options{Args: guardArgs(duty), Duty: duty, Access: access,
		Env: []string{guard.NoteEnv + "=" + filepath.Join(m.file.Matriarch.StateDir, guard.NoteName),
			guard.WatchdogEnv + "=" + m.file.Watchdog.Device},
		Logger: m.log, Clock: m.clock})
	if err != nil {
		return nil, err
	}
	m.setWatchdog(g)
	m.sayKernelFence(g.Kernel(), duty)
	if refused := g.State().Abilities.Refused; refused != "" {
		m.log.Debug("the guard runs without some protections", "refused", refused)
	}
	return g, nil
}

// setWatchdog says what this agent wants of the guard's watchdog device.
func (m *member) setWatchdog(g interface {
	SetWatchdog(func() (time.Duration, bool))
}) {
	g.SetWatchdog(func() (time.Duration, bool) { return m.watch.wanted(m.settings().LoopWait) })
}

// claimGuard takes the guard of a former agent over, first of all: it stops its
// server when nobody comes. Whether this agent can go on with the server is seen
// when there is a store to ask.
func (m *member) claimGuard(ctx context.Context) error {
	until := m.clock.Now().Add(claimWait)
	for {
		g, err := guard.Claim(ctx, m.handover(), m.log, m.clock)
		switch {
		case err == nil:
			m.inherited = g
			m.log.Info("the guard of the former agent waits for this one", "guard", g.State().PID, "version", g.Version, "postmaster", g.Postmaster)
			return nil
		case errors.Is(err, guard.ErrNoGuard):
			m.log.Debug("no guard to take over", "reason", err)
			return nil
		case errors.Is(err, guard.ErrStopping):
			m.log.Info("the guard of the former agent has stopped the server, since no agent came in time")
			return nil
		case errors.As(err, &m.mute):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case m.clock.Now() >= until:
			return fmt.Errorf("%w: does another agent run, or stand still, with the state directory %s? End it first: two must not serve one data directory",
				err, m.file.Matriarch.StateDir)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// inherit goes on with the server and the lease of the former agent, or has them
// ended.
func (m *member) inherit(ctx context.Context) error {
	g := m.inherited
	if g == nil {
		return nil
	}
	f, why := m.adopt(ctx, g)
	if why == nil {
		text := fmt.Sprintf("took over the running primary (process %d), its guard (process %d, version %s) and its lease from the agent before",
			g.Postmaster, g.State().PID, g.Version)
		m.log.Info(text)
		m.agent.TookOver(text, f)
		m.sayKernelFence(g.Kernel(), m.duty())
		return nil
	}
	if ctx.Err() != nil {
		// Told to stop meanwhile: to the guard that is the end of its agent, after which
		// it shuts the server down in order.
		return ctx.Err()
	}
	m.inherited = nil
	m.log.Warn("cannot go on with the primary of the agent before: its guard ends what is left of it and gives its lease up", "reason", why)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWait)
	defer cancel()
	if err := g.End(ctx); err != nil {
		// As without a handover: what runs here without a lease is fenced.
		m.log.Error("the guard of the agent before does not end", "error", err)
	}
	return nil
}

// adopt says why this agent cannot go on with what it found; nil: it does, and the
// server is as the facts say.
func (m *member) adopt(ctx context.Context, g *guard.Inherited) (postgres.Facts, error) {
	look, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	f := m.server.Observe(look)
	switch {
	case f.Dir != postgres.DirPresent: // a new database that nobody knows of yet, for example
		return f, fmt.Errorf("the data directory %s is %s", m.file.Postgres.DataDir, f.Dir)
	case f.Process != postgres.ProcRunning && f.Process != postgres.ProcStarting || f.SignalFile || f.Role == postgres.RoleStandby:
		return f, fmt.Errorf("the server in %s is no running primary: it is %s", m.file.Postgres.DataDir, f.Process)
	case f.PID != g.Postmaster || f.StartTicks != g.StartTicks:
		return f, fmt.Errorf("the server in %s, process %d, is not the one that is guarded, process %d", m.file.Postgres.DataDir, f.PID, g.Postmaster)
	}
	access, err := accessOf(m.file)
	if err == nil {
		err = g.Pass(access)
	}
	if err != nil {
		return f, err
	}
	m.setWatchdog(g)
	return f, m.keeper.Adopt(ctx, lease.Inherited{Session: g.Session, Deadlines: g.Deadlines, Guard: g})
}

// endMute ends a guard that does not answer. Its deadline goes with it, so its
// server goes first, provably. It does not wait for the store: nobody stops that
// server at the end of its lease.
func (m *member) endMute(ctx context.Context) error {
	if m.mute == nil {
		return nil
	}
	m.log.Warn("killing the server before the guard of the agent before is ended: nothing else is certain to stop it", "reason", m.mute)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWait)
	defer cancel()
	if _, err := guard.Kill(ctx, m.file.Postgres.DataDir, m.clock); err != nil {
		return fmt.Errorf("%w, and its server cannot be killed: %w", m.mute, err)
	}
	if err := m.server.MarkStandby(); err != nil {
		m.log.Warn("the next start of the server might not be a standby's", "error", err)
	}
	m.mute.Kill()
	return nil
}
