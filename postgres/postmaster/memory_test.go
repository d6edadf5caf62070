package postmaster

import "testing"

func TestAttached(t *testing.T) {
	const table = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime        rss       swap\n" +
		"  12345678          3   600                    56    71    90      6   106   112   106   112 1795705000 1795705001 1795704999       4096          0\n" +
		"  87654321          4   600                    56    72    72      0   106   112   106   112 1795705000 1795705001 1795704999       4096          0\n"
	for line, want := range map[string]int{
		" 12345678         3": 6, " 87654321         4": 0,
		" 12345678         4": 0, // of another data directory
		" 11111111         9": 0, "": 0, "x y": 0,
	} {
		if got := parseMemory(line).attachedIn(table); got != want {
			t.Errorf("%q: %d, want %d", line, got, want)
		}
	}
}
