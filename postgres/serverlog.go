package postgres

import (
	"io"
	"os"
	"syscall"
)

// trimAt is when the server's standard error file is put aside while the
// server runs. Operators who want more switch the logging collector on.
const trimAt = 64 << 20

// trimLog copies a grown file to its .1 and empties it. The server appends, so
// it goes on at the start; the few lines between copying and emptying are lost.
func (s *Server) trimLog() {
	st, err := os.Lstat(s.opt.ServerLog) // a link is none of ours
	if err != nil || !st.Mode().IsRegular() || st.Size() < trimAt {
		return
	}
	if err := copyAside(s.opt.ServerLog, s.opt.ServerLog+".1"); err != nil {
		s.log.Warn("server log not put aside", "error", err)
	}
	if err := os.Truncate(s.opt.ServerLog, 0); err != nil {
		s.log.Warn("server log not emptied", "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logStart = 0
}

func copyAside(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, in)
	return err
}
