package proxy

import "errors"

// errStandby: the server says at the start of a session that it is in recovery.
var errStandby = errors.New("the server is a standby")

// turnBack ends a session with a former primary that was started as a standby
// before its last word was over: what it has may be old.
func (s *session) turnBack() {
	s.end()
	s.p.table.doubt(s.gate.backend.Member)
	s.server.SetLinger(0)
	s.server.Close()
	if s.frames.atBoundary() {
		s.say(errorResponse(stateNoPrimary, "the server of "+s.gate.backend.Member+" is a standby now",
			"Connect again: the same address leads to the new primary."))
	}
}
