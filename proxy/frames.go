package proxy

import "encoding/binary"

// frames follows the messages that went from a server to a client by their
// headers. It knows whether the stream stands between two messages (only then
// may the entrypoint speak itself: anywhere else its words would be taken for
// somebody's data), and it keeps the session's cancel key in passing.
type frames struct {
	head   [5]byte
	have   int    // bytes of the head seen
	remain uint32 // bytes of the body to come
	lost   bool   // the stream made no sense; nothing is known any more

	started bool   // the first ReadyForQuery has passed
	key     []byte // of BackendKeyData, as far as it came
	setting []byte // a ParameterStatus before started, as far as it came
	standby bool   // the server said that it is in recovery
}

// inRecovery is what servers since 14 report at the start of a session, with a
// zero after each of the two.
const inRecovery = "in_hot_standby\x00on\x00"

// maxKey is process id and the longest cancel key.
const maxKey = 4 + 256

func (f *frames) atBoundary() bool { return !f.lost && f.have == 0 && f.remain == 0 }

// refused reports whether an error was the last thing that passed: a server that
// ends a session says so and hangs up, and a client may be the faster of the two.
func (f *frames) refused() bool { return f.atBoundary() && f.head[0] == 'E' }

// advance takes the next bytes that were sent.
func (f *frames) advance(b []byte) {
	for len(b) > 0 && !f.lost {
		if f.remain > 0 {
			n := min(uint32(len(b)), f.remain)
			f.body(b[:n])
			b, f.remain = b[n:], f.remain-n
			f.finish()
			continue
		}
		n := copy(f.head[f.have:], b)
		b, f.have = b[n:], f.have+n
		if f.have == len(f.head) {
			f.begin()
		}
	}
}

func (f *frames) begin() {
	size := binary.BigEndian.Uint32(f.head[1:])
	if size < 4 || size > 1<<30 {
		f.lost = true
		return
	}
	f.remain, f.have = size-4, 0
	f.finish()
}

// body collects the key, and a setting that is as long as the one that tells of
// recovery; all else passes unread.
func (f *frames) body(b []byte) {
	switch {
	case f.started:
	case f.head[0] == 'K' && len(f.key)+len(b) <= maxKey:
		f.key = append(f.key, b...)
	case f.head[0] == 'S' && binary.BigEndian.Uint32(f.head[1:]) == 4+uint32(len(inRecovery)):
		f.setting = append(f.setting, b...)
	}
}

func (f *frames) finish() {
	if f.remain > 0 || f.started {
		return
	}
	switch f.head[0] {
	case 'S':
		f.standby = f.standby || string(f.setting) == inRecovery
		f.setting = f.setting[:0]
	case 'Z':
		f.started = true
	}
}
