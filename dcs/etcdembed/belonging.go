package etcdembed

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
)

// Belonging tells a client which store's answers count when it can reach two:
// that of the vote beside it, as its record says, and where there is no record
// the newest generation it has met.
type Belonging struct {
	cfg Config

	mu   sync.Mutex
	seen Identity
}

// NewBelonging looks for the record beside the store's directory; an empty
// dataDir means that there is none.
func NewBelonging(dataDir, stateDir string) *Belonging {
	return &Belonging{cfg: Config{DataDir: dataDir, StateDir: stateDir}}
}

// Check judges an answer by the cluster id in its header.
func (b *Belonging) Check(clusterID uint64) error {
	id := Identity(clusterID)
	var own Identity
	if b.cfg.DataDir != "" {
		var err error
		// A person's command may run as a user who cannot read it.
		if own, err = recorded(b.cfg); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	if own != 0 {
		if id != own {
			return fmt.Errorf("store %s answered, but the vote beside this member belongs to store %s", id, own)
		}
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen == 0 || id.supersedes(b.seen) {
		b.seen = id
	}
	if id != b.seen {
		return fmt.Errorf("store %s answered, but store %s is known already", id, b.seen)
	}
	return nil
}
