package client

import (
	"context"
	"net/http"
)

// Reload makes a member read its configuration file again.
func (c *Client) Reload(ctx context.Context, base string) (Reply, error) {
	return c.call(ctx, http.MethodPost, base, "/reload", []byte{}, "")
}

// Move is a request to move the leadership.
type Move struct {
	Leader      string `json:"leader,omitempty"`
	Candidate   string `json:"candidate,omitempty"`
	ScheduledAt string `json:"scheduled_at,omitempty"`
}

// Switchover moves the leadership from Move.Leader and returns when the outcome
// is known, or with code 202 when it is scheduled or still running.
func (c *Client) Switchover(ctx context.Context, base string, m Move) (Reply, error) {
	return c.outcome(ctx, base, "/switchover", m)
}

// Failover moves the leadership to Move.Candidate; otherwise as Switchover.
func (c *Client) Failover(ctx context.Context, base string, m Move) (Reply, error) {
	return c.outcome(ctx, base, "/failover", m)
}

// CancelSwitchover withdraws a scheduled switchover.
func (c *Client) CancelSwitchover(ctx context.Context, base string) (Reply, error) {
	return c.call(ctx, http.MethodDelete, base, "/switchover", nil, "")
}

// Restart is a request to restart a member's PostgreSQL. What is empty is not
// asked for.
type Restart struct {
	Schedule        string `json:"schedule,omitempty"`         // when, with zone; empty: now
	Role            string `json:"role,omitempty"`             // only if the member has it
	PostgresVersion string `json:"postgres_version,omitempty"` // only if the running one is older
	Timeout         string `json:"timeout,omitempty"`          // for the start: seconds, or with a unit
	OnlyPending     bool   `json:"restart_pending,omitempty"`  // only if a setting waits for it
}

// Restart restarts a member's PostgreSQL and returns when the outcome is known,
// or with code 202 when it is scheduled.
func (c *Client) Restart(ctx context.Context, base string, r Restart) (Reply, error) {
	if r.Schedule != "" {
		return c.send(ctx, http.MethodPost, base, "/restart", r, "")
	}
	return c.outcome(ctx, base, "/restart", r)
}

// CancelRestart withdraws a scheduled restart.
func (c *Client) CancelRestart(ctx context.Context, base string) (Reply, error) {
	return c.call(ctx, http.MethodDelete, base, "/restart", nil, "")
}

// Reinitialize is a request to copy a replica's data anew.
type Reinitialize struct {
	Force      bool `json:"force"`       // ends what the member is doing first
	FromLeader bool `json:"from_leader"` // copies from the leader, not from a replica
}

// Reinitialize makes a replica begin to copy its data anew.
func (c *Client) Reinitialize(ctx context.Context, base string, r Reinitialize) (Reply, error) {
	return c.send(ctx, http.MethodPost, base, "/reinitialize", r, "")
}
