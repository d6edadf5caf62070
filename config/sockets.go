package config

import (
	"path/filepath"
	"strings"
)

// longestSocketDir is what fits into the address of a Unix socket beside the
// name of the socket itself.
const longestSocketDir = 107 - len("/.s.PGSQL.65535.lock")

// moveSockets keeps Unix sockets out of the data directory while pg_rewind is to
// be used: it stops at a socket in the directory of either side, so that a
// member that must be rewound would never return. They go into the state
// directory, which is as private as the data directory is.
func moveSockets(f *File, params *node, r *report) {
	n := params.get("unix_socket_directories")
	if n == nil || f.Postgres.DataDir == "" || f.Matriarch.StateDir == "" || len(f.Matriarch.StateDir) > longestSocketDir || strings.ContainsAny(f.Matriarch.StateDir, `,"`) {
		return
	}
	var out []string
	moved := ""
	for _, dir := range texts(n) {
		at := dir
		if !filepath.IsAbs(at) && !strings.HasPrefix(at, "@") {
			at = filepath.Join(f.Postgres.DataDir, at) // the server runs there
		}
		if strings.HasPrefix(at, "@") || !inside(at, f.Postgres.DataDir) {
			out = append(out, dir)
			continue
		}
		moved = dir
		out = append(out, f.Matriarch.StateDir)
	}
	if moved == "" {
		return
	}
	r.warn(WarnKept, "postgresql.parameters.unix_socket_directories", n,
		"%q lies in the data directory, where a socket makes pg_rewind fail; the socket is in %s instead", clip(moved), f.Matriarch.StateDir)
	params.set("unix_socket_directories", newText(strings.Join(out, ","), n.origin))
}
