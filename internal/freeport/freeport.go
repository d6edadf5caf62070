// Package freeport finds ports on loopback for the servers that tests start.
//
// A port that the system gives out may be taken again, before the server listens,
// by any connection that anybody makes. So ports come from below the range of
// those, and every process begins in a place of its own, since tests of several
// packages run at once, and holds what it was given until it ends. Nothing but tests
// may use it: a race with other programs is left.
package freeport

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
)

const (
	first  = 10000
	blocks = 110 // of 200 ports; what follows is the system's own range
	size   = 200
)

var (
	mu   sync.Mutex
	next int // ports given out so far
)

// held keeps the ports from other tests: a server that is stopped, or does not run
// yet, listens on nothing.
var held []net.Listener

// Next returns a port that nobody listens on, and that neither this process nor one
// that still runs has been given before.
func Next() (int, error) {
	mu.Lock()
	defer mu.Unlock()
	for range blocks * size {
		port := first + (os.Getpid()%blocks*size+next)%(blocks*size)
		next++
		hold, err := net.Listen("unix", "@matriarch-freeport-"+strconv.Itoa(port)) // no file
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			held = append(held, hold)
			return port, l.Close()
		}
		_ = hold.Close()
	}
	return 0, fmt.Errorf("no port from %d to %d is free on loopback", first, first+blocks*size-1)
}
