package guard

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write down messages that are not in testdata/protocol.txt yet")

// pinned are messages of every kind, as agents and guards exchange them.
var pinned = []struct {
	name string
	m    message
}{
	{"arm", message{kind: kindArm, nonce: 7, a: 1000000000, b: 3000000000, text: "handle\x00\xff"}},
	{"arm, with a watchdog device", message{kind: kindArm, nonce: 9, a: 1000000000, b: 3000000000, flags: flagDogRequired, count: 2000, dying: 10000}},
	{"watchdog", message{kind: kindWatchdog, nonce: 9, flags: flagDogActive | flagDogLeft, a: 28000000000, text: "too short"}},
	{"disarm", message{kind: kindDisarm, nonce: 8}},
	{"ready", message{kind: kindReady, flags: flagLocked | flagRealtime | flagOOM, text: "raise priority: operation not permitted"}},
	{"ack", message{kind: kindAck, nonce: 7}},
	{"fenced", message{kind: kindFenced, flags: 1, count: 9, dying: 2, a: 3000000100, b: 7000000}},
	{"fence without a proof", message{kind: kindFenced, count: 9, a: 3000000100, b: 7000000, text: "1 processes still run"}},
	{"kernel", message{kind: kindKernel, flags: flagActive | flagBarred, text: "no memory"}},
	{"hello", message{kind: kindHello, text: "0.1.0"}},
	{"trust", message{kind: kindTrust, a: 1000000000, b: 3000000000, count: 4711, nonce: 123456789, text: "handle\x00\xff"}},
	{"refuse", message{kind: kindRefuse}},
	{"refuse, stopping", message{kind: kindRefuse, flags: flagStopping}},
	{"end", message{kind: kindEnd}},
	{"access", message{kind: kindAccess}},
	{"released", message{kind: kindReleased, flags: 1}},
	{"not released", message{kind: kindReleased, text: "exit status 1"}},
}

// A guard outlives the agent that started it, and the next agent may be of a later
// release: what is written down here must be understood for ever, and must mean
// the same. A new meaning needs a new kind or a new version, and leaves these
// lines as they are.
func TestProtocolIsFrozen(t *testing.T) {
	const path = "testdata/protocol.txt"
	text, _ := os.ReadFile(path)
	kept := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, bytes, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.HasPrefix(line, "#") {
			kept[name] = bytes
		}
	}
	var buf [maxMessage]byte
	seen := map[kind]bool{}
	for _, p := range pinned {
		seen[p.m.kind] = true
		now := hex.EncodeToString(p.m.encode(buf[:]))
		was, ok := kept["version 1, "+p.name]
		if !ok && *update {
			text = fmt.Appendf(text, "version %d, %s: %s\n", protocolVersion, p.name, now)
			continue
		}
		if protocolVersion == 1 && now != was {
			t.Errorf("%s is written as\n%s, and was\n%s", p.name, now, was)
		}
		old, err := hex.DecodeString(was)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := decode(old); err != nil || m != p.m {
			t.Errorf("%s of version 1 is read as %+v, %v", p.name, m, err)
		}
	}
	for _, k := range kinds {
		if !seen[k] {
			t.Errorf("no message of kind %q is pinned", k)
		}
	}
	if *update {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// What a later release says is refused as a whole, never misread.
func TestLaterVersionsAreRefused(t *testing.T) {
	var buf [maxMessage]byte
	b := message{kind: kindArm, nonce: 1}.encode(buf[:])
	for _, v := range []byte{0, protocolVersion + 1, 255} {
		b[1] = v
		if m, err := decode(b); err == nil {
			t.Errorf("version %d: %+v", v, m)
		}
	}
}
