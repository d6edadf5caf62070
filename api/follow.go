package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/journal/rest"
)

// Following a request: how often the store is read; how long a new leader may
// take to be seen writable before the answer goes out anyway; how long the
// request must be gone with the old leader in place before it counts as failed.
const (
	followEvery   = 250 * time.Millisecond
	promoteGrace  = 5 * time.Second
	failedConfirm = 500 * time.Millisecond
)

// followed is the state of following one request from view to view.
type followed struct {
	move
	from      string    // who led before; empty: nobody
	movedAt   time.Time // when another leader was first seen
	goneAt    time.Time // when the request was first seen gone with no other leader
	last      cluster.View
	lastKnown bool
}

// outcome is what one look at the cluster says about the request.
type outcome int

const (
	running outcome = iota
	done
	failed
)

// look judges one view at wall time now.
func (f *followed) look(v cluster.View, now time.Time) outcome {
	f.last, f.lastKnown = v, true
	if v.Leader.Held() && v.Leader.Name != f.from {
		if f.movedAt.IsZero() {
			f.movedAt = now
		}
		m, _ := v.LeaderMember()
		if m.Role == cluster.RolePrimary || m.Role == cluster.RoleStandbyLeader || now.Sub(f.movedAt) >= promoteGrace {
			return done
		}
		return running
	}
	f.movedAt = time.Time{}
	// Without a leader the hand-over is under way, whatever the key says.
	if v.Failover.Requested() || !v.Leader.Held() || stopping(v) {
		f.goneAt = time.Time{}
		return running
	}
	if f.goneAt.IsZero() {
		f.goneAt = now
	}
	if now.Sub(f.goneAt) >= failedConfirm {
		return failed
	}
	return running
}

// stopping reports whether the leader is on its way down.
func stopping(v cluster.View) bool {
	m, _ := v.LeaderMember()
	return m.State == cluster.StateStopping || m.State == cluster.StateStopped || m.Role == cluster.RoleDemoted
}

func (f *followed) success() string {
	leader, verb := f.last.Leader.Name, "switched"
	if f.action == "failover" {
		verb = "failed"
	}
	if f.candidate == "" || f.candidate == leader {
		return fmt.Sprintf("Successfully %s over to %q", verb, leader)
	}
	return fmt.Sprintf("%s over to %q instead of %q", map[string]string{"switched": "Switched", "failed": "Failed"}[verb], leader, f.candidate)
}

// pending says how far it is when the wait ends without an outcome.
func (f *followed) pending(waited time.Duration) (int, string) {
	n := waited.Seconds()
	if !f.lastKnown {
		return http.StatusServiceUnavailable, fmt.Sprintf(
			"%s status unknown after %.0f seconds; operation may still be in progress", f.title(), n)
	}
	if !f.last.Failover.Requested() && f.movedAt.IsZero() {
		return http.StatusServiceUnavailable, fmt.Sprintf("%s failed: nobody leads after %.0f seconds", f.title(), n)
	}
	now := "nobody leads now"
	if f.last.Leader.Held() {
		now = fmt.Sprintf("%q leads now", f.last.Leader.Name)
	}
	return http.StatusAccepted, fmt.Sprintf("%s still running after %.0f seconds: %s", f.title(), n, now)
}

// patience is how long an answer may take.
func patience(s cluster.Settings) time.Duration {
	return max(2*max(10*time.Second, s.LoopWait), s.TTL) + s.PrimaryStopTimeout
}

// extend gives a connection time for an answer that takes up to limit.
func extend(w http.ResponseWriter, limit time.Duration) {
	rc := http.NewResponseController(w)
	until := time.Now().Add(limit + writeTimeout)
	// Errors mean a connection that cannot have deadlines: then there is none.
	_ = rc.SetReadDeadline(until)
	_ = rc.SetWriteDeadline(until)
}

// follow watches the request until its outcome is known and answers.
func (s *Server) follow(w http.ResponseWriter, r *http.Request, m move, from string, settings cluster.Settings, begun uint64) {
	limit := s.opts.Patience
	if limit <= 0 {
		limit = patience(settings)
	}
	begin := time.Now()
	extend(w, limit)
	f := &followed{move: m, from: from}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		v, err := s.load(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			f.lastKnown = false
		case err == nil:
			switch f.look(v, time.Now()) {
			case done:
				s.text(w, http.StatusOK, f.success())
				return
			case failed:
				s.text(w, http.StatusServiceUnavailable, m.title()+" failed"+s.whyCleared(begun))
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			code, text := f.pending(time.Since(begin))
			s.text(w, code, text)
			return
		}
	}
}

// journalEnd is the number of the newest record.
func (s *Server) journalEnd() uint64 {
	if s.opts.Journal == nil {
		return 0
	}
	newest, err := s.opts.Journal.Since(journal.Query{Limit: 1})
	if err != nil || len(newest) == 0 {
		return 0
	}
	return newest[len(newest)-1].Seq
}

// whyCleared finds in our own journal why the request was taken away; empty
// when another member did it.
func (s *Server) whyCleared(after uint64) string {
	if s.opts.Journal == nil {
		return ""
	}
	records, err := s.opts.Journal.Since(journal.Query{After: after, Limit: rest.Limit})
	if err != nil {
		return ""
	}
	for _, r := range records {
		if r.Turn == nil {
			continue
		}
		for _, a := range r.Turn.Actions {
			if a.Kind != ha.ClearFailover {
				continue
			}
			if a.Why != "" {
				return ": " + a.Why
			}
			return ": " + r.Why
		}
	}
	return ""
}
