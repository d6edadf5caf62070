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
	// ErrForeign: the directory belongs to a store of another token.
	ErrForeign = errors.New("the directory belongs to another store")
	// ErrDamaged: the data directory cannot be read.
	ErrDamaged = errors.New("the embedded store's directory is damaged")
)
