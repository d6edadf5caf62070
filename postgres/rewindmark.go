package postgres

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/matriarch-ha/matriarch/postgres/runas"
)

// The stages of a rewind. While files are being copied the directory must not
// be started at all; afterwards only as a standby, until it is consistent.
const (
	stageCopying   = "copying"
	stageReplaying = "replaying"
)

// readRewindMark reads the marker. One that cannot be understood counts as the
// worst stage.
func (s *Server) readRewindMark() (RewindMarker, error) {
	text, err := os.ReadFile(s.rewindMark())
	if errors.Is(err, fs.ErrNotExist) {
		return RewindMarker{}, nil
	}
	if err != nil {
		return RewindMarker{Stage: stageCopying}, err
	}
	var m RewindMarker
	if err := json.Unmarshal(text, &m); err != nil || m.Stage != stageReplaying {
		m.Stage = stageCopying
	}
	return m, nil
}

// writeRewindMark makes the marker durable before anything it warns of happens.
func (s *Server) writeRewindMark(m RewindMarker) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := s.user.WriteFile(s.rewindMark(), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("mark the directory as being rewound: %w", err)
	}
	return nil
}

// RewindDone removes the marker; the caller has seen that the rewound standby
// reached consistency.
func (s *Server) RewindDone() error {
	m, err := s.readRewindMark()
	if err != nil || !m.Present() {
		return err
	}
	if m.Stage == stageCopying {
		return errors.New("the rewind did not finish; its marker stays")
	}
	if err := os.Remove(s.rewindMark()); err != nil {
		return err
	}
	return runas.SyncDir(filepath.Dir(s.rewindMark()))
}
