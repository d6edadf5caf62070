package guard

import (
	"os"
	"testing"
)

func TestParseOwnStat(t *testing.T) {
	p, ok := readProcess(os.Getpid(), make([]byte, statBufBytes))
	if !ok || p.pid != os.Getpid() || p.ppid != os.Getppid() || p.start == 0 || p.done() {
		t.Errorf("%+v, %v", p, ok)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (a) b) (c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 1 2 3 4 5 6 7 8 256 0"))
	f.Add([]byte("42 () Z"))
	f.Add([]byte(""))
	f.Add([]byte("10()\x00 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"))
	f.Add([]byte("1 (systemd) S 0 1 1 0 -1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseStat(b)
		if err == nil && (p.pid <= 0 || p.state < 'A') {
			t.Errorf("%q gave %+v", b, p)
		}
	})
}

func TestParseStatReadsWhatMatters(t *testing.T) {
	p, err := parseStat([]byte("42 (a) b) (c) S 7 42 42 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 777 1 2 3 4 5 6 7 8 256 0 0"))
	want := process{pid: 42, ppid: 7, state: 'S', flags: 4, start: 777, pending: 256}
	if err != nil || p != want || !p.dying() {
		t.Errorf("%+v, %v", p, err)
	}
}

func FuzzDecode(f *testing.F) {
	var buf [maxMessage]byte
	f.Add(append([]byte(nil), message{kind: kindArm, nonce: 1, a: 2, b: 3}.encode(buf[:])...))
	f.Add(append([]byte(nil), message{kind: kindFenced, count: 9, dying: 1, text: "x"}.encode(buf[:])...))
	f.Add([]byte("a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(m.encode(make([]byte, maxMessage)))
		if err != nil || again != m {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}
