package api

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

// memberHeader says who answers POST /failsafe: the leader must not count one
// member twice because an address moved.
const memberHeader = "Matriarch-Member"

// getFailsafe lists the members that the last leader in failsafe mode recorded.
func (s *Server) getFailsafe(w http.ResponseWriter, _ *http.Request) {
	recorded := s.src.Status().View.Failsafe
	if len(recorded) == 0 {
		errorPage(w, http.StatusBadGateway, "")
		return
	}
	var o pyjson.Object
	for _, m := range recorded {
		o = append(o, pyjson.Field{Key: m.Name, Value: m.APIURL})
	}
	s.json(w, http.StatusOK, o)
}

// failsafePlea is what a leader that cannot reach the store sends. Other programs
// say more, and not how long the promise must last.
type failsafePlea struct {
	Name      string `json:"name"`
	Matriarch struct {
		PromiseMs float64 `json:"promise_ms"`
	} `json:"matriarch"`
}

// postFailsafe promises such a leader to leave the lease alone, or does not. It
// does not wait for a place among the requests that change something: a leader
// that gets no answer stops its server.
func (s *Server) postFailsafe(w http.ResponseWriter, r *http.Request) {
	if !s.src.Status().Settings.Failsafe {
		errorPage(w, http.StatusBadGateway, "")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var plea failsafePlea
	if err == nil {
		err = json.Unmarshal(body, &plea)
	}
	ms := plea.Matriarch.PromiseMs
	if err != nil || plea.Name == "" || !(ms >= 0 && ms < math.MaxInt64/float64(time.Millisecond)/2) {
		s.text(w, http.StatusBadRequest, "not understood: want a JSON object with the leader's name")
		return
	}
	at, err := s.src.Accept(r.Context(), plea.Name, time.Duration(ms*float64(time.Millisecond)))
	w.Header().Set(memberHeader, s.src.Status().Name)
	if err != nil {
		s.refused(w, err, "this member cannot promise anything now")
		return
	}
	if at != 0 {
		w.Header().Set("lsn", strconv.FormatUint(uint64(at), 10))
	}
	s.text(w, http.StatusOK, "Accepted")
}
