package proxy

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/route"
)

var rawQuery = pgproto3.Query{String: "half"}

func FuzzStartup(f *testing.F) {
	startup, _ := (&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "u"}}).Encode(nil)
	for _, seed := range [][]byte{startup, cancelPacket(1, "abcd"), {0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f}, {0x16, 3, 1}, []byte("GET / HTTP/1.1"), nil, {0, 0, 0, 8}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		p, err := readPacket(r)
		if err != nil {
			return
		}
		if len(p.raw) == 0 || len(p.raw) > maxStartup || !bytes.Equal(p.raw, b[:len(p.raw)]) || r.Len() != len(b)-len(p.raw) {
			t.Fatalf("kept %d bytes, left %d of %d", len(p.raw), r.Len(), len(b))
		}
		if p.kind == packetCancel && (len(p.cancelKey()) < 8 || len(p.cancelKey()) > maxKey) {
			t.Fatalf("key of %d bytes", len(p.cancelKey()))
		}
	})
}

// However the stream is cut, frames sees the same.
func FuzzFrames(f *testing.F) {
	var stream []byte
	for _, m := range []pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}, &pgproto3.ParameterStatus{Name: "a", Value: "b"},
		&pgproto3.ParameterStatus{Name: "in_hot_standby", Value: "on"}, &pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte("abcd")},
		&pgproto3.ReadyForQuery{TxStatus: 'I'}} {
		stream, _ = m.Encode(stream)
	}
	f.Add(stream, uint8(3))
	f.Add(stream[:len(stream)-2], uint8(7))
	f.Add([]byte{'D', 0, 0, 0, 3}, uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		var whole, parts frames
		whole.advance(b)
		for rest := b; len(rest) > 0; {
			n := min(len(rest), 1+int(cut)%9)
			parts.advance(rest[:n])
			rest = rest[n:]
		}
		if whole.atBoundary() != parts.atBoundary() || whole.started != parts.started || whole.standby != parts.standby {
			t.Fatalf("%v %v, cut %v %v", whole.atBoundary(), whole.started, parts.atBoundary(), parts.started)
		}
	})
}

func TestFrames(t *testing.T) {
	var b []byte
	b, _ = (&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte("abcd")}).Encode(b)
	b, _ = (&pgproto3.ReadyForQuery{TxStatus: 'I'}).Encode(b)
	var f frames
	for i := range b {
		f.advance(b[i : i+1])
		if at := i == 12 || i == len(b)-1; f.atBoundary() != at {
			t.Fatalf("byte %d: boundary %v", i, f.atBoundary())
		}
	}
	if string(f.key) != "\x00\x00\x00\x01abcd" || !f.started {
		t.Fatalf("key %q", f.key)
	}
}

func TestFramesTellOfAStandby(t *testing.T) {
	for _, c := range []struct {
		name, value string
		late, want  bool
	}{{"in_hot_standby", "on", false, true}, {"in_hot_standby", "off", false, false}, {"in_hot_standby", "on", true, false}, {"x_hot_standby", "on", false, false}} {
		var b []byte
		if c.late { // in the middle of a session it is somebody's change of a setting
			b, _ = (&pgproto3.ReadyForQuery{TxStatus: 'I'}).Encode(b)
		}
		b, _ = (&pgproto3.ParameterStatus{Name: "application_name", Value: "in_hot_standby on"}).Encode(b)
		b, _ = (&pgproto3.ParameterStatus{Name: c.name, Value: c.value}).Encode(b)
		var f frames
		for i := range b {
			f.advance(b[i : i+1])
		}
		if f.standby != c.want {
			t.Errorf("%+v: %v", c, f.standby)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	asker := &restAsker{clock: clock.Real{}}
	f.Add(200, []byte(`{"name":"a","role":"primary","lease_remaining_ms":1500.5,"lease_session":"x","timeline":1,"state":"running"}`))
	f.Add(200, []byte(`{"state":"running","role":"master","timeline":null,"tags":{"noloadbalance":true,"zone":1},"sync_standby":true,"xlog":{"replayed_location":5,"replayed_timestamp":"2024-01-02 03:04:05.678-01:00"}}`))
	f.Add(503, []byte(`{"role":"primary","matriarch":{"lease_remaining_ms":1e308}}`))
	f.Fuzz(func(t *testing.T, code int, b []byte) {
		for _, parse := range []func(int, []byte) (route.Word, error){parseLease, asker.parseStatus} {
			w, err := parse(code, b)
			if err != nil && (w.Leased || w.Locked) {
				t.Fatal("an unreadable answer gives a permission")
			}
			if w.Remaining < 0 || w.Locked && code != 200 {
				t.Fatalf("%+v", w)
			}
		}
	})
}

func FuzzMessage(f *testing.F) {
	f.Add(errorResponse("57P03", "starting", "hint"))
	f.Add([]byte{'E', 0, 0, 0, 5, 'C'})
	f.Add([]byte{'R', 0, 0, 0, 8, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		msg, err := readMessage(bytes.NewReader(b))
		if err == nil && !bytes.Equal(msg, b[:len(msg)]) {
			t.Fatal("bytes changed")
		}
		sqlstate(msg)
	})
}

func TestSQLState(t *testing.T) {
	for _, code := range []string{stateNoPrimary, stateTooMany} {
		if got := sqlstate(errorResponse(code, "message", "hint")); got != code {
			t.Errorf("%q, want %q", got, code)
		}
	}
}
