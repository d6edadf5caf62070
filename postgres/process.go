package postgres

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/matriarch-ha/matriarch/postgres/postmaster"
)

// process returns the running postmaster, looking for one that somebody else
// started when we know of none. nil: there is none.
func (s *Server) process() *postmaster.Process {
	s.procMu.Lock()
	defer s.procMu.Unlock()
	s.mu.Lock()
	p := s.proc
	s.mu.Unlock()
	if p != nil && p.Alive() {
		return p
	}
	found, file, _, err := postmaster.Find(s.opt.DataDir, s.serverName())
	if err != nil {
		s.log.Warn("looking for the postmaster", "error", err)
	}
	if file.PID < 0 {
		s.passOver(found) // initdb's, or one that recovers before a rewind
	}
	s.setProcess(found)
	return found
}

func (s *Server) serverName() string {
	if n := s.opt.BinName["postgres"]; n != "" {
		return filepath.Base(n)
	}
	return "postgres"
}

// procKey names a process for good.
type procKey struct {
	pid   int
	ticks uint64
}

// setProcess remembers the postmaster and tells Events when it ends.
func (s *Server) setProcess(p *postmaster.Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc = p
	if p == nil {
		return
	}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		select {
		case <-s.done:
			p.Release()
		case <-p.Done():
			s.tellEnd(p)
		}
	}()
}

// tellEnd passes the end of a postmaster on, once: one that was found again, after
// its process could not be looked at for a moment, was watched twice.
func (s *Server) tellEnd(p *postmaster.Process) {
	s.mu.Lock()
	key := procKey{p.PID, p.StartTicks()}
	told := s.ended == key
	s.ended = key
	e := Event{PID: p.PID, Asked: s.askedPID == p.PID, Exit: p.Exit()}
	s.mu.Unlock()
	if told {
		return
	}
	e.Bootstrap = exists(s.bootstrapMark())
	s.log.Debug("the postmaster "+e.Exit.String(), "pid", e.PID, "asked", e.Asked)
	select {
	case s.events <- e:
	default:
		s.log.Warn("the end of a postmaster was not taken note of: too many wait", "pid", e.PID)
	}
}

// passOver notes that the end of a single-user server is nobody's business.
func (s *Server) passOver(p *postmaster.Process) {
	if p == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = procKey{p.PID, p.StartTicks()}
}

// askEnd notes that a postmaster is told to end.
func (s *Server) askEnd(p *postmaster.Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.askedPID = p.PID
}

// procState says what the postmaster does, from its own word in postmaster.pid.
func (s *Server) procState(p *postmaster.Process) ProcState {
	if p == nil {
		return ProcStopped
	}
	file, err := postmaster.ReadPIDFile(s.opt.DataDir)
	if err != nil || file.PID != p.PID {
		return ProcStarting
	}
	switch file.Status {
	case "ready":
		return ProcRunning
	case "stopping":
		return ProcStopping
	}
	return ProcStarting
}

// startupTimeline reads from the title of the startup process which timeline's
// file it replays: no SQL function tells. 0: not known.
func startupTimeline(pid int) uint32 {
	if pid == 0 {
		return 0
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return 0
	}
	return parseStartupTitle(string(text))
}

// parseStartupTitle looks for "recovering <segment>"; "waiting for <segment>"
// names a file that was not found yet and proves nothing.
func parseStartupTitle(title string) uint32 {
	_, rest, ok := strings.Cut(title, "startup recovering ")
	if !ok {
		_, rest, ok = strings.Cut(title, "startup   recovering ")
	}
	if !ok || len(rest) < 24 {
		return 0
	}
	n, err := strconv.ParseUint(rest[:8], 16, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
