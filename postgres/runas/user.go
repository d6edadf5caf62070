package runas

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// User is who owns the server's files and runs its programs.
type User struct {
	UID, GID int
	Groups   []uint32
	Name     string
	Home     string
	// Drop says that we are root and must step down to this user.
	Drop bool
}

// For finds the user for a data directory: its owner when it exists and we are
// root, the system user postgres when it does not exist yet, ourselves when we
// are not root.
func For(dataDir string) (User, error) {
	if os.Geteuid() != 0 {
		return lookup(os.Geteuid(), os.Getegid(), false), nil
	}
	var st syscall.Stat_t
	if err := syscall.Stat(dataDir, &st); err == nil && st.Uid != 0 {
		return lookup(int(st.Uid), int(st.Gid), true), nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return User{}, fmt.Errorf("PostgreSQL cannot run as root, and there is no user postgres to step down to: "+
			"create it, or give %s to the user that shall run the server: %w", dataDir, err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return lookup(uid, gid, true), nil
}

func lookup(uid, gid int, drop bool) User {
	out := User{UID: uid, GID: gid, Drop: drop, Home: "/", Name: strconv.Itoa(uid)}
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return out
	}
	out.Name, out.Home = u.Username, u.HomeDir
	ids, _ := u.GroupIds()
	for _, id := range ids {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			out.Groups = append(out.Groups, uint32(n))
		}
	}
	return out
}

// Command prepares a program as this user, in its own process group, with a
// clean environment plus env. A cancelled context ends the whole group: first
// politely, ten seconds later for certain. The program dies with us: a copy or
// a rewind that went on by itself would work against the next agent's.
func (u User) Command(ctx context.Context, env []string, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = "/"
	cmd.Env = append(u.Environ(), env...)
	cmd.SysProcAttr = u.attr(&syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL})
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// Detached prepares a program that outlives us: its own session, no context.
func (u User) Detached(env []string, path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Env = append(u.Environ(), env...)
	cmd.SysProcAttr = u.attr(&syscall.SysProcAttr{Setsid: true})
	return cmd
}

func (u User) attr(a *syscall.SysProcAttr) *syscall.SysProcAttr {
	if u.Drop {
		a.Credential = &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID), Groups: u.Groups}
	}
	return a
}

// withheld are the variables that children must not inherit: our own
// configuration may hold secrets, the others would redirect libpq, or make
// PostgreSQL talk to our service manager.
var withheld = []string{"NOTIFY_SOCKET=", "PATRONI_", "MATRIARCH_", "KUBERNETES_", "PGPASSWORD=", "PGPASSFILE=", "PGHOST=", "PGPORT=",
	"PGUSER=", "PGDATABASE=", "PGDATA=", "PGSERVICE", "PGOPTIONS=", "PGSSL", "PG_MALLOC_ARENA_MAX=", "PG_GRANDPARENT_PID="}

// Environ is the environment for children.
func (u User) Environ() []string {
	var out []string
	for _, kv := range os.Environ() {
		if !withheldVar(kv) && !(u.Drop && (strings.HasPrefix(kv, "HOME=") || strings.HasPrefix(kv, "USER="))) {
			out = append(out, kv)
		}
	}
	if u.Drop {
		out = append(out, "HOME="+u.Home, "USER="+u.Name)
	}
	if v := os.Getenv("PG_MALLOC_ARENA_MAX"); v != "" {
		out = append(out, "MALLOC_ARENA_MAX="+v)
	}
	return out
}

func withheldVar(kv string) bool {
	for _, p := range withheld {
		if strings.HasPrefix(kv, p) {
			return true
		}
	}
	return false
}

// Chown gives a path to the user when we are root.
func (u User) Chown(path string) error {
	if !u.Drop {
		return nil
	}
	return os.Lchown(path, u.UID, u.GID)
}

// MkdirAll makes a directory and its missing parents, giving those it made to
// the user. Existing directories keep owner and mode.
func (u User) MkdirAll(path string, mode fs.FileMode) error {
	if st, err := os.Stat(path); err == nil {
		if !st.IsDir() {
			return fmt.Errorf("%s exists and is no directory", path)
		}
		return nil
	}
	if parent := filepath.Dir(path); parent != path {
		if err := u.MkdirAll(parent, mode|0o055); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return u.Chown(path)
}

// ReadFile reads a file that this user may read too. As root we could read any,
// and what lies in this user's directories may be a link that the user made.
func (u User) ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !u.mayRead(st) {
		return nil, fmt.Errorf("%s is a file that %s may not read: %w", path, u.Name, fs.ErrPermission)
	}
	return io.ReadAll(f)
}

func (u User) mayRead(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !u.Drop || !ok {
		return true
	}
	switch mode := st.Mode().Perm(); {
	case int(sys.Uid) == u.UID:
		return mode&0o400 != 0
	case int(sys.Gid) == u.GID || slices.Contains(u.Groups, sys.Gid):
		return mode&0o040 != 0
	default:
		return mode&0o004 != 0
	}
}

// WriteFile replaces a file atomically and durably: a temporary file beside
// it, synced, owned by the user, renamed over it, the directory synced.
func (u User) WriteFile(path string, data []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".tmp*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode))
	if u.Drop {
		err = errors.Join(err, f.Chown(u.UID, u.GID))
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// SyncDir makes renames and removals in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
