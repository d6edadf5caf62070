package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
	"github.com/matriarch-ha/matriarch/journal"
)

// move is a request to move the leadership.
type move struct {
	action    string // "switchover" or "failover"
	leader    string
	candidate string
	at        time.Time // zero: now
}

func (m move) title() string { return strings.ToUpper(m.action[:1]) + m.action[1:] }

func (m move) key() cluster.Failover {
	f := cluster.Failover{Leader: m.leader, Candidate: m.candidate}
	if !m.at.IsZero() {
		f.ScheduledAt = isoTime(m.at)
	}
	return f
}

func (s *Server) postSwitchover(w http.ResponseWriter, r *http.Request) { s.move(w, r, "switchover") }
func (s *Server) postFailover(w http.ResponseWriter, r *http.Request)   { s.move(w, r, "failover") }

// move checks a request, writes it, and answers with its outcome. Nothing is
// written unless every check passed.
func (s *Server) move(w http.ResponseWriter, r *http.Request, action string) {
	body, ok := readObject(w, r)
	if !ok {
		return
	}
	settings := s.src.Status().Settings
	m, refusal := parseMove(action, body, settings.Paused, s.clock.Wall())
	if refusal != nil {
		s.text(w, refusal.Code, refusal.Text)
		return
	}
	v, err := s.load(r.Context())
	if err != nil {
		s.refused(w, err, "failed to write failover key into DCS")
		return
	}
	if m.at.IsZero() {
		if refusal := s.check(r.Context(), m, v, SettingsOf(v, settings)); refusal != nil {
			s.text(w, refusal.Code, refusal.Text)
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	s.askedMove(r, m)
	begun := s.journalEnd()
	if err := s.src.WriteFailover(ctx, m.key()); err != nil {
		s.refused(w, err, "failed to write failover key into DCS")
		return
	}
	if old := v.Failover; old.Requested() { // the key holds one, and the newest counts
		s.log.Warn("a request for another leader is replaced by a newer one, and will not be carried out",
			"leader", old.Leader, "candidate", old.Candidate, "scheduled", old.ScheduledAt)
	}
	s.src.Wake()
	if !m.at.IsZero() {
		s.text(w, http.StatusAccepted, m.title()+" scheduled")
		return
	}
	s.follow(w, r, m, v.Leader.Name, settings, begun)
}

// parseMove reads a request and applies the checks that need no store.
func parseMove(action string, body pyjson.Object, paused bool, now time.Time) (move, *Refusal) {
	field := func(name string) string {
		v, _ := body.Get(name)
		text, _ := v.(string)
		return text
	}
	for _, name := range []string{"leader", "candidate", "member", "scheduled_at"} {
		v, _ := body.Get(name)
		if _, text := v.(string); !text && v != nil {
			return move{}, refuse(http.StatusBadRequest, fmt.Sprintf("%s %v: want a text", name, v))
		}
	}
	m := move{action: action, leader: field("leader"), candidate: field("candidate")}
	if m.candidate == "" {
		m.candidate = field("member")
	}
	at := field("scheduled_at")
	bad := func(text string) (move, *Refusal) { return m, refuse(http.StatusBadRequest, text) }
	switch {
	case action == "failover" && m.candidate == "":
		return bad("Failover could be performed only to a specific candidate")
	case action == "switchover" && m.leader == "":
		return bad("Switchover could be performed only from a specific leader")
	case action == "failover" && at != "":
		return bad("Failover can't be scheduled")
	case at != "" && paused:
		return bad("Can't schedule switchover in the paused state")
	}
	if at != "" {
		var refusal *Refusal
		if m.at, refusal = parseSchedule(at, "switchover", now); refusal != nil {
			return m, refusal
		}
	}
	if paused && m.candidate == "" {
		return bad("Switchover is possible only to a specific candidate in a paused state")
	}
	if m.leader != "" {
		m.action = "switchover" // a failover that names the leader is one
	}
	if m.leader != "" && m.leader == m.candidate {
		return bad("Switchover target and source are the same")
	}
	return m, nil
}

// check applies the checks that need the cluster.
func (s *Server) check(ctx context.Context, m move, v cluster.View, settings cluster.Settings) *Refusal {
	no := func(text string) *Refusal { return refuse(http.StatusPreconditionFailed, text) }
	synchronous := settings.SyncMode == cluster.SyncOn
	switch {
	case m.leader != "" && m.leader != v.Leader.Name:
		return no("leader name does not match")
	case m.leader != "" && m.candidate != "" && synchronous && !v.Sync.HasStandby(m.candidate):
		return no("candidate name does not match with sync_standby")
	}
	if m.candidate != "" {
		c, known := v.Member(m.candidate)
		switch {
		case !known:
			return no("candidate does not exists")
		case m.candidate == v.Leader.Name:
			return no(fmt.Sprintf("candidate %q is the leader already", m.candidate))
		}
		return s.anyGood(ctx, m, []cluster.Member{c})
	}
	candidates := slices.DeleteFunc(slices.Clone(v.Members), func(c cluster.Member) bool {
		return c.Name == v.Leader.Name || synchronous && !v.Sync.HasStandby(c.Name)
	})
	switch {
	case len(candidates) == 0 && synchronous:
		return no(m.action + " is not possible: can not find sync_standby")
	case len(candidates) == 0:
		return no(m.action + " is not possible: cluster does not have members except leader")
	}
	return s.anyGood(ctx, m, candidates)
}

// anyGood asks the candidates themselves, all at once; one good one is enough.
func (s *Server) anyGood(ctx context.Context, m move, candidates []cluster.Member) *Refusal {
	ctx, cancel := context.WithTimeout(ctx, freshTimeout)
	defer cancel()
	whyNot := make([]string, len(candidates))
	var wg sync.WaitGroup
	for i, c := range candidates {
		wg.Go(func() {
			if err := s.src.CanLead(ctx, c); err != nil {
				whyNot[i] = fmt.Sprintf("%s: %v", c.Name, err)
			}
		})
	}
	wg.Wait()
	if slices.Contains(whyNot, "") {
		return nil
	}
	return refuse(http.StatusPreconditionFailed, fmt.Sprintf(
		"%s is not possible: no good candidates have been found (%s)", m.action, strings.Join(whyNot, "; ")))
}

// deleteSwitchover withdraws a scheduled switchover.
func (s *Server) deleteSwitchover(w http.ResponseWriter, r *http.Request) {
	v, err := s.load(r.Context())
	if err != nil {
		errorPage(w, http.StatusServiceUnavailable, "")
		return
	}
	if !v.Failover.Requested() || v.Failover.ScheduledAt == "" {
		s.text(w, http.StatusNotFound, "no switchover is scheduled")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	s.asked(r, journal.Request{Kind: "cancel"}, "the end of a scheduled switchover was asked for")
	err = s.src.ClearFailover(ctx, v.Failover.Version)
	switch {
	case errors.Is(err, ErrConflict):
		s.text(w, http.StatusConflict, "the scheduled switchover changed meanwhile; look again")
	case err != nil:
		s.refused(w, err, "the scheduled switchover could not be deleted")
	default:
		s.text(w, http.StatusOK, "scheduled switchover deleted")
	}
}
