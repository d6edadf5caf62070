package up

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// owner is who runs PostgreSQL and so owns the data: the caller, or the system
// user postgres where the caller is root, since PostgreSQL refuses to run as root.
type owner struct {
	name     string
	uid, gid int
	groups   []int
	drop     bool // we are root and give files away
}

func findOwner() (owner, error) {
	if uid := os.Geteuid(); uid != 0 {
		return owner{name: strconv.Itoa(uid), uid: uid, gid: os.Getegid()}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return owner{}, errors.New("PostgreSQL refuses to run as root, and there is no user postgres to run it as: " +
			"install PostgreSQL, or run this command as an ordinary user")
	}
	o := owner{name: u.Username, drop: true}
	o.uid, _ = strconv.Atoi(u.Uid)
	o.gid, _ = strconv.Atoi(u.Gid)
	ids, _ := u.GroupIds()
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil {
			o.groups = append(o.groups, n)
		}
	}
	return o, nil
}

// mkdir makes a directory for the owner; one that exists keeps its mode.
func (o owner) mkdir(path string, mode fs.FileMode) error {
	if err := os.Mkdir(path, mode); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := os.Chmod(path, mode); err != nil || !o.drop {
		return err
	}
	return os.Lchown(path, o.uid, o.gid)
}

// reach checks that the owner can pass through every directory down to path.
func (o owner) reach(path string) error {
	for dir := path; ; dir = filepath.Dir(dir) {
		var st syscall.Stat_t
		if err := syscall.Stat(dir, &st); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		if !o.passes(st) {
			return fmt.Errorf("the user %s, who runs PostgreSQL, cannot pass through %s (mode %04o): name another place with --dir, such as %s",
				o.name, dir, st.Mode&0o7777, "/var/lib/matriarch/demo")
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func (o owner) passes(st syscall.Stat_t) bool {
	switch {
	case int(st.Uid) == o.uid:
		return st.Mode&0o100 != 0
	case int(st.Gid) == o.gid || slices.Contains(o.groups, int(st.Gid)):
		return st.Mode&0o010 != 0
	}
	return st.Mode&0o001 != 0
}

// makeDir makes the cluster's directory and its missing parents.
func makeDir(dir string, o owner) error {
	// Others must be able to pass, not to list: data and passwords below have
	// modes of their own.
	mode := fs.FileMode(0o700)
	if o.drop {
		mode = 0o711
	}
	above := existing(dir)
	if st, err := os.Stat(above); err == nil && !st.IsDir() {
		return fmt.Errorf("--dir %s: %s is not a directory", dir, above)
	}
	if err := o.reach(above); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("make the cluster's directory (--dir names another place): %w", err)
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the cluster's directory (--dir names another place): %w", err)
	}
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return fmt.Errorf("--dir %s is not a directory", dir)
	}
	if uid := int(st.Sys().(*syscall.Stat_t).Uid); uid != os.Geteuid() {
		return fmt.Errorf("--dir %s belongs to user %d: run this command as that user, or name another --dir", dir, uid)
	}
	if err := emptyOrOurs(dir); err != nil {
		return err
	}
	// A directory made by mktemp -d is closed to PostgreSQL's user.
	if st.Mode().Perm()&mode != mode {
		if err := os.Chmod(dir, st.Mode().Perm()|mode); err != nil {
			return err
		}
	}
	return o.reach(dir)
}

// existing is the closest directory above dir that is there.
func existing(dir string) string {
	for {
		parent := filepath.Dir(dir)
		if _, err := os.Stat(parent); err == nil || parent == dir {
			return parent
		}
		dir = parent
	}
}

// emptyOrOurs refuses a directory that holds something else: a name mistyped
// must not mix a cluster into somebody's files.
func emptyOrOurs(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var strange []string
	for _, e := range entries {
		switch e.Name() {
		case recordName:
			return nil
		case lockName, "secrets.json", "pgpass", "store.key", "store.pem", "store-ca.pem", "lost+found":
		default:
			strange = append(strange, e.Name())
		}
	}
	if len(strange) > 0 {
		return fmt.Errorf("--dir %s is not empty (%s, …) and holds no cluster of `matriarch up`: name a new or empty directory", dir, strange[0])
	}
	return nil
}

// lockName is held by the one `up` that works on the directory.
const lockName = "lock"

// lock takes the directory's lock, which ends with this process however it ends.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		who := make([]byte, 16)
		n, _ := f.ReadAt(who, 0)
		return nil, fmt.Errorf("another `matriarch up` (process %s) works on %s: stop it, or name another --dir", who[:n], dir)
	}
	if err := f.Truncate(0); err != nil {
		return nil, err
	}
	_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	return f, err
}
