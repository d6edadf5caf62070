package dcs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math"
	"time"
)

// Handle is what another process needs to go on with a session (Store.Resume),
// or to end it. Whoever has it can end the lease and all its keys, so it is a
// secret: it prints without what gives that power, and travels by pipe or
// socket, never by argument, environment or a file that others can read.
//
// It also says what was known of the store when it was taken. One taken with
// each confirmation is worth more than one taken at the opening: a store that
// was restored from a backup in between is recognised by it.
type Handle struct {
	// ID is Session.ID.
	ID string
	// Secret proves the ownership, where the store asks for that.
	Secret []byte
	// Granted is the session's length, which a resumed session keeps.
	Granted time.Duration
	// Store says in which store the session was opened, in the store's own terms.
	Store string
}

// MaxHandle is the size of the largest encoded handle.
const MaxHandle = 160

// The encoding: version 1, granted in milliseconds 4, then ID, Secret and Store
// with a byte of length before each, then a checksum of all that 4.
const (
	handleVersion = 1
	handleFixed   = 1 + 4 + 3 + 4
)

// ErrHandle: these bytes or these values are no handle.
var ErrHandle = errors.New("not a session's handle")

// String tells nothing by which the session could be ended.
func (h Handle) String() string { return "handle of a session of " + h.Granted.String() }

// GoString is String, for %#v.
func (h Handle) GoString() string { return h.String() }

// LogValue is String, for logs.
func (h Handle) LogValue() slog.Value { return slog.StringValue(h.String()) }

// MarshalJSON refuses: a handle does not belong into a journal or an answer.
func (h Handle) MarshalJSON() ([]byte, error) {
	return nil, errors.New("a session's handle is a secret and is not written as text")
}

// IsZero reports whether this is no handle at all.
func (h Handle) IsZero() bool {
	return h.ID == "" && len(h.Secret) == 0 && h.Granted == 0 && h.Store == ""
}

// MarshalBinary encodes a handle in at most MaxHandle bytes.
func (h Handle) MarshalBinary() ([]byte, error) {
	ms := h.Granted.Milliseconds()
	if h.ID == "" || ms <= 0 || ms > math.MaxUint32 || handleFixed+len(h.ID)+len(h.Secret)+len(h.Store) > MaxHandle {
		return nil, fmt.Errorf("%w: an id of %d bytes, a secret of %d, a store of %d, %v long", ErrHandle, len(h.ID), len(h.Secret), len(h.Store), h.Granted)
	}
	b := append(make([]byte, 0, MaxHandle), handleVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(ms))
	for _, field := range [][]byte{[]byte(h.ID), h.Secret, []byte(h.Store)} {
		b = append(append(b, byte(len(field))), field...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)), nil
}

// UnmarshalBinary decodes what MarshalBinary made, and refuses everything else.
func (h *Handle) UnmarshalBinary(b []byte) error {
	if len(b) < handleFixed || len(b) > MaxHandle {
		return fmt.Errorf("%w: %d bytes, want %d to %d", ErrHandle, len(b), handleFixed, MaxHandle)
	}
	if b[0] != handleVersion {
		return fmt.Errorf("%w: version %d, want %d: both processes must be of releases that know each other", ErrHandle, b[0], handleVersion)
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.ChecksumIEEE(body) != sum {
		return fmt.Errorf("%w: its checksum is wrong", ErrHandle)
	}
	var fields [3][]byte
	rest := body[5:]
	for i := range fields {
		if len(rest) == 0 || len(rest) < 1+int(rest[0]) {
			return fmt.Errorf("%w: it ends too early", ErrHandle)
		}
		n := 1 + int(rest[0])
		fields[i], rest = rest[1:n], rest[n:]
	}
	ms := binary.BigEndian.Uint32(body[1:])
	if len(rest) > 0 || len(fields[0]) == 0 || ms == 0 {
		return fmt.Errorf("%w: an empty id or length, or %d bytes too many", ErrHandle, len(rest))
	}
	*h = Handle{ID: string(fields[0]), Granted: time.Duration(ms) * time.Millisecond, Store: string(fields[2])}
	if len(fields[1]) > 0 {
		h.Secret = append([]byte(nil), fields[1]...)
	}
	return nil
}
