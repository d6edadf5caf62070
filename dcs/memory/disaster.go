package memory

import (
	"maps"

	"github.com/matriarch-ha/matriarch/dcs"
)

// What can befall the store itself.

// RestartTimers gives every session its full length again, as a store does when
// its own leader changed.
func (c *Core) RestartTimers() {
	for id, l := range c.sessions {
		l.expires = c.now.Add(l.length)
		c.sessions[id] = l
	}
}

// Replace makes this an empty store with another identity: all keys and
// sessions are gone and the revision begins again.
func (c *Core) Replace(storeID string) {
	c.id, c.revision = storeID, 1
	c.keys, c.sessions = map[string]dcs.KV{}, map[string]lease{}
	c.changed()
}

// Backup is a copy of a store's state.
type Backup struct {
	id       string
	revision int64
	keys     map[string]dcs.KV
	sessions map[string]lease
}

// Backup copies the state.
func (c *Core) Backup() Backup {
	return Backup{id: c.id, revision: c.revision, keys: maps.Clone(c.keys), sessions: maps.Clone(c.sessions)}
}

// Leap lets the revision grow by much at once, as that of ZooKeeper does at each
// election of the ensemble's leader.
func (c *Core) Leap(by int64) { c.revision += by }

// Restore goes back to a backup: the revision goes back, and the sessions of
// that time live again for their full length, with the keys they held.
func (c *Core) Restore(b Backup) {
	c.id, c.revision = b.id, b.revision
	c.keys, c.sessions = maps.Clone(b.keys), maps.Clone(b.sessions)
	c.RestartTimers()
	c.changed()
}
