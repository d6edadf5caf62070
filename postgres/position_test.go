package postgres

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A control file that was written a moment ago may be written once more within
// the same stamp: what was read of it must not be kept.
func TestControlKeyOfAFileJustWritten(t *testing.T) {
	s := &Server{opt: Options{DataDir: t.TempDir()}}
	file := s.dataPath("global", "pg_control")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("shutting down"), 0o600); err != nil {
		t.Fatal(err)
	}
	same := func(stamp time.Time) bool {
		if err := os.Chtimes(file, stamp, stamp); err != nil {
			t.Fatal(err)
		}
		one, err := s.controlKey()
		if err != nil {
			t.Fatal(err)
		}
		two, err := s.controlKey()
		if err != nil {
			t.Fatal(err)
		}
		return one == two
	}
	if at := time.Now(); same(at) && time.Since(at) < clockTick {
		t.Error("the key of a file just written stays")
	}
	if !same(time.Now().Add(-time.Hour)) {
		t.Error("the key of an old file changes")
	}
}
