package guard

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// raise makes those of the given capabilities effective that this process may
// use and does not yet: in a container the program's file permits some to a user
// other than root, and gives none effect, so that it also starts where they are
// not granted. What is not permitted is left out without an error.
//
// All threads get them: memory is also asked for by threads of Go's runtime, which
// would end the process if it were refused.
func raise(capabilities ...int) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	var missing uint32
	for _, c := range capabilities {
		word, bit := &data[c/32], uint32(1)<<(c%32)
		missing |= word.Permitted & bit &^ word.Effective
		word.Effective |= word.Permitted & bit
	}
	if missing == 0 {
		return nil
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno != 0 { // ENOTSUP in a binary with cgo, which only tests are
		return fmt.Errorf("raise capabilities: %w", errno)
	}
	return nil
}

// holds reports whether a capability is effective in this thread.
func holds(capability int) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}
