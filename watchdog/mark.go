package watchdog

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// The mark names the run of the host and the device, a line each.

// readMark returns the device that was left running since the host was started,
// empty when there is none.
func (l *leash) readMark() string {
	if l.o.Mark == "" {
		return ""
	}
	text, err := os.ReadFile(l.o.Mark)
	if err != nil {
		return ""
	}
	boot, path, _ := strings.Cut(strings.TrimSuffix(string(text), "\n"), "\n")
	if boot != bootID() || !strings.HasPrefix(path, "/") {
		return ""
	}
	return path
}

// writeMark is not synced: a crash of the host ends the device's count as well.
func (l *leash) writeMark() error {
	if l.o.Mark == "" {
		return nil
	}
	// The directory is the server's user's: a link there could lead elsewhere.
	f, err := os.OpenFile(l.o.Mark, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err == nil {
		_, err = fmt.Fprintf(f, "%s\n%s\n", bootID(), l.o.Device)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("note that the watchdog is armed: %w", err)
	}
	return nil
}

func (l *leash) removeMark() {
	if l.o.Mark != "" {
		_ = os.Remove(l.o.Mark) // then the next guard opens a device that is at rest, and stops it
	}
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}
