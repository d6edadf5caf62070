package hand

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/matriarch-ha/matriarch/internal/proc"
)

// look finds a member's processes; nothing is touched.
func look(ctx context.Context, r Request) (Found, error) {
	agent, err := agentAt(r.Port)
	if err != nil {
		return Found{}, err
	}
	data, err := dataOf(agent)
	if err != nil {
		return Found{}, err
	}
	if err := sameCluster(data, r.SystemID); err != nil {
		return Found{}, err
	}
	server, err := postmasterOf(data)
	if err != nil {
		return Found{}, err
	}
	return Found{Agent: agent, Postmaster: server, Again: againOf(ctx, agent)}, nil
}

// errNobody: no process listens on the port.
var errNobody = errors.New("nothing listens on it on this host")

// agentAt is the agent whose REST interface listens on a port of this network.
func agentAt(port int) (proc.Record, error) {
	at := func(err error) error {
		return fmt.Errorf("port %d of the member's api_url: %w", port, err)
	}
	sockets, err := listening(port)
	if err != nil {
		return proc.Record{}, at(err)
	}
	if len(sockets) == 0 {
		return proc.Record{}, at(errNobody)
	}
	pids, hidden := holders(sockets)
	var agents []proc.Record
	var others []string
	for _, pid := range pids {
		r, err := proc.Of(pid)
		switch {
		case err != nil: // it has just ended
		case isAgent(pid):
			agents = append(agents, r)
		default:
			others = append(others, fmt.Sprintf("process %d (%s)", pid, proc.Name(pid)))
		}
	}
	switch {
	case len(agents) == 1:
		return agents[0], nil
	case len(agents) > 1:
		return proc.Record{}, at(fmt.Errorf("%d agents listen on it, at different addresses: which is meant cannot be told", len(agents)))
	case len(others) > 0:
		return proc.Record{}, at(fmt.Errorf("it is that of %s, which is no agent of Matriarch", strings.Join(others, ", ")))
	case hidden:
		return proc.Record{}, at(errors.New("whose it is may not be seen: let the way of --reach be that of root, or of the agent's user"))
	}
	return proc.Record{}, at(errNobody)
}

// listening are the inodes of the sockets that listen on a TCP port, in the
// network namespace of this process.
func listening(port int) ([]string, error) {
	var out []string
	for _, name := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile("/proc/self/net/" + name)
		if errors.Is(err, fs.ErrNotExist) { // no IPv6
			continue
		} else if err != nil {
			return nil, err
		}
		out = append(out, listeningIn(string(text), port)...)
	}
	return out, nil
}

// listeningIn reads a table of sockets: local address, state and inode are the
// 2nd, 4th and 10th field.
func listeningIn(table string, port int) []string {
	const listen = "0A"
	var out []string
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != listen {
			continue
		}
		_, hex, _ := strings.Cut(f[1], ":")
		if n, err := strconv.ParseUint(hex, 16, 16); err == nil && int(n) == port && f[9] != "0" {
			out = append(out, f[9])
		}
	}
	return out
}

// holders are the processes that have one of the sockets open. hidden: there are
// processes whose files may not be seen.
func holders(sockets []string) (pids []int, hidden bool) {
	for _, pid := range proc.All() {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrPermission) {
			hidden = true
			continue
		}
		for _, e := range entries {
			to, err := os.Readlink(filepath.Join(dir, e.Name()))
			inode, ok := strings.CutPrefix(to, "socket:[")
			if err == nil && ok && slices.Contains(sockets, strings.TrimSuffix(inode, "]")) {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids, hidden
}

// deleted is what the kernel adds to the name of a file that is no more.
const deleted = " (deleted)"

// isAgent reports whether a process is this program, as one member's agent.
func isAgent(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && agentCalled(strings.TrimSuffix(exe, deleted), proc.Argv(pid))
}

func agentCalled(exe string, argv []string) bool {
	if name := filepath.Base(exe); name != "matriarch" && name != "patroni" || len(argv) < 2 {
		return false
	}
	what := argv[1]
	return filepath.Base(argv[0]) == "patroni" || what == "agent" || strings.HasSuffix(what, ".yml") || strings.HasSuffix(what, ".yaml")
}

// dataOf is the data directory of an agent's server: its guard, a child of it,
// is told.
func dataOf(agent proc.Record) (string, error) {
	for _, p := range proc.Descendants(agent) {
		if argv := proc.Argv(p.PID); len(argv) >= 3 && argv[1] == "guard" && proc.Parent(p.PID) == agent.PID {
			return filepath.EvalSymlinks(argv[2]) // what its server stands in is told without links
		}
	}
	return "", fmt.Errorf("the agent (process %d) has no guard, so its data directory is not known", agent.PID)
}

// sameCluster makes sure that the way led to a member of the cluster that is
// drilled: the first number of pg_control identifies it.
func sameCluster(data, id string) error {
	f, err := os.Open(filepath.Join(data, "global", "pg_control"))
	if err != nil {
		return fmt.Errorf("which cluster this is: %w", err)
	}
	defer f.Close()
	var b [8]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	if here := strconv.FormatUint(binary.NativeEndian.Uint64(b[:]), 10); here != id {
		return fmt.Errorf("%s is of the database system %s, the cluster's is %q: --reach leads to another host", data, here, id)
	}
	return nil
}

// postmasterOf is the first process of the server on a data directory.
func postmasterOf(data string) (proc.Record, error) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return proc.Record{}, fmt.Errorf("PostgreSQL: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(first))
	for _, p := range proc.InServer(data) {
		if p.PID == pid {
			return p, nil
		}
	}
	return proc.Record{}, fmt.Errorf("PostgreSQL does not run on %s", data)
}
