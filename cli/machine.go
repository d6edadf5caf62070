package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/postgres"
)

// dialTimeout bounds one try to reach an address.
const dialTimeout = 3 * time.Second

// machine collects what is wrong with a configuration on this machine.
type machine struct {
	ctx   context.Context
	f     *config.File
	found config.Problems
}

// checkMachine compares a configuration with this machine: programs,
// directories, ports, addresses. It changes nothing.
func checkMachine(ctx context.Context, f *config.File, ignorePorts bool) error {
	m := &machine{ctx: ctx, f: f}
	m.dataDir()
	m.programs()
	m.passwordFile()
	m.listens(ignorePorts)
	m.stores()
	if len(m.found) == 0 {
		return nil
	}
	return m.found
}

func (m *machine) problem(path, value, reason, remedy string) {
	place := m.f.Origin(path)
	if place == "default" {
		place = ""
	}
	m.found = append(m.found, config.Problem{Path: path, Place: place, Value: value, Reason: reason, Remedy: remedy})
}

// dataDir must be absent, empty, or a database.
func (m *machine) dataDir() {
	const path = "postgresql.data_dir"
	dir := m.f.Postgres.DataDir
	switch st, err := os.Stat(dir); {
	case dir == "":
		return // named as missing before
	case !filepath.IsAbs(dir):
		m.problem(path, dir, "is not absolute", "write the whole path")
		return
	case errors.Is(err, os.ErrNotExist):
		return
	case err != nil:
		m.problem(path, dir, "cannot be looked at: "+err.Error(), "run this as the user of the agent")
		return
	case !st.IsDir():
		m.problem(path, dir, "is not a directory", "name a directory, or one that does not exist yet")
		return
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		m.problem(path, dir, "cannot be read: "+err.Error(), "run this as the user of the agent")
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && e.Name() != "lost+found" {
			m.database(path, dir)
			return
		}
	}
}

// database checks that a directory with files is a whole database.
func (m *machine) database(path, dir string) {
	for _, name := range []string{"PG_VERSION", "global/pg_control", "pg_wal"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			m.problem(path, dir, "has files, but no "+name+": it is not a database", "name another directory, or empty this one")
			return
		}
	}
}

// programs must all be there, in a version that is supported and the data's.
func (m *machine) programs() {
	p := m.f.Postgres
	if dir := p.BinDir; dir != "" {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			m.problem("postgresql.bin_dir", dir, "is not a directory", "name the directory that holds the program postgres")
			return
		}
	}
	if p.DataDir == "" || !filepath.IsAbs(p.DataDir) {
		return
	}
	ctx, cancel := context.WithTimeout(m.ctx, 10*time.Second)
	defer cancel()
	for _, err := range postgres.CheckPrograms(ctx, postgres.Options{DataDir: p.DataDir, BinDir: p.BinDir, BinName: p.BinName}) {
		m.problem("postgresql.bin_dir", p.BinDir, err.Error(), "")
	}
}

func (m *machine) passwordFile() {
	path := m.f.Postgres.PgPass
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		m.problem("postgresql.pgpass", path, "is not a file", "name a file, or one that does not exist yet")
	}
}

// listens checks that the ports are free and the addresses this machine's.
func (m *machine) listens(ignorePorts bool) {
	check := func(path, listen string) {
		i := strings.LastIndexByte(listen, ':')
		if i < 0 {
			return
		}
		for host := range strings.SplitSeq(listen[:i], ",") {
			m.listen(path, strings.Trim(strings.TrimSpace(host), "[]"), listen[i+1:], ignorePorts)
		}
	}
	f := m.f
	check("restapi.listen", f.RestAPI.Listen)
	check("postgresql.listen", f.Postgres.Listen)
	if p := f.Proxy; p != nil {
		check("proxy.listen", p.Listen)
		check("proxy.listen_replicas", p.ListenReplicas)
		check("proxy.stats", p.Stats)
		for i, port := range p.Ports {
			check("proxy.ports["+strconv.Itoa(i)+"].listen", port.Listen)
		}
	}
	if e := f.Store.Embedded; e != nil {
		check("embedded.listen_peer", e.ListenPeer)
		check("embedded.listen_client", e.ListenClient)
	}
}

func (m *machine) listen(path, host, port string, ignorePorts bool) {
	if host == "*" {
		host = ""
	}
	address := net.JoinHostPort(host, port)
	if ignorePorts {
		port = "0" // the address alone
	}
	var lc net.ListenConfig
	l, err := lc.Listen(m.ctx, "tcp", net.JoinHostPort(host, port))
	if err == nil {
		l.Close()
		return
	}
	reason, remedy := "cannot be listened on: "+err.Error(), "give an address of this machine"
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		reason, remedy = "the name does not resolve: "+dns.Err, "give an address, or make the name known"
	case strings.Contains(err.Error(), "address already in use"):
		reason, remedy = "the port is already in use", "stop the other program, take another port, or say -i if it is this member"
	case strings.Contains(err.Error(), "cannot assign requested address"):
		reason = "is not an address of this machine"
	}
	m.problem(path, address, reason, remedy)
}

// stores must accept a connection; an embedded one may not run yet.
func (m *machine) stores() {
	s := m.f.Store
	if s.Embedded != nil {
		return
	}
	section := s.Kind
	if s.LegacyEtcd {
		section = "etcd"
	}
	for _, at := range s.Hosts {
		d := net.Dialer{Timeout: dialTimeout}
		c, err := d.DialContext(m.ctx, "tcp", at)
		if err != nil {
			m.problem(section+".hosts", at, fmt.Sprintf("accepts no connection: %v", err), "start the store, or correct the address")
			continue
		}
		c.Close()
	}
	if strings.HasPrefix(s.Kind, "etcd") && len(s.Hosts) == 0 && s.SRV == "" {
		m.problem(section, "", "names no server", "give host, hosts, url or srv")
	}
}
