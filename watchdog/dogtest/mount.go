package dogtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Mount makes a file of the model, in a file system in user space, and returns
// its path. Whoever opens it, writes to it, asks by ioctl and closes it, or dies
// with it open, does so to the model, by way of the kernel. It needs root and
// /dev/fuse.
func Mount(t testing.TB, m *Model) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "matriarch-watchdog-")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open /dev/fuse: %v (these tests need root and the kernel's fuse)", err)
	}
	if err := unix.Mount("watchdog", dir, "fuse.watchdog", unix.MS_NOSUID|unix.MS_NODEV,
		fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd)); err != nil {
		t.Fatalf("mount a file system in user space: %v", err)
	}
	s := &server{fd: fd, model: m}
	done := make(chan error, 1)
	go func() { done <- s.run() }()
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
		if err := <-done; err != nil {
			t.Errorf("the file system of the watchdog: %v", err)
		}
		unix.Close(fd)
		os.Remove(dir)
	})
	return filepath.Join(dir, "watchdog")
}

// The parts of the protocol that one file needs (linux/fuse.h, version 7.31).
const (
	opLookup, opForget, opGetattr, opOpen, opWrite         = 1, 2, 3, 14, 16
	opRelease, opFlush, opInit, opAccess, opDestroy        = 18, 25, 26, 34, 38
	opInterrupt, opIoctl, opBatchForget, opSetattr         = 36, 39, 42, 4
	rootNode, fileNode                              uint64 = 1, 2
	directIO                                        uint32 = 1
)

type server struct {
	fd    int
	model *Model
}

// run answers one request after the other until the file system is gone.
func (s *server) run() error {
	buf := make([]byte, 1<<20)
	for {
		n, err := unix.Read(s.fd, buf)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EAGAIN):
			continue
		case errors.Is(err, unix.ENODEV):
			return nil
		case err != nil:
			return err
		}
		op := binary.LittleEndian.Uint32(buf[4:])
		out, errno := s.answer(op, binary.LittleEndian.Uint64(buf[16:]), buf[40:n])
		if op == opForget || op == opBatchForget || op == opInterrupt {
			continue // not answered
		}
		if err := s.reply(buf[8:16], out, errno); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
			return err
		}
		if op == opDestroy {
			return nil
		}
	}
}

func (s *server) reply(unique, out []byte, errno unix.Errno) error {
	if errno != 0 {
		out = nil
	}
	head := binary.LittleEndian.AppendUint32(nil, uint32(16+len(out)))
	head = binary.LittleEndian.AppendUint32(head, uint32(-int32(errno)))
	_, err := unix.Write(s.fd, append(append(head, unique...), out...))
	return err
}

func (s *server) answer(op uint32, node uint64, in []byte) ([]byte, unix.Errno) {
	switch op {
	case opInit:
		return le(uint32(7), uint32(31), uint32(65536), uint32(0), uint16(12), uint16(9), uint32(65536), uint32(1), uint16(0), uint16(0), [8]uint32{}), 0
	case opLookup:
		if string(bytes.TrimRight(in, "\x00")) != "watchdog" {
			return nil, unix.ENOENT
		}
		return le(fileNode, uint64(0), uint64(0), uint64(0), uint32(0), uint32(0), attr(fileNode)), 0
	case opGetattr, opSetattr:
		return le(uint64(0), uint32(0), uint32(0), attr(node)), 0
	case opOpen:
		if err := s.model.Open(); err != nil {
			return nil, errnoOf(err)
		}
		return le(uint64(1), directIO, uint32(0)), 0
	case opWrite:
		// head: handle 8, offset 8, size 4, flags 4, owner 8, flags 4, padding 4
		size := binary.LittleEndian.Uint32(in[16:])
		if err := s.model.Write(in[40 : 40+size]); err != nil {
			return nil, errnoOf(err)
		}
		return le(size, uint32(0)), 0
	case opRelease:
		s.model.Close()
		return nil, 0
	case opIoctl:
		// head: handle 8, flags 4, command 4, argument 8, sizes 4 and 4
		out, err := s.ioctl(binary.LittleEndian.Uint32(in[12:]), in[32:])
		if err != nil {
			return nil, errnoOf(err)
		}
		return append(le(int32(0), uint32(0), uint32(0), uint32(0)), out...), 0
	case opFlush, opAccess, opDestroy, opForget, opBatchForget, opInterrupt:
		return nil, 0
	}
	return nil, unix.ENOSYS
}

func (s *server) ioctl(command uint32, in []byte) ([]byte, error) {
	seconds := func() []byte { return le(int32(s.model.Timeout() / time.Second)) }
	switch command {
	case unix.WDIOC_GETSUPPORT:
		return le(s.model.Options(), uint32(0), [32]byte{}), nil
	case unix.WDIOC_SETTIMEOUT:
		if err := s.model.SetTimeout(time.Duration(int32(binary.LittleEndian.Uint32(in))) * time.Second); err != nil {
			return nil, err
		}
		return seconds(), nil
	case unix.WDIOC_GETTIMEOUT:
		return seconds(), nil
	case unix.WDIOC_SETOPTIONS:
		// Its number says that it is read, so its argument does not come here. Only
		// WDIOS_DISABLECARD is used.
		return le(int32(0)), s.model.Disable()
	}
	return nil, unix.ENOTTY
}

func attr(node uint64) []byte {
	mode := uint32(unix.S_IFREG | 0o600)
	if node == rootNode {
		mode = unix.S_IFDIR | 0o755
	}
	return le(node, uint64(0), uint64(0), [3]uint64{}, [3]uint32{}, mode, uint32(1), uint32(0), uint32(0), uint32(0), uint32(4096), uint32(0))
}

func le(values ...any) []byte {
	var b bytes.Buffer
	for _, v := range values {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func errnoOf(err error) unix.Errno {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return unix.EIO
}
