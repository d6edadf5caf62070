package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
	"github.com/matriarch-ha/matriarch/journal"
)

// stopAllowance is how long a restart may take beside its start: the final
// checkpoint and the shutdown.
const stopAllowance = time.Minute

// maxTimeout is the longest time that a start may be given: more is never meant,
// and must not overflow what it is added to.
const maxTimeout = 365 * 24 * time.Hour

// RestartRuns begins the answer when the wait for a restart ends before the
// restart does.
const RestartRuns = "restart still running"

// postRestart restarts the local server now and answers when it is up again, or
// keeps the restart for its time.
func (s *Server) postRestart(w http.ResponseWriter, r *http.Request) {
	body, ok := readOptional(w, r)
	if !ok {
		return
	}
	settings := s.src.Status().Settings
	want, refusal := parseRestart(body, settings.Paused, s.clock.Wall())
	switch {
	case refusal != nil:
		s.text(w, refusal.Code, refusal.Text)
	case want.Present():
		s.scheduleRestart(w, r, want)
	default:
		s.restart(w, r, want.Conditions, settings)
	}
}

func (s *Server) restart(w http.ResponseWriter, r *http.Request, c cluster.RestartConditions, settings cluster.Settings) {
	limit := s.opts.Patience
	if limit <= 0 {
		limit = settings.PrimaryStopTimeout + stopAllowance + settings.PrimaryStartTimeout
		if c.Timeout > 0 {
			limit = settings.PrimaryStopTimeout + stopAllowance + c.Timeout
		}
	}
	extend(w, limit)
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	begin := time.Now()
	s.asked(r, journal.Request{Kind: "restart", Target: s.src.Status().Name}, "a restart of PostgreSQL was asked for")
	err := s.src.Restart(ctx, c)
	var refusal *Refusal
	switch {
	case err == nil:
		s.text(w, http.StatusOK, "restarted successfully")
	case errors.As(err, &refusal):
		s.text(w, refusal.Code, refusal.Text)
	case ctx.Err() != nil:
		s.text(w, http.StatusServiceUnavailable, fmt.Sprintf("%s after %.0f seconds", RestartRuns, time.Since(begin).Seconds()))
	default:
		s.log.Warn("a restart failed", "err", err)
		s.text(w, http.StatusServiceUnavailable, "restart failed: "+err.Error())
	}
}

func (s *Server) scheduleRestart(w http.ResponseWriter, r *http.Request, want cluster.ScheduledRestart) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	at := isoTime(want.At)
	s.asked(r, journal.Request{Kind: "restart", Target: s.src.Status().Name, At: at}, "a restart of PostgreSQL at "+at+" was asked for")
	switch err := s.src.ScheduleRestart(ctx, want); {
	case errors.Is(err, ErrConflict):
		s.text(w, http.StatusConflict, "Another restart is already scheduled")
	case err != nil:
		s.refused(w, err, "the restart could not be scheduled")
	default:
		s.text(w, http.StatusAccepted, "Restart scheduled")
	}
}

// deleteRestart forgets the scheduled restart.
func (s *Server) deleteRestart(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	s.asked(r, journal.Request{Kind: "cancel", Target: s.src.Status().Name}, "the end of a scheduled restart was asked for")
	switch had, err := s.src.CancelRestart(ctx); {
	case err != nil:
		s.refused(w, err, "the scheduled restart could not be deleted")
	case !had:
		s.text(w, http.StatusNotFound, "no restarts are scheduled")
	default:
		s.text(w, http.StatusOK, "scheduled restart deleted")
	}
}

// parseRestart reads what is asked for. The first key that is wrong answers.
func parseRestart(body pyjson.Object, paused bool, now time.Time) (cluster.ScheduledRestart, *Refusal) {
	var out cluster.ScheduledRestart
	if _, ok := body.Get("schedule"); ok && paused {
		return out, refuse(http.StatusInternalServerError, "Can't schedule restart in the paused state")
	}
	for _, f := range body {
		if refusal := parseCondition(&out, f.Key, f.Value, now); refusal != nil {
			return out, refusal
		}
	}
	return out, nil
}

