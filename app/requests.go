package app

import (
	"context"
	"net/http"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/cluster"
)

// notYet refuses what the agent cannot do yet.
func notYet(what string) error {
	return &api.Refusal{Code: http.StatusNotImplemented, Text: what + " is not supported yet"}
}

// Restart is refused for now.
func (s *source) Restart(context.Context, cluster.RestartConditions) error { return notYet("restart") }

// ScheduleRestart is refused for now.
func (s *source) ScheduleRestart(context.Context, cluster.ScheduledRestart) error {
	return notYet("a scheduled restart")
}

// CancelRestart is refused for now.
func (s *source) CancelRestart(context.Context) (bool, error) {
	return false, notYet("a scheduled restart")
}

// Reinitialize is refused for now.
func (s *source) Reinitialize(context.Context, bool, bool) error { return notYet("reinitialize") }
