package memory

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
)

// Core is the state of a store: keys, sessions, a revision that counts writes,
// and the store's own time. It is not safe for concurrent use.
type Core struct {
	// MinTTL and MaxTTL clamp what sessions are granted; zero does not clamp.
	MinTTL, MaxTTL time.Duration
	// OnChange, when set, is called after every change of the keys.
	OnChange func()

	id       string
	revision int64
	now      boot.Instant
	keys     map[string]dcs.KV
	sessions map[string]lease
	granted  int64 // counts sessions, for their ids; never goes back
}

// lease is a live session.
type lease struct {
	length  time.Duration
	expires boot.Instant
}

// NewCore returns an empty store with this identity.
func NewCore(storeID string) *Core {
	return &Core{id: storeID, revision: 1, keys: map[string]dcs.KV{}, sessions: map[string]lease{}}
}

// Tick moves the store's time forward to now and ends the sessions that are
// over. Time never goes back.
func (c *Core) Tick(now boot.Instant) {
	c.now = max(c.now, now)
	for _, id := range c.sessionIDs() {
		if c.sessions[id].expires <= c.now {
			c.EndSession(id)
		}
	}
}

// NextExpiry returns when the first session will end; zero when there is none.
func (c *Core) NextExpiry() boot.Instant {
	var first boot.Instant
	for _, l := range c.sessions {
		if first.IsZero() || l.expires < first {
			first = l.expires
		}
	}
	return first
}

// Snapshot returns the whole state.
func (c *Core) Snapshot() dcs.Snapshot {
	s := dcs.Snapshot{StoreID: c.id, Revision: c.revision}
	for _, kv := range c.keys {
		s.Keys = append(s.Keys, kv)
	}
	slices.SortFunc(s.Keys, func(a, b dcs.KV) int { return strings.Compare(a.Key, b.Key) })
	return s
}

// Put writes a key if the condition holds: permanent without a session,
// otherwise one that dies with it.
func (c *Core) Put(session, key, value string, cond dcs.Condition) (cluster.Version, error) {
	if session != "" && !c.Alive(session) {
		return "", fmt.Errorf("put %s in session %s: %w", key, session, dcs.ErrSessionGone)
	}
	if err := c.check("put", key, cond); err != nil {
		return "", err
	}
	c.revision++
	v := cluster.Version(strconv.FormatInt(c.revision, 10))
	c.keys[key] = dcs.KV{Key: key, Value: value, Version: v, Revision: c.revision, Session: session}
	c.changed()
	return v, nil
}

// Delete removes a key if the condition holds.
func (c *Core) Delete(key string, cond dcs.Condition) error {
	if err := c.check("delete", key, cond); err != nil {
		return err
	}
	if _, there := c.keys[key]; there {
		c.remove(key)
		c.changed()
	}
	return nil
}

// DeleteOwned removes a key only if it belongs to the session.
func (c *Core) DeleteOwned(session, key string) error {
	if !c.Alive(session) {
		return fmt.Errorf("delete %s in session %s: %w", key, session, dcs.ErrSessionGone)
	}
	if kv, there := c.keys[key]; !there || kv.Session != session {
		return fmt.Errorf("delete %s, which is not session %s's: %w", key, session, dcs.ErrConflict)
	}
	return c.Delete(key, dcs.Always())
}

// DeleteAll removes every key.
func (c *Core) DeleteAll() {
	if len(c.keys) == 0 {
		return
	}
	c.revision++
	clear(c.keys)
	c.changed()
}

// OpenSession starts a session and says how long it was granted.
func (c *Core) OpenSession(ttl time.Duration) (id string, granted time.Duration) {
	granted = max(ttl, c.MinTTL)
	if c.MaxTTL > 0 {
		granted = min(granted, c.MaxTTL)
	}
	c.granted++
	id = fmt.Sprintf("%s-%d", c.id, c.granted)
	c.sessions[id] = lease{length: granted, expires: c.now.Add(granted)}
	return id, granted
}

// Renew gives a session its full length again, from now.
func (c *Core) Renew(session string) (time.Duration, error) {
	l, ok := c.sessions[session]
	if !ok {
		return 0, fmt.Errorf("renew session %s: %w", session, dcs.ErrSessionGone)
	}
	l.expires = c.now.Add(l.length)
	c.sessions[session] = l
	return l.length, nil
}

// Resume renews a session for another process that has its secret.
func (c *Core) Resume(session string, secret []byte) (time.Duration, error) {
	if !bytes.Equal(secret, secretOf(session)) {
		return 0, fmt.Errorf("resume session %s: %w: its secret is wrong", session, dcs.ErrRefused)
	}
	return c.Renew(session)
}

// secretOf is the secret of a session. It keeps nobody out, it only lets a
// caller's confusion show: whoever is in this process has the whole store.
func secretOf(session string) []byte {
	sum := sha256.Sum256([]byte("secret of " + session))
	return sum[:16]
}

// Alive reports whether a session lives.
func (c *Core) Alive(session string) bool { _, ok := c.sessions[session]; return ok }

// EndSession ends a session and removes its keys, all in one step.
func (c *Core) EndSession(id string) {
	delete(c.sessions, id)
	removed := false
	for _, kv := range c.Snapshot().Keys {
		if kv.Session == id {
			c.remove(kv.Key)
			removed = true
		}
	}
	if removed {
		c.changed()
	}
}

// check reports whether the condition holds for the key now.
func (c *Core) check(what, key string, cond dcs.Condition) error {
	kv, there := c.keys[key]
	want, unchanged := cond.Version()
	switch {
	case cond.IsAbsent() && there:
		return fmt.Errorf("%s %s, which exists already: %w", what, key, dcs.ErrConflict)
	case unchanged && (!there || kv.Version != want):
		return fmt.Errorf("%s %s, expected at version %s: %w", what, key, want, dcs.ErrConflict)
	}
	return nil
}

func (c *Core) remove(key string) {
	c.revision++
	delete(c.keys, key)
}

func (c *Core) changed() {
	if c.OnChange != nil {
		c.OnChange()
	}
}

// sessionIDs lists the sessions in a fixed order: simulated worlds repeat.
func (c *Core) sessionIDs() []string {
	ids := make([]string, 0, len(c.sessions))
	for id := range c.sessions {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
