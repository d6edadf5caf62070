package replica

import (
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/wal"
)

func TestFollow(t *testing.T) {
	out := "waiting for checkpoint\r    0/22757 kB (0%), 0/1 tablespace\r22757/22757 kB (100%), 1/1 tablespace\nerror: no luck\n"
	var seen []string
	said := Follow(strings.NewReader(out), func(p Progress) { seen = append(seen, p.String()) })
	if p, ok := ParseProgress("    0/22757 kB (0%), 0/12 tablespaces"); !ok || p != (Progress{0, 22757, 12}) {
		t.Errorf("the first line is read as %+v", p)
	}
	if len(seen) != 2 || seen[1] != "22 of 22 MB copied (100%)" || !strings.Contains(said, "no luck") || strings.Contains(said, "22757") {
		t.Errorf("progress %q, rest %q", seen, said)
	}
}

func TestFork(t *testing.T) {
	h := func(sw ...wal.Switch) wal.History { return sw }
	for _, c := range []struct {
		name   string
		a      wal.Timeline
		ha     wal.History
		b      wal.Timeline
		hb     wal.History
		want   wal.Position
		wantOK bool
	}{
		{"child", 1, nil, 2, h(wal.Switch{Timeline: 1, LSN: 100}), wal.Position{Timeline: 1, LSN: 100}, true},
		{"siblings", 3, h(wal.Switch{Timeline: 1, LSN: 90}), 2, h(wal.Switch{Timeline: 1, LSN: 100}), wal.Position{Timeline: 1, LSN: 90}, true},
		{"grandchild", 2, h(wal.Switch{Timeline: 1, LSN: 90}), 5, h(wal.Switch{Timeline: 1, LSN: 90}, wal.Switch{Timeline: 2, LSN: 200}), wal.Position{Timeline: 2, LSN: 200}, true},
		{"same", 2, h(wal.Switch{Timeline: 1, LSN: 90}), 2, h(wal.Switch{Timeline: 1, LSN: 90}), wal.Position{Timeline: 2}, true},
		{"strangers", 7, nil, 8, nil, wal.Position{}, false},
	} {
		got, ok := Fork(c.a, c.ha, c.b, c.hb)
		if got != c.want || ok != c.wantOK {
			t.Errorf("%s: %v %v, want %v", c.name, got, ok, c.want)
		}
	}
}

func TestParseCommits(t *testing.T) {
	text := `rmgr: Transaction len (rec/tot):     34/    34, tx:        745, lsn: 0/015F0F58, prev 0/015F0F18, desc: COMMIT 2026-11-23 01:00:00.123456 UTC
rmgr: Transaction len (rec/tot):     34/    34, tx:        746, lsn: 0/015F0FFF, prev 0/015F0F18, desc: ABORT 2026-11-23 01:00:00.123456 UTC
rmgr: Transaction len (rec/tot):    405/   405, tx:        747, lsn: 0/0306D820, prev 0/0306D7F0, desc: COMMIT 2026-11-23 01:00:01.5 CET; inval msgs: catcache 55
`
	got := ParseCommits(text)
	if len(got) != 2 || got[0].Xid != "745" || got[1].Committed != "2026-11-23 01:00:01.5 CET" {
		t.Errorf("%+v", got)
	}
}

func FuzzParseProgress(f *testing.F) {
	f.Add(" 1/2 kB (50%)")
	f.Add("99999999999999999999/1 kB (1%)")
	f.Fuzz(func(t *testing.T, s string) {
		if p, ok := ParseProgress(s); ok && (p.DoneKB < 0 || p.TotalKB < 0 || p.String() == "") {
			t.Errorf("%q gives %+v", s, p)
		}
		Follow(strings.NewReader(s), func(Progress) {})
		ParseCommits(s)
	})
}
