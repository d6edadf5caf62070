package guard

import (
	"encoding/json"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// NoteName is the file in the state directory in which a guard leaves what it
// did, for an agent that was not there to be told.
const NoteName = "guard-note.json"

// NoteEnv names that file to a guard; without it none is left.
const NoteEnv = "MATRIARCH_GUARD_NOTE"

// Note is what a guard did to the server.
type Note struct {
	// Shutdown: its agent was gone, and the server ended by the fast shutdown that
	// the guard had asked for; then nothing was killed.
	Shutdown bool `json:"shutdown,omitempty"`
	// Ended: an agent that had taken the guard over could not go on with the server
	// and had it ended, with its lease, before that ran out.
	Ended bool  `json:"ended,omitempty"`
	Proof Proof `json:"proof"`
	// Released: the session of the lease was ended after that, or was over already.
	// Trouble is why it was left to run out.
	Released bool   `json:"released,omitempty"`
	Trouble  string `json:"trouble,omitempty"`
	// Wall is when, by the wall clock; BootID is the run of the host that Began of
	// the proof belongs to.
	Wall   time.Time `json:"wall"`
	BootID string    `json:"boot_id"`
}

// Current reports whether the host has not been started again since.
func (n Note) Current() bool { return n.BootID == bootID() }

// ReadNote reads a note; the error is fs.ErrNotExist when there is none.
func ReadNote(path string) (n Note, err error) {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &n)
	}
	return n, err
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // then every note is another boot's
	return strings.TrimSpace(string(b))
}

// noteTurn is held while a note is written: two helpers may end at a time.
var noteTurn sync.Mutex

// leave writes a note to path, best effort and last of all: it touches the disk. An
// empty path: none is left.
func leave(path string, n Note) {
	if path == "" {
		return
	}
	noteTurn.Lock()
	defer noteTurn.Unlock()
	text, err := json.Marshal(n)
	if err != nil {
		return
	}
	// The directory is the server's user's: a link there could lead to a file of
	// root's.
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return
	}
	_, err = f.Write(text)
	if closed := f.Close(); err == nil && closed == nil {
		_ = os.Rename(tmp, path)
	}
}
