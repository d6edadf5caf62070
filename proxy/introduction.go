package proxy

import "encoding/binary"

// introduction looks at what a server says before its first ReadyForQuery, before any
// of it goes to the client. Of the cancel key that it gives the process id stays, and the
// secret is replaced by one of our own, of the same length: the server knows which
// protocol the client speaks. That it is a standby ends the session, where a primary is
// wanted.
type introduction struct {
	frames  frames
	primary bool                                  // a standby will not do
	issue   func(process uint32, size int) []byte // makes the key that the client gets
	learn   func(cancelKey)                       // takes the key that the server gave

	size int // of the first key; 0: it is too short to be one, or too long
	own  []byte
}

// check replaces the key in b. With an error it tells how many of the bytes make up
// whole messages before the one that is to blame.
func (in *introduction) check(b []byte) (whole int, err error) {
	for i := range b {
		if in.frames.started || in.frames.lost {
			break
		}
		seen := len(in.frames.key)
		in.frames.advance(b[i : i+1])
		if len(in.frames.key) > seen {
			b[i] = in.replace(seen, b[i])
		}
		if in.primary && in.frames.standby {
			return whole, errStandby
		}
		if in.frames.atBoundary() {
			whole = i + 1
		}
	}
	return len(b), nil
}

// replace returns the byte of our own key for one of the server's. A key too short to
// be one is left alone, and so is what a server that gives several puts behind.
func (in *introduction) replace(at int, was byte) byte {
	if size := int(binary.BigEndian.Uint32(in.frames.head[1:])) - 4; at == 0 && size >= 8 && size <= maxKey {
		in.size = size
	}
	if at < 4 || at >= in.size {
		return was
	}
	if at == 4 {
		in.own = in.issue(binary.BigEndian.Uint32(in.frames.key), in.size)
	}
	if at == in.size-1 {
		in.learn(cancelKey(in.frames.key))
	}
	return in.own[at]
}
