package etcdembed

import "errors"

var (
	// ErrInUse: another process works on this data directory.
	ErrInUse = errors.New("the embedded store already runs here")
	// ErrPortTaken: another process listens on one of the store's ports.
	ErrPortTaken = errors.New("the port is in use")
	// ErrNoMajority: this member lost its directory, or never had one, while
	// the store was founded, and no live majority can take it in.
	ErrNoMajority = errors.New("the embedded store has lost its majority")
	// ErrRemoved: the others removed this member. Its directory was set aside; the
	// next start rejoins.
	ErrRemoved = errors.New("this member was removed from the embedded store")
	// ErrSuperseded: a partner belongs to a later store than this member, or to
	// another one that works. The next start says what to do.
	ErrSuperseded = errors.New("another store has taken this one's place")
	// ErrDamaged: the data directory cannot be read.
	ErrDamaged = errors.New("the embedded store's directory is damaged")
)
