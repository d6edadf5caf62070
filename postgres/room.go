package postgres

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/postgres/replica"
)

// The kinds of file systems that may store a copy in less than its size.
const (
	zfsMagic      = 0x2fc12fc1
	btrfsMagic    = unix.BTRFS_SUPER_MAGIC
	bcachefsMagic = 0xca451a4e
)

// room is what was free where a copy is made, before it began.
type room struct {
	dir  string
	free int64    // bytes
	kept []string // what could be removed for it
}

// roomAt looks at the file system of a directory. ok is false where that tells
// nothing of what fits.
func (s *Server) roomAt(dir string) (r room, ok bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || int64(st.Type) == zfsMagic || int64(st.Type) == btrfsMagic || int64(st.Type) == bcachefsMagic {
		return room{}, false
	}
	// In units of the fragment size, which is another than the block size on some file
	// systems; the server's user has no share in what is reserved.
	r = room{dir: dir, free: int64(st.Bavail) * st.Frsize}
	for _, k := range s.keptCopies() {
		r.kept = append(r.kept, k.Path)
	}
	return r, true
}

// check compares the room with the size that the source says it has, which comes
// without the log that is written meanwhile. Of tablespaces only the sum is told,
// and they may be elsewhere: then nothing is compared.
func (r room) check(p replica.Progress) error {
	if p.Tablespaces != 1 || p.TotalKB*1024 <= r.free {
		return nil
	}
	remedy := "make that file system larger, or name a data_dir on another"
	if len(r.kept) > 0 {
		remedy = "remove " + strings.Join(r.kept, " and ") + " if you do not need them any more, or " + remedy
	}
	return fmt.Errorf("no room for the copy in %s: it needs at least %d MB, and %d MB are free; %s", r.dir, (p.TotalKB+1023)/1024, r.free>>20, remedy)
}
