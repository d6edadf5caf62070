package up

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
)

// taken says why nobody can listen on a port, nil if somebody can. Both
// loopback addresses are tried: programs that are told "localhost" may reach
// either, and must not find a stranger there.
func taken(number int) error {
	for _, h := range []string{host, "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(h, strconv.Itoa(number)))
		if err == nil {
			l.Close()
			continue
		}
		if h == host || errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	return nil
}

// PortsError tells all ports that cannot be had, at once.
type PortsError struct {
	Lines []string // "5432 (PostgreSQL of n1): address already in use"
	// Suggest is a base port under which all ports are free; 0: none was looked
	// for, because the cluster's ports are given.
	Suggest int
	Dir     string
}

func (e *PortsError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "these ports of %s cannot be used:\n", host)
	for _, l := range e.Lines {
		fmt.Fprintf(&b, "  %s\n", l)
	}
	if e.Suggest != 0 {
		fmt.Fprintf(&b, "nothing was started. Free them, or use others: --base-port %d works now", e.Suggest)
		return b.String()
	}
	fmt.Fprintf(&b, "nothing was started. The cluster in %s keeps its ports, since its votes know each other by them: "+
		"free them, or make another cluster with --dir and --base-port", e.Dir)
	return b.String()
}

// checkPorts tries all ports, and looks for an alternative where some are taken.
func checkPorts(p plan, wanted []port, known bool) error {
	e := &PortsError{Dir: p.dir}
	for _, w := range wanted {
		if err := taken(w.number); err != nil {
			e.Lines = append(e.Lines, fmt.Sprintf("%d (%s): %s", w.number, w.what, cause(err)))
		}
	}
	if len(e.Lines) == 0 {
		return nil
	}
	if !known {
		e.Suggest = freeBase(portCount(p.Members), taken)
	}
	return e
}

// cause is the system's word for an error of net.
func cause(err error) string {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no.Error()
	}
	return err.Error()
}

// freeBase finds the begin of a free contiguous range of ports, below those
// that the system gives to outgoing connections; 0 when there is none.
func freeBase(count int, taken func(int) error) int {
	const step, last = 100, 32000
	for base := 15000; base+count <= last; base += step {
		free := true
		for i := 0; free && i < count; i++ {
			free = taken(base+i) == nil
		}
		if free {
			return base
		}
	}
	return 0
}
