package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// StoreKind says which coordination store a cluster uses.
type StoreKind string

// The kinds of stores.
const (
	ZooKeeper StoreKind = "zookeeper"
	Etcd      StoreKind = "etcd3"
	Embedded  StoreKind = "embedded"
)

// Options describe a cluster to make.
type Options struct {
	Store   StoreKind
	Members int // default 3
	// DCS is laid into bootstrap.dcs, as YAML lines indented by four spaces.
	DCS string
	// Member is laid at the top level of each member's file, as YAML lines.
	Member func(i int) string
	// PgParams is laid into postgresql.parameters, indented by four spaces.
	PgParams string
	// Bootstrap is laid into bootstrap, indented by two spaces.
	Bootstrap string
	// Names are the members' names and those of their hosts; default n1, n2, …
	Names []string
	// Timing is ttl, loop_wait and retry_timeout; default 20, 5, 5 seconds.
	Timing [3]int
	// Witness adds a voting host without PostgreSQL to the embedded store.
	Witness bool
	// StoreSection replaces the name of the store's section (etcd for etcd3).
	StoreSection string
	// StoreArgs are further arguments of the external store's program.
	StoreArgs []string
	// StoreVia replaces the store's address (by a relay's) for each member, in
	// order, for ZooKeeper and etcd.
	StoreVia func(n *Network, real string) string
}

// Cluster is a cluster on hosts of its own.
type Cluster struct {
	t       testing.TB
	Net     *Network
	Opt     Options
	Members []*Member
	Entry   *Host // runs the entrypoint
	StoreAt string
	Witness *Host // of the embedded store, if asked for
	store   *Host
	certs   Certs
	entry   *Process
	super   string // password of the superuser; empty: secret-super
}

// Member is one member of the cluster.
type Member struct {
	*Host
	c     *Cluster
	Index int
	Agent *Process
	as    string   // its name in the cluster; empty: the host's
	data  string   // where its data directory really is; empty: pg/data of the host
	argv  []string // how its agent is started; empty: the program and the file
}

// Binary is the program under test: bin/matriarch of this checkout, or the one
// that MATRIARCH_BIN names.
func Binary(t testing.TB) string {
	t.Helper()
	if b := os.Getenv("MATRIARCH_BIN"); b != "" {
		return b
	}
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "bin", "matriarch")
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("%s is missing: run make build first", bin)
	}
	return bin
}

// NewCluster makes the hosts, the store and the configuration files. Nothing of
// the cluster runs yet but the store.
func NewCluster(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Members == 0 {
		o.Members = 3
	}
	c := &Cluster{t: t, Net: NewNetwork(t), Opt: o}
	for i := range o.Members {
		name := fmt.Sprintf("n%d", i+1)
		if i < len(o.Names) {
			name = o.Names[i]
		}
		c.Members = append(c.Members, &Member{Host: c.Net.Host(name), c: c, Index: i})
	}
	c.Entry = c.Net.Host("entry")
	if o.Witness {
		c.Witness = c.Net.Host("witness")
	}
	if o.Store != Embedded {
		c.store = c.Net.Host("store")
		c.startStore()
	}
	var ips []string
	for _, h := range c.voters() {
		ips = append(ips, h.IP)
	}
	c.certs = MakeCerts(t, c.Net.Dir, ips)
	for _, m := range c.Members {
		c.prepare(m)
	}
	if w := c.Witness; w != nil {
		c.write(w, "witness.yml", c.common("witness", w.IP)+fmt.Sprintf("  data_dir: %s/store\n", w.Dir()))
	}
	c.write(c.Entry, "entry.yml", c.common("entry", "")+fmt.Sprintf("proxy:\n  listen: %s:5000\n  listen_replicas: %s:5001\n  stats: %s:7000\n", c.Entry.IP, c.Entry.IP, c.Entry.IP))
	return c
}

