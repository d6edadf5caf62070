package api

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/matriarch-ha/matriarch/internal/pyjson"
	"github.com/matriarch-ha/matriarch/journal"
)

// asked passes on that a request was let in and is carried out now, with the
// address it came from. Nobody is told of credentials, or of values.
func (s *Server) asked(r *http.Request, q journal.Request, text string) {
	if s.opts.Requested == nil {
		return
	}
	if addr, ok := peerAddr(r.RemoteAddr); ok {
		q.From = addr.String()
		text += ", from " + q.From
	}
	s.opts.Requested(q, text)
}

// askedMove tells of a request for another leader.
func (s *Server) askedMove(r *http.Request, m move) {
	q := journal.Request{Kind: m.action, Target: m.candidate}
	text := "a " + m.action
	if m.leader != "" {
		text += " from " + m.leader
	}
	if m.candidate != "" {
		text += " to " + m.candidate
	}
	if !m.at.IsZero() {
		q.At = isoTime(m.at)
		text += " at " + q.At
	}
	s.asked(r, q, text+" was asked for")
}

// askedPatch tells of a change of the configuration; a pause is one.
func (s *Server) askedPatch(r *http.Request, patch pyjson.Object) {
	if pause, ok := patch.Get("pause"); ok && len(patch) == 1 {
		kind := "resume"
		if truth(pause) {
			kind = "pause"
		}
		s.asked(r, journal.Request{Kind: kind}, "a "+kind+" of the cluster was asked for")
		return
	}
	s.asked(r, journal.Request{Kind: "config"}, "a change of the dynamic configuration was asked for: "+keysOf(patch))
}

// keysOf names what a document sets, not to what.
func keysOf(o pyjson.Object) string {
	const most, longest = 10, 40
	var names []string
	for _, f := range o {
		if len(names) == most {
			names = append(names, fmt.Sprintf("and %d more", len(o)-most))
			break
		}
		name := f.Key
		if len(name) > longest {
			name = strings.ToValidUTF8(name[:longest], "") + "…"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
