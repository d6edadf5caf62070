package netfence

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrNotPermitted means that this process may not change the packet filter.
var ErrNotPermitted = errors.New("CAP_NET_ADMIN is not granted: give it to the container or unit " +
	"(docker: cap_add: [NET_ADMIN]) and, when the agent does not run as root, to the program (setcap cap_net_admin+p)")

// raiseNetAdmin makes CAP_NET_ADMIN effective for the calling thread, when it is
// permitted: a program with a file capability starts with it permitted only.
func raiseNetAdmin() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	const bit = 1 << unix.CAP_NET_ADMIN
	switch {
	case data[0].Effective&bit != 0:
		return nil
	case data[0].Permitted&bit == 0:
		return ErrNotPermitted
	}
	data[0].Effective |= bit
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return fmt.Errorf("make CAP_NET_ADMIN effective: %w", err)
	}
	return nil
}