// voters are the hosts that vote in the embedded store.
func (c *Cluster) voters() []*Host {
	var out []*Host
	for _, m := range c.Members {
		out = append(out, m.Host)
	}
	if c.Witness != nil {
		out = append(out, c.Witness)
	}
	return out
}

// StartWitness starts the witness.
func (c *Cluster) StartWitness() *Process {
	return c.Witness.Start("witness", nil, Binary(c.t), "witness", filepath.Join(c.Witness.Dir(), "witness.yml"))
}

func (c *Cluster) startStore() {
	h := c.store
	switch c.Opt.Store {
	case ZooKeeper:
		c.StoreAt = h.IP + ":2181"
		c.write(h, "zoo.cfg", fmt.Sprintf("tickTime=2000\ndataDir=%s/zk\nclientPort=2181\nclientPortAddress=%s\nadmin.enableServer=false\nmaxClientCnxns=0\n", h.Dir(), h.IP))
		h.Start("zookeeper", nil, "java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dzookeeper.log.dir="+h.Dir(), "-cp", "/etc/zookeeper/conf:/usr/share/java/zookeeper.jar",
			"org.apache.zookeeper.server.quorum.QuorumPeerMain", filepath.Join(h.Dir(), "zoo.cfg"))
	case Etcd:
		c.StoreAt = h.IP + ":2379"
		h.Start("etcd", nil, append([]string{"etcd", "--data-dir", h.Dir() + "/etcd", "--listen-client-urls", "http://" + c.StoreAt, "--advertise-client-urls", "http://" + c.StoreAt,
			"--listen-peer-urls", "http://" + h.IP + ":2380", "--initial-advertise-peer-urls", "http://" + h.IP + ":2380", "--initial-cluster", "default=http://" + h.IP + ":2380"}, c.Opt.StoreArgs...)...)
	}
}

// KillStore kills the external store.
func (c *Cluster) KillStore() { c.store.killAll() }

// StartStore starts the external store again.
func (c *Cluster) StartStore() { c.startStore() }

// WaitStore waits until the external store takes connections.
func (c *Cluster) WaitStore(limit time.Duration) {
	c.t.Helper()
	Until(c.t, limit, "the store", func() string {
		conn, err := net.DialTimeout("tcp", c.StoreAt, time.Second)
		if err != nil {
			return err.Error()
		}
		conn.Close()
		return ""
	})
}

// StoreHost is the host of the external store.
func (c *Cluster) StoreHost() *Host { return c.store }

