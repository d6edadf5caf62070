package api

import "slices"

// MaxConns is the bound of open connections.
const MaxConns = maxConns

// MaxChanges is the bound of changes under way.
const MaxChanges = maxChanges

// Conns counts the open connections.
func (s *Server) Conns() int {
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	return s.conns.all.Len()
}

// Routes lists "METHOD path" of all paths that are more than a health check.
func (s *Server) Routes() []string {
	var out []string
	for r := range s.routes {
		out = append(out, r)
	}
	slices.Sort(out)
	return out
}
