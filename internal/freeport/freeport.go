// Package freeport finds ports on loopback for the servers that tests start.
//
// A port that the system gives out may be taken again, before the server listens,
// by any connection that anybody makes. So ports come from below the range of
// those, and every process begins in a place of its own, since tests of several
// packages run at once. Nothing but tests may use it: a race is left.
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

// Next returns a port that nobody listens on, and that this process has not been
// given before.
func Next() (int, error) {
	mu.Lock()
	defer mu.Unlock()
	for range blocks * size {
		port := first + (os.Getpid()%blocks*size+next)%(blocks*size)
		next++
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no port from %d to %d is free on loopback", first, first+blocks*size-1)
}
