package app

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/matriarch-ha/matriarch/agent"
	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// outcome translates the agent's answer to a request into the interface's.
func outcome(err error) error {
	var refused *agent.Refused
	var failed *agent.Failed
	switch {
	case errors.As(err, &refused):
		return &api.Refusal{Code: http.StatusServiceUnavailable, Text: refused.Text}
	case errors.As(err, &failed):
		return &api.Refusal{Code: http.StatusServiceUnavailable, Text: failed.Text}
	case errors.Is(err, agent.ErrScheduled):
		return api.ErrConflict
	}
	return err
}

// Restart has the server restarted, and waits for it.
func (s *source) Restart(ctx context.Context, c cluster.RestartConditions) error {
	return outcome(s.agent.Restart(ctx, c))
}

// ScheduleRestart keeps a restart for its time.
func (s *source) ScheduleRestart(ctx context.Context, r cluster.ScheduledRestart) error {
	err := s.agent.ScheduleRestart(ctx, r)
	var refused *agent.Refused
	if errors.As(err, &refused) {
		return &api.Refusal{Code: http.StatusInternalServerError, Text: refused.Text}
	}
	return outcome(err)
}

// CancelRestart forgets the scheduled restart.
func (s *source) CancelRestart(ctx context.Context) (bool, error) { return s.agent.CancelRestart(ctx) }

// Reinitialize begins to copy the data of this member anew.
func (s *source) Reinitialize(ctx context.Context, force, fromLeader bool) error {
	return outcome(s.agent.Reinitialize(ctx, force, fromLeader))
}

// Accept answers a leader that cannot reach the store.
func (s *source) Accept(_ context.Context, leader string, promise time.Duration) (wal.LSN, error) {
	at, err := s.agent.Accept(leader, promise)
	var refused *agent.Refused
	switch {
	case errors.Is(err, agent.ErrLeads):
		return 0, &api.Refusal{Code: http.StatusInternalServerError, Text: "Running as a leader"}
	case errors.As(err, &refused):
		return 0, &api.Refusal{Code: http.StatusConflict, Text: refused.Text}
	}
	return at, err
}
