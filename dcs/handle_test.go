package dcs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"
)

func handles() []Handle {
	return []Handle{
		{ID: "1", Granted: time.Millisecond},
		{ID: "2f0a", Granted: 30 * time.Second, Store: "cdf818194e3a8c32.2.7"},
		{ID: "1000a5c4f3b0003", Secret: bytes.Repeat([]byte("\xffpassword"), 2), Granted: 40 * time.Second, Store: "zookeeper-0123456789abcdef"},
	}
}

func TestHandleComesBack(t *testing.T) {
	for _, h := range handles() {
		b, err := h.MarshalBinary()
		if err != nil || len(b) > MaxHandle {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		var got Handle
		if err := got.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(got, h) {
			t.Errorf("%#v came back as something else: %v", h, err)
		}
		// Any damage is noticed.
		for i := range b {
			bad := bytes.Clone(b)
			bad[i] ^= 0x10
			if err := new(Handle).UnmarshalBinary(bad); !errors.Is(err, ErrHandle) {
				t.Errorf("byte %d changed: %v", i, err)
			}
			if err := new(Handle).UnmarshalBinary(b[:i]); !errors.Is(err, ErrHandle) {
				t.Errorf("%d bytes of %d: %v", i, len(b), err)
			}
		}
	}
	for _, h := range []Handle{{}, {ID: "x"}, {ID: "x", Granted: time.Microsecond}, {ID: "x", Granted: 100 * 24 * time.Hour},
		{ID: strings.Repeat("x", MaxHandle), Granted: time.Second}, {ID: "x", Granted: time.Second, Secret: make([]byte, 300)}} {
		if _, err := h.MarshalBinary(); !errors.Is(err, ErrHandle) {
			t.Errorf("%v: %v", h, err)
		}
	}
}

// TestHandleIsSecret: none of the ways in which values end up in logs shows it.
func TestHandleIsSecret(t *testing.T) {
	h := Handle{ID: "id-7777", Secret: []byte("hidden"), Granted: time.Second, Store: "store"}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "h", h, "p", &h, "in", []Handle{h})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "h", h, "p", &h, "in", []Handle{h})
	j, err := json.Marshal(struct{ H Handle }{h})
	if err == nil {
		t.Error("a handle was written as JSON")
	}
	text := log.String() + string(j) + fmt.Sprintf("%v %+v %#v %s %v %+v %v", h, h, h, h, &h, []Handle{h}, struct{ H Handle }{h})
	for _, secret := range []string{"7777", "hidden", fmt.Sprint([]byte("hidden")), "aGlkZGVu"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s shows in %s", secret, text)
		}
	}
}

// FuzzHandle: whatever the bytes are, they are refused or are a handle that
// encodes to them.
func FuzzHandle(f *testing.F) {
	for _, h := range handles() {
		b, err := h.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{1, 0, 0, 0, 1, 255, 255, 255, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var h Handle
		if err := h.UnmarshalBinary(b); err != nil {
			if !errors.Is(err, ErrHandle) || !h.IsZero() {
				t.Errorf("%v, and left %#v", err, h)
			}
			return
		}
		again, err := h.MarshalBinary()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x was read and encodes as %x: %v", b, again, err)
		}
	})
}
