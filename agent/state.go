package agent

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
)

// writeState replaces a file of the state directory: after a crash it is the old
// one or the new one.
func writeState(path string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	// The directory is the server's user's: a link there could lead to a file of
	// root's.
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// readState reads what writeState wrote.
func readState(path string, value any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, value)
}
