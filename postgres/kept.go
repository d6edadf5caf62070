package postgres

import (
	"errors"
	"io/fs"
)

// keptName is the copy of the dynamic configuration in the data directory, under
// the name that other managers of this directory use.
const keptName = "patroni.dynamic.json"

// KeepDynamic keeps the dynamic configuration beside the data, for a start while
// the store does not have it.
func (s *Server) KeepDynamic(json string) error {
	if !exists(s.dataPath("PG_VERSION")) {
		return nil
	}
	_, err := s.replace(s.dataPath(keptName), json)
	return err
}

// KeptDynamic returns what KeepDynamic kept, "" when there is nothing.
func (s *Server) KeptDynamic() (string, error) {
	text, err := s.readPrivate(s.dataPath(keptName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return text, err
}
