package dcs

import (
	"context"
	"errors"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
)

// The classes of a store's errors; every error a store returns wraps exactly
// one of them (or is the context's own error joined with ErrUnknown for a write
// that had been sent, with ErrUnavailable otherwise).
var (
	// ErrConflict: the condition did not hold; somebody else was first. The
	// write certainly did not happen.
	ErrConflict = errors.New("lost the race: the key changed meanwhile")
	// ErrUnavailable: the store could not be reached or has no quorum, and the
	// request certainly had no effect.
	ErrUnavailable = errors.New("the store is unavailable")
	// ErrUnknown: the request was sent but no answer came; it may or may not
	// have happened. Read again before concluding anything.
	ErrUnknown = errors.New("the outcome is unknown")
	// ErrSessionGone: the session is certainly over; its keys are gone or about
	// to go, and it can never be renewed again. So too when the store is another
	// one than that in which the session was opened.
	ErrSessionGone = errors.New("the session has ended")
	// ErrRefused: the store understood and refused (authentication, permission,
	// bad request). Trying again without a person's help is useless.
	ErrRefused = errors.New("the store refused the request")
)

// KV is one key of a snapshot. Key is relative to the store's prefix and has no
// leading slash, for example "leader" or "members/n1".
type KV struct {
	Key     string
	Value   string
	Version cluster.Version
	// Revision of the store at which the key got this value; see Mark.
	Revision int64
	// Session is the id of the session that the key dies with; empty for a
	// permanent key.
	Session string
}

// Snapshot is one consistent reading of all keys below the prefix.
type Snapshot struct {
	StoreID  string // identity of the store; empty when it has none yet; changes when the store is seen to go back
	Revision int64  // grows with every write; 0 when the store has none
	Keys     []KV   // sorted by Key
}

// Condition says what must hold for a write to happen.
type Condition struct {
	kind    conditionKind
	version cluster.Version
}

type conditionKind int

const (
	always conditionKind = iota
	absent
	unchanged
)

// Always puts no condition on a write.
func Always() Condition { return Condition{} }

// Absent demands that the key does not exist.
func Absent() Condition { return Condition{kind: absent} }

// Unchanged demands that the key still has this version; the empty version
// means that the key must be absent.
func Unchanged(v cluster.Version) Condition {
	if v == "" {
		return Absent()
	}
	return Condition{kind: unchanged, version: v}
}

// IsAlways reports whether there is no condition.
func (c Condition) IsAlways() bool { return c.kind == always }

// IsAbsent reports whether the key must not exist.
func (c Condition) IsAbsent() bool { return c.kind == absent }

// Version returns the demanded version when the key must be unchanged.
func (c Condition) Version() (cluster.Version, bool) { return c.version, c.kind == unchanged }

// Store is one cluster's place in a coordination store. Its methods may be
// called from several goroutines.
type Store interface {
	// Load reads all keys, linearizably: it sees every write that was confirmed
	// to anybody before Load was called.
	Load(ctx context.Context) (Snapshot, error)

	// Watch sends a snapshot now and after every change, newest only: a slow
	// reader misses intermediate states, never the last one. After an
	// interruption it sends an Update with Err set (once per interruption), and
	// goes on by itself as soon as it can, with a fresh snapshot. The channel is
	// closed when ctx ends.
	Watch(ctx context.Context) <-chan Update

	// Put writes a permanent key if the condition holds and returns its new
	// version.
	Put(ctx context.Context, key, value string, c Condition) (cluster.Version, error)

	// Delete removes a key if the condition holds. An absent key is ErrConflict
	// under Unchanged, and no error under Always.
	Delete(ctx context.Context, key string, c Condition) error

	// DeleteAll removes every key below the prefix.
	DeleteAll(ctx context.Context) error

	// Open starts a session that asks for ttl. The session is not renewed by
	// itself: only Session.Renew keeps it, so that a stopped loop loses it.
	Open(ctx context.Context, ttl time.Duration) (Session, error)

	// Resume goes on with a session that was opened elsewhere, by the handle that
	// its owner left. It is a renewal: it returns only when the store has said
	// that the session lives, which Opened then confirms, and the session lives
	// on for its granted length from there. So only who may keep the lease, or is
	// about to end it, calls it. ErrSessionGone when the session is over or was
	// opened in another store; ErrRefused when this is no handle of such a store
	// or its secret is wrong, in which case the session is unharmed.
	//
	// Two processes may hold one session for a while. Neither takes from the
	// other what the store has confirmed; when one of them ends it, the other
	// gets ErrSessionGone.
	Resume(ctx context.Context, h Handle) (Session, error)

	// Close releases connections. It never ends a session.
	Close() error
}

// Update is what Watch sends.
type Update struct {
	Snapshot Snapshot
	Err      error
}

// Confirmation is the store's word that a session lives.
type Confirmation struct {
	// Sent is the boot-clock instant from which the store's own count began at
	// the earliest, up to the session's Slack: usually when the confirmed
	// request was sent; for ZooKeeper see its package.
	Sent boot.Instant
	// Granted is the length that the store grants (not what was asked for).
	Granted time.Duration
}

// Session is a lease in the store, and the keys that die with it.
type Session interface {
	// ID names the session as KV.Session and cluster.Leader.Session do.
	ID() string

	// Handle returns what another process needs to go on with this session or to
	// end it. It costs no request, and is best taken anew with each confirmation.
	Handle() Handle

	// Opened is the confirmation that the opening, or the resumption, gave.
	Opened() Confirmation

	// Slack is how much earlier than Sent+Granted the store may end the session
	// by design: fence.Budget.StoreSlack.
	Slack() time.Duration

	// Renew asks for another Granted from now. ErrSessionGone is final;
	// ErrUnavailable and ErrUnknown mean that the last confirmation stands.
	Renew(ctx context.Context) (Confirmation, error)

	// Put writes a key that dies with this session. Under Always it replaces
	// whatever is there, another session's key too (own member key after a
	// restart); under Absent it creates only (the leader key: never otherwise).
	Put(ctx context.Context, key, value string, c Condition) (cluster.Version, error)

	// Delete removes a key of this session, and only of this session: a key
	// that is absent or belongs to another gives ErrConflict.
	Delete(ctx context.Context, key string) error

	// End ends the session and with it all its keys.
	End(ctx context.Context) error
}
