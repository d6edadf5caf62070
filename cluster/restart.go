package cluster

import "time"

// RestartConditions are what must hold for PostgreSQL to be restarted by a
// person's request, and how long the start may take. The zero value asks for a
// restart in any case.
type RestartConditions struct {
	Role        Role          `json:"role,omitempty"`         // restart only if the member has it; empty: any
	OlderThan   int           `json:"older_than,omitempty"`   // restart only if server_version_num is lower; 0: any
	OnlyPending bool          `json:"only_pending,omitempty"` // restart only if a setting waits for it
	Timeout     time.Duration `json:"timeout,omitempty"`      // for the start; 0: primary_start_timeout
}

// ScheduledRestart is a restart to be carried out at a time, if the conditions
// hold then. A zero At: none is scheduled.
type ScheduledRestart struct {
	At         time.Time         `json:"at,omitzero"`
	Conditions RestartConditions `json:"conditions,omitzero"`
	// PostmasterStart is when the postmaster had been started that ran when this
	// was scheduled: if it was started anew since, the restart has happened.
	PostmasterStart time.Time `json:"postmaster_start,omitzero"`
}

// Present reports whether a restart is scheduled.
func (r ScheduledRestart) Present() bool { return !r.At.IsZero() }
