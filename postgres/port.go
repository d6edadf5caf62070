package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// portFree finds out before the server is made or started whether it could
// listen: a database that is made first and then put aside for a taken port
// helps nobody. Like the server it is content with one of several addresses.
func (s *Server) portFree() error {
	port := strconv.Itoa(s.opt.Port)
	var taken error
	for _, host := range s.opt.ListenHosts {
		if host == "*" {
			host = ""
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, port))
		if err == nil {
			l.Close()
			return nil
		}
		if taken == nil && errors.Is(err, syscall.EADDRINUSE) {
			taken = fmt.Errorf("postgresql.listen %s: Address already in use%s: stop what listens there, or give another port",
				net.JoinHostPort(host, port), listener(s.opt.Port))
		}
	}
	return taken // what else is wrong with an address the server says best
}

// listener names the process that listens on a port, as far as that can be seen.
func listener(port int) string {
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(table)
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		if err != nil || !inodes[to] {
			continue
		}
		proc := filepath.Dir(filepath.Dir(fd))
		name, _ := os.ReadFile(filepath.Join(proc, "comm"))
		text := fmt.Sprintf(" by %s (process %s", bytes.TrimSpace(name), filepath.Base(proc))
		if dir, err := os.Readlink(filepath.Join(proc, "cwd")); err == nil {
			text += ", directory " + dir
		}
		return text + ")"
	}
	return ""
}
