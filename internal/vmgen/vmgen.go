// Package vmgen hears from the kernel when a virtual machine is another generation
// of itself: it was restored from a snapshot or copied, and its clocks went on as if
// nothing had been. Kernels tell it since 6.10, where the hypervisor gives the
// machine a generation id; elsewhere nothing is ever heard.
package vmgen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// kernelEvents is the multicast group of what the kernel itself says.
const kernelEvents = 1

// Watch calls changed for each new generation until ctx ends. An error says why
// nothing can be heard.
func Watch(ctx context.Context, changed func()) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return fmt.Errorf("hear the kernel's events: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelEvents}); err != nil {
		unix.Close(fd)
		return fmt.Errorf("hear the kernel's events: %w", err)
	}
	return listen(ctx, os.NewFile(uintptr(fd), "kernel events"), changed)
}

// listen reads the socket to the end of ctx, and closes it.
func listen(ctx context.Context, socket *os.File, changed func()) error {
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	defer stop()
	defer socket.Close()
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, 8192)
	for {
		var n int
		var from unix.Sockaddr
		var got error
		err := raw.Read(func(fd uintptr) bool {
			n, from, got = unix.Recvfrom(int(fd), buf, 0)
			return !errors.Is(got, unix.EAGAIN)
		})
		switch sender, isNetlink := from.(*unix.SockaddrNetlink); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("hear the kernel's events: %w", err)
		case errors.Is(got, unix.ENOBUFS), errors.Is(got, unix.EINTR):
			// Some were lost in a flood of others.
		case got != nil:
			return fmt.Errorf("hear the kernel's events: %w", got)
		case isNetlink && sender.Pid != 0:
			// Not the kernel's word.
		case isNewGeneration(buf[:n]):
			changed()
		}
	}
}

// isNewGeneration reads one event: fields that end with a zero byte.
func isNewGeneration(event []byte) bool {
	for field := range bytes.SplitSeq(event, []byte{0}) {
		if string(field) == "NEW_VMGENID=1" {
			return true
		}
	}
	return false
}
