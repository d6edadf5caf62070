package up

import (
	"fmt"
	"path/filepath"
	"strconv"
)

// host is where everything listens: nothing of this cluster leaves the machine.
const host = "127.0.0.1"

// member is one server with its vote, or a vote alone (the witness).
type member struct {
	name    string
	dir     string
	witness bool
	pg      int // ports; pg and rest are 0 for a witness
	rest    int
	client  int // of the store
	peer    int
}

func (m member) file() string  { return filepath.Join(m.dir, m.name+".yml") }
func (m member) data() string  { return filepath.Join(m.dir, "data") }
func (m member) state() string { return filepath.Join(m.dir, "state") }

// runFile is where the store's process of this member says how it is.
func (m member) runFile() string { return filepath.Join(m.state(), "store.run") }
func (m member) base() string    { return "http://" + at(m.rest) }

// plan is the whole cluster: who, where, on which ports.
type plan struct {
	record
	dir      string
	members  []member // servers first, then the witness if there is one
	entry    int      // the entrypoint's read-write port; read-only is the next
	stats    int      // its statistics and journal
	entryDir string
}

func (p plan) servers() []member { return p.members[:p.Members] }

func (p plan) entryFile() string { return filepath.Join(p.entryDir, "entrypoint.yml") }
func (p plan) passFile() string  { return filepath.Join(p.dir, "pgpass") }

// votes is the number of voting members: an even number of servers gets a
// witness, since two votes of two, like four of four, lose their majority
// sooner than they must.
func votes(members int) int { return members | 1 }

// portCount is how many ports a cluster needs.
func portCount(members int) int { return 3 + 2*members + 2*votes(members) }

// newPlan lays the cluster out. Without a base port every kind of port begins
// where people look for it; with one, all follow each other from there.
func newPlan(dir string, r record) plan {
	p := plan{record: r, dir: dir, entry: 5000, stats: 7000, entryDir: filepath.Join(dir, "entrypoint")}
	pg, rest, store := 5432, 8008, 2379
	if r.BasePort != 0 {
		p.entry = r.BasePort
		pg = r.BasePort + 2
		rest = pg + r.Members
		store = rest + r.Members
		p.stats = store + 2*votes(r.Members) // last, as the others were there before it
	}
	for i := range votes(r.Members) {
		m := member{name: "n" + strconv.Itoa(i+1), pg: pg + i, rest: rest + i}
		if i >= r.Members {
			m = member{name: "witness", witness: true}
		}
		m.client, m.peer = store+2*i, store+2*i+1
		m.dir = filepath.Join(dir, m.name)
		p.members = append(p.members, m)
	}
	return p
}

// port is one that somebody will listen on.
type port struct {
	number int
	what   string
}

func (p plan) entryPorts() []port {
	return []port{{p.entry, "entrypoint, read-write"}, {p.entry + 1, "entrypoint, read-only"}, {p.stats, "entrypoint, statistics"}}
}

func (m member) serverPorts() []port {
	if m.witness {
		return nil
	}
	return []port{{m.pg, "PostgreSQL of " + m.name}}
}

func (m member) agentPorts() []port {
	if m.witness {
		return nil
	}
	return []port{{m.rest, "REST of " + m.name}}
}

func (m member) storePorts() []port {
	return []port{{m.client, "store of " + m.name}, {m.peer, "store of " + m.name + ", for the other votes"}}
}

// ports are all of the cluster's.
func (p plan) ports() []port {
	list := p.entryPorts()
	for _, kind := range []func(member) []port{member.serverPorts, member.agentPorts, member.storePorts} {
		for _, m := range p.members {
			list = append(list, kind(m)...)
		}
	}
	return list
}

func at(port int) string { return fmt.Sprintf("%s:%d", host, port) }
