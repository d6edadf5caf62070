package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/journal/rest"
)

// query reads the question part; only the first value of a key counts.
func query(r *http.Request) url.Values {
	q, _ := url.ParseQuery(r.URL.RawQuery) // what can be read of it counts
	return q
}

func (s *Server) healthy(r *http.Request) bool {
	return healthy(r.URL.Path, query(r), s.src.Status(), s.clock.Now())
}

// getHealth answers a health check with the status beside the code.
func (s *Server) getHealth(w http.ResponseWriter, r *http.Request) {
	st, now := s.src.Status(), s.clock.Now()
	s.json(w, codeOf(healthy(r.URL.Path, query(r), st, now)), statusDoc(st, now))
}

func (s *Server) getLiveness(w http.ResponseWriter, _ *http.Request) {
	s.statusOnly(w, alive(s.src.Status(), s.clock.Now()))
}

func (s *Server) getReadiness(w http.ResponseWriter, r *http.Request) {
	s.statusOnly(w, ready(s.src.Status(), s.clock.Now(), query(r)))
}

// fresh asks the local server for what peers compare. When the server does not
// answer in time it is the last known, without facts.
func (s *Server) fresh(r *http.Request) Status {
	ctx, cancel := context.WithTimeout(r.Context(), freshTimeout)
	defer cancel()
	if st, ok := s.probes.ask(ctx); ok {
		return st
	}
	st := s.src.Status()
	st.Facts = false
	if st.State == cluster.StateRunning {
		st.State = cluster.StateUnknown
	}
	return st
}

func (s *Server) getPatroni(w http.ResponseWriter, r *http.Request) {
	st := s.fresh(r)
	s.json(w, http.StatusOK, statusDoc(st, s.clock.Now()))
}

func (s *Server) getLease(w http.ResponseWriter, _ *http.Request) {
	st := s.src.Status()
	s.json(w, http.StatusOK, leaseDoc(st, s.clock.Now()))
}

func (s *Server) getVote(w http.ResponseWriter, r *http.Request) {
	s.json(w, http.StatusOK, voteDoc(s.fresh(r)))
}

// loaded is one reading of the store.
type loaded struct {
	view cluster.View
	err  error
}

func (s *Server) readStore(ctx context.Context) loaded {
	v, err := s.src.Cluster(ctx)
	return loaded{v, err}
}

// load reads the store now.
func (s *Server) load(ctx context.Context) (cluster.View, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	l, ok := s.views.ask(ctx)
	if !ok {
		l.err = context.Cause(ctx)
	}
	if l.err != nil {
		return cluster.View{}, fmt.Errorf("read the cluster from the store: %w", l.err)
	}
	return l.view, nil
}

// loadOrLast reads the store, or takes the last known view when it is away.
func (s *Server) loadOrLast(r *http.Request) (cluster.View, error) {
	v, err := s.load(r.Context())
	if st := s.src.Status(); err != nil && !st.ViewSeen.IsZero() {
		return st.View, nil
	}
	return v, err
}

func (s *Server) getCluster(w http.ResponseWriter, r *http.Request) {
	v, err := s.load(r.Context())
	if err != nil {
		s.log.Debug("cluster not read", "err", err)
		errorPage(w, http.StatusServiceUnavailable, "")
		return
	}
	st := s.src.Status()
	s.json(w, http.StatusOK, Cluster(st.Scope, v, SettingsOf(v, st.Settings)))
}

// SettingsOf corrects what a fresh view's configuration says about pause and
// synchronous mode: settings may be older than the view.
func SettingsOf(v cluster.View, known cluster.Settings) cluster.Settings {
	doc, err := pyjson.Parse([]byte(v.Config.JSON))
	o, ok := doc.(pyjson.Object)
	if err != nil || !ok {
		return known
	}
	pause, _ := o.Get("pause")
	known.Paused = truth(pause)
	mode, _ := o.Get("synchronous_mode")
	switch {
	case fmt.Sprint(mode) == string(cluster.SyncQuorum):
		known.SyncMode = cluster.SyncQuorum
	case truth(mode):
		known.SyncMode = cluster.SyncOn
	default:
		known.SyncMode = cluster.SyncOff
	}
	missing, _ := o.Get("missing_last_record")
	known.LoseLastRecord = fmt.Sprint(missing) == "lose"
	return known
}

// truth reads a switch as YAML writers spell it.
func truth(v any) bool {
	switch fmt.Sprint(v) {
	case "true", "True", "on", "On", "yes", "1":
		return true
	}
	return false
}

func (s *Server) getHistory(w http.ResponseWriter, r *http.Request) {
	v, err := s.loadOrLast(r)
	if err != nil {
		errorPage(w, http.StatusServiceUnavailable, "")
		return
	}
	s.json(w, http.StatusOK, History(v.History))
}

func (s *Server) postReload(w http.ResponseWriter, _ *http.Request) {
	if err := s.src.Reload(); err != nil {
		s.text(w, http.StatusInternalServerError, "nothing was reloaded: "+err.Error())
		return
	}
	s.text(w, http.StatusAccepted, "reload scheduled")
}

// getJournal answers ?since=N (a record's number) or ?since=TIME (RFC 3339), at
// most ?limit= records, oldest first; without since the newest ones.
func (s *Server) getJournal(w http.ResponseWriter, r *http.Request) {
	s.within(s.reads, w, func() { s.journal(w, r) })
}

func (s *Server) journal(w http.ResponseWriter, r *http.Request) {
	jq, err := rest.Query(query(r))
	if err != nil {
		s.text(w, http.StatusBadRequest, err.Error())
		return
	}
	var records []journal.Record
	if s.opts.Journal != nil {
		if records, err = s.opts.Journal.Since(jq); err != nil {
			s.log.Warn("journal not read", "err", err)
			errorPage(w, http.StatusInternalServerError, "")
			return
		}
	}
	body, err := rest.Encode(records)
	if err != nil {
		s.log.Error("an answer could not be encoded", "err", err)
		errorPage(w, http.StatusInternalServerError, "")
		return
	}
	s.reply(w, http.StatusOK, "application/json", body)
}
