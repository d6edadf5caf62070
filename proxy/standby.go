package proxy

import "errors"

// errStandby: the server says at the start of a session that it is in recovery.
var errStandby = errors.New("the server is a standby")

// introduction looks at what the server says of itself before its first
// ReadyForQuery. That it is a standby ends the session: then it tells how many of
// the bytes make up whole messages before that one.
func (s *session) introduction() func([]byte) (int, error) {
	var f frames
	return func(b []byte) (whole int, err error) {
		for i := range b {
			if f.started || f.lost {
				break
			}
			if f.advance(b[i : i+1]); f.standby {
				return whole, errStandby
			}
			if f.atBoundary() {
				whole = i + 1
			}
		}
		return len(b), nil
	}
}

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
