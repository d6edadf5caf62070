package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/postgres"
	"github.com/matriarch-ha/matriarch/wal"
)

const (
	proverPace = time.Second
	// proverGap: this process itself did not run for so long (it was stopped, the
	// host was suspended). That is no stall of the server.
	proverGap = 5 * time.Second
)

// prover finds out, beside the loop, when the primary last could commit: by its
// flushed position, which the turns see, and where that stands still by a question
// that makes the server write. A disk that hangs holds up that question and nothing
// else.
type prover struct {
	opt Options

	mu      sync.Mutex
	limit   time.Duration // primary_stall_timeout; 0: nothing is looked for
	pid     int           // of the primary's postmaster; 0: no primary runs here
	flushed wal.LSN
	proven  boot.Instant
	why     string // the latest attempt failed, for this reason
	asking  bool
	seen    boot.Instant // when run looked last
}

// saw takes what a turn saw of the server.
func (p *prover) saw(f postgres.Facts, limit time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = limit
	if f.Role != postgres.RolePrimary || f.Process != postgres.ProcRunning || limit <= 0 {
		p.pid, p.flushed, p.proven, p.why = 0, 0, 0, ""
		return
	}
	if f.PID != p.pid || f.Flushed > p.flushed && f.Flushed != 0 {
		p.provenNow()
	}
	p.pid, p.flushed = f.PID, max(p.flushed, f.Flushed)
}

// provenNow notes a proof; p.mu is held.
func (p *prover) provenNow() { p.proven, p.why = p.opt.Clock.Now(), "" }

// state is what is known, for an observation.
func (p *prover) state() (proven boot.Instant, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proven, p.why
}

// run asks when it is due until ctx ends.
func (p *prover) run(ctx context.Context) {
	tick := time.NewTicker(proverPace)
	defer tick.Stop()
	var asks sync.WaitGroup
	defer asks.Wait()
	idle := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch due, limit := p.due(); {
		case limit == 0 && !idle:
			idle = true
			go p.opt.Postgres.DropProof() // may wait for a question that hangs
		case due:
			idle = false
			asks.Go(func() { p.ask(ctx, limit) })
		}
	}
}

// due reports whether to ask now, and the limit; none while no primary runs.
func (p *prover) due() (due bool, limit time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.opt.Clock.Now()
	gap := p.seen != 0 && now.Sub(p.seen) > proverGap
	p.seen = now
	if p.pid == 0 {
		return false, 0
	}
	if gap {
		p.provenNow()
	}
	if p.asking || now.Sub(p.proven) < p.limit/3 {
		return false, p.limit
	}
	p.asking = true
	return true, p.limit
}

// ask makes the server prove it. An attempt ends before the limit is reached, so
// that nothing is concluded from silence alone.
func (p *prover) ask(ctx context.Context, limit time.Duration) {
	p.mu.Lock()
	pid := p.pid
	p.mu.Unlock()
	asked, cancel := context.WithTimeout(ctx, limit/2)
	err := p.opt.Postgres.ProveCommit(asked)
	cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asking = false
	switch {
	case p.pid != pid || ctx.Err() != nil:
	case err == nil:
		p.provenNow()
	case errors.Is(err, postgres.ErrNotAsked) && p.why == "":
		p.provenNow() // it speaks, and nothing says that it cannot write
	case !errors.Is(err, postgres.ErrNotAsked):
		p.why = err.Error()
	}
}

// proof puts what the prover knows into an observation.
func (a *Agent) proof(f postgres.Facts, s *ha.Server) {
	a.prover.saw(f, a.config.settings.PrimaryStallTimeout)
	s.Proven, s.Unproven = a.prover.state()
}