func parseCondition(out *cluster.ScheduledRestart, key string, value any, now time.Time) *Refusal {
	text, _ := value.(string)
	bad := func(text string) *Refusal { return refuse(http.StatusBadRequest, text) }
	switch key {
	case "schedule":
		at, refusal := parseSchedule(text, "restart", now)
		out.At = at
		return refusal
	case "role":
		out.Conditions.Role = cluster.Role(text)
		switch out.Conditions.Role {
		case cluster.RolePrimary, cluster.RoleStandbyLeader, cluster.RoleReplica:
			return nil
		}
		return bad("PostgreSQL role should be either primary, standby_leader, or replica")
	case "postgres_version":
		n, refusal := parseVersion(fmt.Sprint(value))
		out.Conditions.OlderThan = n
		return refusal
	case "timeout":
		d, ok := parseDuration(fmt.Sprint(value))
		out.Conditions.Timeout = min(d, maxTimeout)
		if !ok {
			return bad("Timeout should be a positive number of seconds")
		}
	case "restart_pending":
		out.Conditions.OnlyPending = true
	default:
		return bad("Unknown filter for the scheduled restart: " + key)
	}
	return nil
}

// parseVersion reads 15.2, or 9.6.24 as it was before 10, as a version number.
func parseVersion(text string) (int, *Refusal) {
	parts := strings.Split(text, ".")
	number := 0
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil || n > 99 {
			return 0, refuse(http.StatusBadRequest, "Invalid PostgreSQL version: "+text)
		}
		if i == 1 && len(parts) == 2 {
			number *= 100
		}
		number = number*100 + int(n)
	}
	if len(parts) < 2 || len(parts) > 3 || len(parts) == 2 && number < 100000 {
		return 0, refuse(http.StatusBadRequest, "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: "+text)
	}
	return number, nil
}

// versionText writes a version number as people do.
func versionText(n int) string {
	if n < 100000 {
		return fmt.Sprintf("%d.%d.%d", n/10000, n/100%100, n%100)
	}
	return fmt.Sprintf("%d.%d", n/10000, n%10000)
}

// parseDuration reads a time in seconds, or with a unit as PostgreSQL writes it.
// ok is false for what is none, or not positive.
func parseDuration(text string) (d time.Duration, ok bool) {
	value, unit, ok := number(text)
	if !ok {
		return 0, false
	}
	factor, ok := map[string]time.Duration{"": time.Second, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
		"min": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[unit]
	nanos := value * float64(factor)
	if !ok || nanos >= math.MaxInt64 {
		return 0, false
	}
	d = time.Duration(nanos).Round(time.Second)
	return d, d > 0
}

// restartObject writes a scheduled restart with its conditions.
func restartObject(r cluster.ScheduledRestart) *RestartDoc {
	if !r.Present() {
		return nil
	}
	c := r.Conditions
	d := &RestartDoc{Schedule: isoTime(r.At), Role: string(c.Role), Timeout: int64(c.Timeout / time.Second), Pending: c.OnlyPending}
	if c.OlderThan > 0 {
		d.PostgresVersion = versionText(c.OlderThan)
	}
	return d
}

// postReinitialize begins to copy this member's data anew.
func (s *Server) postReinitialize(w http.ResponseWriter, r *http.Request) {
	body, ok := readOptional(w, r)
	if !ok {
		return
	}
	flag := func(names ...string) bool {
		for _, name := range names {
			if v, _ := body.Get(name); truth(v) {
				return true
			}
		}
		return false
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	s.asked(r, journal.Request{Kind: "reinitialize", Target: s.src.Status().Name}, "a new copy of this member's data was asked for")
	// The key is documented with a hyphen and sent with an underscore.
	err := s.src.Reinitialize(ctx, flag("force"), flag("from_leader", "from-leader"))
	switch {
	case err == nil:
		s.text(w, http.StatusOK, "reinitialize started")
	case errors.Is(err, context.DeadlineExceeded): // the request lies there until the next turn
		s.text(w, http.StatusServiceUnavailable, fmt.Sprintf("reinitialize status unknown after %.0f seconds; it may still begin", storeTimeout.Seconds()))
	default:
		s.refused(w, err, "reinitialize could not be started")
	}
}

// postSigterm answers as the reference does, where it has an effect in test
// builds for another platform only.
func (s *Server) postSigterm(w http.ResponseWriter, _ *http.Request) {
	s.text(w, http.StatusAccepted, "shutdown scheduled")
}
