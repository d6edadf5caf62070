package watchdog

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Device is an open watchdog device.
type Device interface {
	// SetTimeout asks for a timeout in whole seconds and returns what the driver
	// made of it. ErrFixed: it has one timeout only, which is returned.
	SetTimeout(time.Duration) (time.Duration, error)
	// Ping starts the timeout anew.
	Ping() error
	// Stoppable reports whether the driver knows the letter V.
	Stoppable() bool
	// Stop disarms the device. ErrNoWayOut: it cannot be.
	Stop() error
	// Close closes it, and with the letter V before, if stopped.
	Close(stopped bool) error
}

var (
	// ErrFixed: the driver has one timeout only.
	ErrFixed = errors.New("the driver's timeout cannot be changed")
	// ErrNoWayOut: the device cannot be stopped.
	ErrNoWayOut = errors.New("the device cannot be stopped once it runs (nowayout)")
)

// kernelDevice is a device by the kernel's interface.
type kernelDevice struct {
	fd      int
	path    string
	options uint32
}

// openDevice opens a device, which arms it.
func openDevice(path string) (Device, error) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("open %s: %w: load the driver, or softdog", path, err)
	}
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("open %s: %w: another program holds it, for example systemd (RuntimeWatchdogSec)", path, err)
	}
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("open %s: %w: the user that matriarch runs as must own it", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	d := &kernelDevice{fd: fd, path: path}
	info, err := unix.IoctlGetWatchdogInfo(fd)
	if err != nil {
		// Whatever it is, it may have been armed by the opening.
		return nil, errors.Join(fmt.Errorf("%s is no watchdog device: %w", path, err), d.Close(true))
	}
	d.options = info.Options
	return d, nil
}

func (d *kernelDevice) SetTimeout(t time.Duration) (time.Duration, error) {
	var fixed error
	if d.options&unix.WDIOF_SETTIMEOUT == 0 {
		fixed = ErrFixed
	} else if err := unix.IoctlSetPointerInt(d.fd, unix.WDIOC_SETTIMEOUT, int(t/time.Second)); err != nil {
		return 0, fmt.Errorf("set the timeout of %s to %v: %w", d.path, t, err)
	}
	n, err := unix.IoctlGetInt(d.fd, unix.WDIOC_GETTIMEOUT)
	if err != nil {
		return 0, fmt.Errorf("ask for the timeout of %s: %w", d.path, err)
	}
	return time.Duration(int32(n)) * time.Second, fixed
}

func (d *kernelDevice) Ping() error {
	if _, err := unix.Write(d.fd, []byte("1")); err != nil {
		return fmt.Errorf("feed %s: %w", d.path, err)
	}
	return nil
}

func (d *kernelDevice) Stoppable() bool { return d.options&unix.WDIOF_MAGICCLOSE != 0 }

func (d *kernelDevice) Stop() error {
	switch err := unix.IoctlSetPointerInt(d.fd, unix.WDIOC_SETOPTIONS, unix.WDIOS_DISABLECARD); {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBUSY):
		return ErrNoWayOut
	case d.Stoppable():
		return nil // by the letter, when it is closed
	case errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL):
		return ErrNoWayOut
	default:
		return fmt.Errorf("stop %s: %w", d.path, err)
	}
}

func (d *kernelDevice) Close(stopped bool) error {
	var errs []error
	if stopped {
		if _, err := unix.Write(d.fd, []byte("V")); err != nil {
			errs = append(errs, fmt.Errorf("write the letter V to %s: %w", d.path, err))
		}
	}
	return errors.Join(append(errs, unix.Close(d.fd))...)
}

// Usable reports whether a device is there and may be opened, without arming it.
func Usable(path string) error {
	if err := unix.Access(path, unix.W_OK); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return fmt.Errorf("%s is a directory", path)
	}
	return nil
}
