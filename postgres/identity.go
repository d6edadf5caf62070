package postgres

import (
	"context"
	"encoding/json"
	"os"
	"strconv"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/postgres/walfile"
	"github.com/matriarch-ha/matriarch/wal"
)

// Identity returns what tells this directory's branch of a timeline from
// another branch of the same number. What was seen once is kept in the state
// directory, because the segment that bears the first record is recycled.
func (s *Server) Identity(tl wal.Timeline) cluster.TimelineIdentity {
	h, placeholder, err := walfile.ReadHistory(s.walDir(), tl)
	if err != nil || placeholder || len(h) == 0 {
		return s.storedIdentity(tl)
	}
	sw := h[len(h)-1].LSN
	known := s.storedIdentity(tl)
	same := known.Switch == sw && known.CRC != 0
	if same && s.isVerified(tl) {
		return known
	}
	id := cluster.TimelineIdentity{Switch: sw, CRC: s.firstCRC(tl, h, sw)}
	if id.CRC == 0 && same {
		id = known // the segment is gone; what was seen then holds
	}
	if id != known {
		if err := s.SetIdentity(tl, id); err != nil {
			s.log.Warn("timeline identity not kept", "timeline", tl, "error", err)
		}
	}
	return id
}

func (s *Server) firstCRC(tl wal.Timeline, h wal.History, sw wal.LSN) uint32 {
	r, err := walfile.NewReader(s.walDir(), s.segmentSize(), tl, h, sw)
	if err != nil {
		return 0
	}
	defer r.Close()
	crc, err := walfile.FirstCRC(r)
	if err != nil {
		return 0
	}
	return crc
}

// isVerified reports whether the stored identity was compared with the log
// since this program began, and notes that it is being done now: the directory
// may have been exchanged meanwhile.
func (s *Server) isVerified(tl wal.Timeline) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cache.verified == nil {
		s.cache.verified = map[wal.Timeline]bool{}
	}
	was := s.cache.verified[tl]
	s.cache.verified[tl] = true
	return was
}

// segmentSize is what the control file said last, else the usual 16 MB.
func (s *Server) segmentSize() int64 {
	s.mu.Lock()
	n := s.cache.control.SegmentSize
	s.mu.Unlock()
	if n == 0 {
		if st, err := s.control(context.Background()); err == nil {
			return st.SegmentSize
		}
		return 16 << 20
	}
	return n
}

// storedIdentity returns the kept identity.
func (s *Server) storedIdentity(tl wal.Timeline) cluster.TimelineIdentity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity[tl]
}

// SetIdentity records an identity, for a clone whose source knew it.
func (s *Server) SetIdentity(tl wal.Timeline, id cluster.TimelineIdentity) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identity[tl] = id
	return s.saveIdentities()
}

// forgetIdentities drops everything, when another data directory takes this
// one's place. Called with mu not held.
func (s *Server) forgetIdentities() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.identity)
	s.cache = observed{}
	if err := s.saveIdentities(); err != nil {
		s.log.Warn("timeline identities not cleared", "error", err)
	}
}

func (s *Server) saveIdentities() error {
	out := map[string]cluster.TimelineIdentity{}
	for tl, id := range s.identity {
		out[strconv.FormatUint(uint64(tl), 10)] = id
	}
	text, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return s.user.WriteFile(s.statePath("identity.json"), text, 0o600)
}

func (s *Server) loadIdentities() {
	text, err := os.ReadFile(s.statePath("identity.json"))
	if err != nil {
		return
	}
	in := map[string]cluster.TimelineIdentity{}
	if err := json.Unmarshal(text, &in); err != nil {
		s.log.Warn("identity.json is unreadable and starts anew", "error", err)
		return
	}
	for k, id := range in {
		if n, err := strconv.ParseUint(k, 10, 32); err == nil {
			s.identity[wal.Timeline(n)] = id
		}
	}
}
