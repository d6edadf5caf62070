package postgres

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/matriarch-ha/matriarch/wal"
)

// Loss are the records beyond the point where this server's line and the
// cluster's part, which a rewind or a clone takes out of its data.
type Loss struct {
	From  wal.Position `json:"from"` // where they part
	To    wal.Position `json:"to"`   // the end of what this server had
	Bytes uint64       `json:"bytes"`
	// Readable: the records could be read; Commits counts the transactions that
	// were committed by them. Records of other kinds (checkpoints, aborted
	// transactions) lose nobody anything.
	Readable bool `json:"readable,omitempty"`
	Commits  int  `json:"commits,omitempty"`
	// Kept is the directory that holds the records, or at least their list.
	Kept string `json:"kept,omitempty"`
	// Final: they are out of the data now.
	Final bool `json:"final,omitempty"`
}

// lossPath is where a loss stands until somebody took note of it, so that an
// agent that ends in the middle of a rewind tells of it after its next start.
func (s *Server) lossPath() string { return s.statePath("loss.json") }

// Loss returns what a finished rewind or clone took out of the data and nobody
// has taken note of yet: call LossNoted then.
func (s *Server) Loss() (l Loss, ok bool) {
	l, err := s.readLoss()
	return l, err == nil && l.Final
}

// LossNoted forgets the loss.
func (s *Server) LossNoted() error { return removeIfThere(s.lossPath()) }

func (s *Server) readLoss() (l Loss, err error) {
	text, err := os.ReadFile(s.lossPath())
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	return l, err
}

func (s *Server) writeLoss(l Loss) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return s.user.WriteFile(s.lossPath(), text, 0o600)
}

// lossFinal notes that what was to be lost is. It stops nothing when it cannot:
// the saved log is there all the same.
func (s *Server) lossFinal() {
	l, err := s.readLoss()
	if err == nil {
		l.Final = true
		err = s.writeLoss(l)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("what was lost could not be noted", "error", err)
	}
}

// forgetLoss drops what an earlier attempt was going to lose: the data are whole.
// A loss that is final and was not taken note of stays.
func (s *Server) forgetLoss() {
	if l, err := s.readLoss(); err == nil && !l.Final {
		_ = removeIfThere(s.lossPath())
	}
}