func (c *Cluster) write(h *Host, name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(h.Dir(), name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// common is what every file of the cluster begins with.
func (c *Cluster) common(name, self string) string {
	s := fmt.Sprintf("scope: lab\nname: %s\n", name)
	at := c.StoreAt
	if c.Opt.StoreVia != nil && self != "" {
		at = c.Opt.StoreVia(c.Net, at)
	}
	switch c.Opt.Store {
	case ZooKeeper:
		s += fmt.Sprintf("zookeeper:\n  hosts: ['%s']\n", at)
	case Etcd:
		section := "etcd3"
		if c.Opt.StoreSection != "" {
			section = c.Opt.StoreSection
		}
		s += fmt.Sprintf("%s:\n  hosts: ['%s']\n", section, at)
	case Embedded:
		s += "embedded:\n"
		if self != "" {
			s += fmt.Sprintf("  listen_peer: %s:2380\n  listen_client: %s:2379\n  advertise: %s\n", self, self, self)
		}
		s += "  partners:\n"
		for _, h := range c.voters() {
			s += fmt.Sprintf("    - {name: %s, peer: '%s:2380', client: '%s:2379'}\n", h.Name, h.IP, h.IP)
		}
		s += fmt.Sprintf("  cacert: %s\n  cert: %s\n  key: %s\n", c.certs.CA, c.certs.Cert, c.certs.Key)
	}
	return s
}

// As is the member's name in the cluster.
func (m *Member) As() string {
	if m.as != "" {
		return m.as
	}
	return m.Name
}

// File is the member's configuration file.
func (m *Member) File() string { return filepath.Join(m.Dir(), "member.yml") }

// DataDir is the member's data directory.
func (m *Member) DataDir() string {
	if m.data != "" {
		return m.data
	}
	return filepath.Join(m.Dir(), "pg", "data")
}

func (c *Cluster) prepare(m *Member) {
	pg, err := user.Lookup("postgres")
	if err != nil {
		c.t.Fatal(err)
	}
	uid, _ := strconv.Atoi(pg.Uid)
	gid, _ := strconv.Atoi(pg.Gid)
	dir := filepath.Join(m.Dir(), "pg")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		c.t.Fatal(err)
	}
	timing := c.Opt.Timing
	if timing[0] == 0 {
		timing = [3]int{20, 5, 5}
	}
	y := c.common(m.Name, m.IP)
	if c.Opt.Member != nil {
		y += c.Opt.Member(m.Index)
	}
	y += fmt.Sprintf(`restapi:
  listen: %[1]s:8008
  connect_address: %[1]s:8008
bootstrap:
  dcs:
    ttl: %[7]d
    loop_wait: %[8]d
    retry_timeout: %[9]d
    maximum_lag_on_failover: 16777216
%[2]s    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters:
        max_connections: 60
        wal_log_hints: "on"
  initdb:
  - encoding: UTF8
  - data-checksums
  - locale: C
%[3]spostgresql:
  listen: %[1]s:5432
  connect_address: %[1]s:5432
  data_dir: %[4]s
  authentication:
    superuser: {username: postgres, password: secret-super}
    replication: {username: replicator, password: secret-rep}
    rewind: {username: rewinder, password: secret-rewind}
  pg_hba:
  - local all all trust
  - host replication replicator 0.0.0.0/0 scram-sha-256
  - host all all 0.0.0.0/0 scram-sha-256
  parameters:
    shared_buffers: 16MB
    unix_socket_directories: %[5]s
%[6]s`, m.IP, c.Opt.DCS, c.Opt.Bootstrap, m.DataDir(), dir, c.Opt.PgParams, timing[0], timing[1], timing[2])
	c.write(m.Host, "member.yml", y)
}

// StartAgent starts the member's agent.
func (m *Member) StartAgent(env ...string) {
	m.c.t.Helper()
	argv := m.argv
	if len(argv) == 0 {
		argv = []string{Binary(m.c.t), "agent", m.File()}
	}
	m.Agent = m.Start("agent", env, argv...)
}

// StartAll starts all agents together, and the entrypoint.
func (c *Cluster) StartAll() {
	c.t.Helper()
	for _, m := range c.Members {
		m.StartAgent()
	}
	c.StartEntry()
}

// StartEntry starts the entrypoint.
func (c *Cluster) StartEntry() {
	c.entry = c.Entry.Start("proxy", nil, Binary(c.t), "proxy", filepath.Join(c.Entry.Dir(), "entry.yml"))
}

// EntryProcess is the entrypoint's process.
func (c *Cluster) EntryProcess() *Process { return c.entry }

var httpClient = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// Get asks the member's REST interface.
func (m *Member) Get(path string) (int, string, error) {
	resp, err := httpClient.Get("http://" + m.IP + ":8008" + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// Send sends a body to the member's REST interface, waiting up to limit.
func (m *Member) Send(method, path, body string, limit time.Duration) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+m.IP+":8008"+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// Status is what a member says of itself.
type Status struct {
	State    string
	Role     string
	Timeline int
	Version  int    `json:"server_version"`
	Repl     string `json:"replication_state"`
}

// Status asks the member for its status.
func (m *Member) Status() (Status, error) {
	_, body, err := m.Get("/patroni")
	var s Status
	if err == nil {
		err = json.Unmarshal([]byte(body), &s)
	}
	return s, err
}

// Leader returns the member that answers as primary with the lease, or nil.
func (c *Cluster) Leader() *Member {
	for _, m := range c.Members {
		if m.off {
			continue
		}
		if code, _, err := m.Get("/primary"); err == nil && code == 200 {
			if s, err := m.Status(); err == nil && s.Role == "primary" {
				return m
			}
		}
	}
	return nil
}

// WaitLeader waits for a leader other than not (nil: any).
func (c *Cluster) WaitLeader(limit time.Duration, not *Member) *Member {
	c.t.Helper()
	var lead *Member
	Until(c.t, limit, "a leader", func() string {
		lead = c.Leader()
		switch {
		case lead == nil:
			return "nobody leads\n" + c.Tails(6)
		case lead == not:
			return lead.Name + " still leads"
		}
		return ""
	})
	return lead
}

// WaitHealthy waits until somebody leads and all the others stream from it on
// its timeline.
func (c *Cluster) WaitHealthy(limit time.Duration) *Member {
	c.t.Helper()
	var lead *Member
	Until(c.t, limit, "a leader with all others streaming", func() string {
		lead = c.Leader()
		if lead == nil {
			return "nobody leads\n" + c.Tails(6)
		}
		ls, err := lead.Status()
		if err != nil {
			return err.Error()
		}
		for _, m := range c.Members {
			if m == lead || m.off || m.Agent == nil || m.Agent.Ended() {
				continue
			}
			s, err := m.Status()
			if err != nil || s.Role != "replica" || s.Repl != "streaming" || s.Timeline != ls.Timeline {
				return fmt.Sprintf("%s is %+v (%v), leader %s on timeline %d\n%s", m.Name, s, err, lead.Name, ls.Timeline, c.Tails(6))
			}
		}
		return ""
	})
	return lead
}

// Tails returns the last lines of every agent's log.
func (c *Cluster) Tails(n int) string {
	var b strings.Builder
	for _, m := range c.Members {
		if m.Agent != nil {
			fmt.Fprintf(&b, "--- %s\n%s\n", m.Name, m.Agent.Tail(n))
		}
	}
	return b.String()
}

// Others are the members except one.
func (c *Cluster) Others(not *Member) []*Member {
	var out []*Member
	for _, m := range c.Members {
		if m != not {
			out = append(out, m)
		}
	}
	return out
}

// DSN is a connection string to the member's own server.
func (m *Member) DSN() string { return m.c.DSNOf(m.IP, 5432) }

// DSN is a connection string to the entrypoint's read-write port.
func (c *Cluster) DSN() string { return c.DSNOf(c.Entry.IP, 5000) }

// ReadDSN is a connection string to the entrypoint's read-only port.
func (c *Cluster) ReadDSN() string { return c.DSNOf(c.Entry.IP, 5001) }

// DSNOf is the superuser's connection string to an address.
func (c *Cluster) DSNOf(host string, port int) string {
	password := c.super
	if password == "" {
		password = "secret-super"
	}
	return fmt.Sprintf("postgres://postgres:%s@%s:%d/postgres?sslmode=disable&connect_timeout=5", password, host, port)
}

// SQL runs a statement and returns the first column of its rows as text.
func SQL(dsn, sql string) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (string, error) {
		return fmt.Sprint(string(r.RawValues()[0])), nil
	})
}

// MustSQL is SQL that must succeed.
func MustSQL(t testing.TB, dsn, sql string) []string {
	t.Helper()
	rows, err := SQL(dsn, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return rows
}

// SocketDSN is a connection string to the member's own server by its socket,
// which works however the host is cut off.
func (m *Member) SocketDSN() string {
	return fmt.Sprintf("host=%s port=5432 user=postgres dbname=postgres connect_timeout=5", filepath.Dir(m.DataDir()))
}

// Postmaster returns the pid of the member's postmaster, 0 when there is none.
func (m *Member) Postmaster() int {
	b, err := os.ReadFile(filepath.Join(m.DataDir(), "postmaster.pid"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.SplitN(string(b), "\n", 2)[0])
	if pid > 0 && syscall.Kill(pid, 0) != nil {
		return 0
	}
	return pid
}
