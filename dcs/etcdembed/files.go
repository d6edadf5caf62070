package etcdembed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Marker is the record beside the store's data (`store.json`) that this member
// was once part of a founded store. It is written before the first vote there,
// survives the loss of the data directory, and keeps such a member from founding
// a second store, and a former directory from being used again.
type Marker struct {
	ClusterID  string    `json:"cluster_id"` // an Identity
	RecordedAt time.Time `json:"recorded_at"`
}

// readMarker returns nil when there is none. A marker that cannot be read is an
// error, never "none": founding hangs on it.
func readMarker(c Config) (*Marker, error) {
	var m Marker
	if err := readJSON(c.beside(".json"), &m); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("the record of the store's founding: %w; repair or restore it, do not just remove it", err)
	}
	return &m, nil
}

// recorded is the store that the marker names; zero if there is no marker.
func recorded(c Config) (Identity, error) {
	m, err := readMarker(c)
	if m == nil || err != nil {
		return 0, err
	}
	id, err := parseIdentity(m.ClusterID)
	if err != nil {
		return 0, fmt.Errorf("%s: cluster_id: %w; repair or restore it, do not just remove it", c.beside(".json"), err)
	}
	return id, nil
}

// record makes the marker name this store.
func record(c Config, id Identity) error {
	if was, err := recorded(c); err != nil || was == id {
		return err
	}
	return writeJSON(c.beside(".json"), Marker{ClusterID: id.text(), RecordedAt: time.Now().UTC()}, true)
}

// Phase says how far a store process has come.
type Phase string

const (
	Starting Phase = "starting" // looking at its directory and its partners
	Waiting  Phase = "waiting"  // for partners, or for a majority
	Refused  Phase = "refused"  // will not found a new store; a person may be needed; it keeps looking
	Joining  Phase = "joining"  // replacing its lost predecessor: learner, then voter
	Ready    Phase = "ready"    // a voter, writes work
	Failed   Phase = "failed"   // the process ended with Message
)

// State is what a store process says about itself in the run file
// (`store.run`), which is also how a process is found again and adopted.
type State struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time"` // of the process, in clock ticks since boot: tells it from a later one of the same number
	BootID    string `json:"boot_id"`
	Keeper    Keeper `json:"keeper"`
	Name      string `json:"name"`
	Client    string `json:"client"`   // URL of its clients
	Settings  string `json:"settings"` // digest of the configuration it was started with
	Phase     Phase  `json:"phase"`
	Message   string `json:"message"` // one sentence for people
	Up        int    `json:"up"`      // members known to run, this one included; 0 unknown
	Of        int    `json:"of"`
	ClusterID string `json:"cluster_id,omitempty"`
	MemberID  string `json:"member_id,omitempty"`
}

func readState(c Config) (State, error) {
	var s State
	err := readJSON(c.beside(".run"), &s)
	return s, err
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeJSON replaces the file in one step. With durable it is on disk when the
// call returns.
func writeJSON(path string, value any, durable bool) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if durable && err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil || !durable {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockDir takes the lock that makes this process the only one on the data
// directory. The lock ends with the process, however it ends.
func lockDir(c Config) (*os.File, error) {
	path := c.beside(".lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of the store's directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		who := "another process"
		if s, err := readState(c); err == nil {
			who = fmt.Sprintf("process %d", s.PID)
		}
		return nil, fmt.Errorf("%w: %s is used by %s", ErrInUse, c.DataDir, who)
	}
	return f, nil
}

// prepareDir makes the data directory and checks that only its owner can read
// it and that this process can write to it.
func prepareDir(c Config) error {
	if err := os.MkdirAll(c.stateDir(), 0o700); err != nil {
		return fmt.Errorf("state directory of the store: %w", err)
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("embedded.data_dir: %w", err)
	}
	st, err := os.Stat(c.DataDir)
	if err != nil {
		return fmt.Errorf("embedded.data_dir: %w", err)
	}
	if !st.IsDir() {
		return fmt.Errorf("embedded.data_dir: %s is not a directory", c.DataDir)
	}
	if mode := st.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("embedded.data_dir: %s has mode %04o, others could read the store: chmod 700 it", c.DataDir, mode)
	}
	if err := unix.Access(c.DataDir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("embedded.data_dir: %s is not writable for user %d: %w", c.DataDir, os.Geteuid(), err)
	}
	return syncDir(filepath.Dir(filepath.Clean(c.DataDir)))
}

// setAside renames a directory that must not be used any more. It is never
// deleted: it may be the last copy of something.
func setAside(c Config, why string) error {
	to := fmt.Sprintf("%s.%s-%s", filepath.Clean(c.DataDir), why, time.Now().UTC().Format("20060102T150405.000000000"))
	if err := os.Rename(c.DataDir, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set the store's old directory aside: %w", err)
	}
	return prepareDir(c)
}

// startTime reads when a process started (field 22 of its stat file).
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStartTime(string(b))
}

// parseStartTime skips the program's name, which may hold anything, by looking
// for the last parenthesis. A zombie has ended as far as we are concerned.
func parseStartTime(stat string) (uint64, error) {
	i := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[i+1:])
	if i < 0 || len(fields) < 20 {
		return 0, fmt.Errorf("unexpected contents of the process's stat file: %q", stat)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, fmt.Errorf("the process has ended: %w", os.ErrProcessDone)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// bootID tells this boot of the host from others: start times begin anew.
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}
