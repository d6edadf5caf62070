package route

import (
	"fmt"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
)

// Access is what a connection may do.
type Access string

// The kinds of access.
const (
	ReadWrite Access = "read-write" // the primary
	ReadOnly  Access = "read-only"  // replicas
	Any       Access = "any"        // all that can be read, the primary too
	Sync      Access = "sync"       // synchronous standbys
)

// DefaultWordAge is how old a replica's word may be.
const DefaultWordAge = 5 * time.Second

// Policy says what a port of the entrypoint wants.
type Policy struct {
	Access Access
	// Member is the only one to use, if it is fit for the access; empty: all are.
	Member string
	// Zone is preferred: members whose tag says another are used when none of it can be.
	Zone string
	// MaxLagTime bounds how long a replica may have not replayed what was known; 0
	// sets no limit.
	MaxLagTime time.Duration
	// MaxLag in bytes: a replica that has replayed less than this short of the
	// furthest known position is not used. 0 sets no limit.
	MaxLag uint64
	// NoFallback refuses connections when no member is eligible, instead of sending
	// them to the leader.
	NoFallback bool
	// MaxConnections is how many sessions of the port one member serves at once; 0
	// sets no limit.
	MaxConnections int
	// SlowStart is how long a member that the port uses again takes to come to its whole
	// share of the sessions; 0: at once.
	SlowStart time.Duration
	// MaxWordAge bounds the age of a replica's word; 0 means DefaultWordAge.
	MaxWordAge time.Duration
}

// reads: whoever comes may be led to a server that only reads.
func (p Policy) reads() bool { return p.Access == ReadOnly || p.Access == Any || p.Access == Sync }

// Load is what the entrypoint knows about a member by serving it.
type Load struct {
	Member   string
	Sessions int
	AtPort   int           // of the sessions those of the port that asks
	Used     time.Duration // for which the port has used it; 0: not yet
	Down     bool          // a connection to it failed just now
}

// Query is all that a choice depends on.
type Query struct {
	Now     boot.Instant
	View    cluster.View
	ViewAge time.Duration // for the texts; the leader's word decides, not the view's age
	Words   []Word        // at most one per member
	Loads   []Load
	Policy  Policy
	History History // of the furthest position, for a limit of lag in time

	// Members are known besides the view's: they had a key in it until the store
	// lost that.
	Members []cluster.Member
	// Blind: the store does not answer. Who holds the key in View led when it was
	// read, which is no more than that.
	Blind bool
	// Since is when the leader key was first seen as it is in View, or when the
	// store was lost, if that is later. What a member that does not hold the key
	// said before proves nothing.
	Since boot.Instant
}

// Backend is where a connection may go.
type Backend struct {
	Member string `json:"member"`
	Addr   string `json:"addr"` // host:port of its PostgreSQL
}

// Choice is the answer: a backend, or a refusal with its reason.
type Choice struct {
	OK      bool
	Backend Backend
	// Full refuses for the time being: whoever could serve has all the sessions that
	// the port allows it.
	Full bool
	// Until is when the permission ends; zero for a replica, whose own server
	// refuses writes.
	Until boot.Instant
	// Why is one sentence: why this one, or why none.
	Why string
}

// Pick chooses a backend. It is total and pure; the same query gives the same
// choice, equal candidates are split by name.
func Pick(q Query) Choice {
	if q.Policy.reads() {
		return pickReader(q)
	}
	c := pickPrimary(q)
	if c.OK && !q.Policy.serves(c.Backend.Member) {
		return refuse("%s leads, and this port is for %s", c.Backend.Member, q.Policy.Member)
	}
	return q.limited(c)
}

// limited refuses a choice that has all the sessions that it may have.
func (q Query) limited(c Choice) Choice {
	if c.OK && q.full(c.Backend.Member) {
		return Choice{Full: true, Why: fmt.Sprintf("%s has %d sessions of this port, limit %d", c.Backend.Member, q.load(c.Backend.Member).AtPort, q.Policy.MaxConnections)}
	}
	return c
}

func (q Query) full(member string) bool {
	return q.Policy.MaxConnections > 0 && q.load(member).AtPort >= q.Policy.MaxConnections
}

// serves reports whether a port may use a member at all.
func (p Policy) serves(name string) bool { return p.Member == "" || p.Member == name }

func refuse(format string, args ...any) Choice { return Choice{Why: fmt.Sprintf(format, args...)} }

// pickPrimary takes the holder of the key, by its own word. Where the store names
// none that counts, a member's own word that its lease lasts is enough: a lease
// can outlive its key (failsafe mode), and an entrypoint its store.
func pickPrimary(q Query) Choice {
	c := pickHolder(q)
	if !c.OK && (q.Blind || !q.View.Leader.Held()) {
		if other := pickByWord(q); other.OK {
			return other
		}
	}
	return c
}

// pickByWord takes the member that says that it leads; the newest word if two do.
func pickByWord(q Query) Choice {
	var best Word
	for _, w := range q.Words {
		leads := w.Leased && w.State == cluster.StateRunning && w.Member != q.View.Leader.Name && w.Authority(TTL(q.View)) > q.Now
		if leads && w.Asked > q.Since && (w.Asked > best.Asked || w.Asked == best.Asked && w.Member < best.Member) {
			best = w
		}
	}
	b, ok := q.backend(best.Member)
	if !ok {
		return refuse("nobody says that it leads")
	}
	until := best.Authority(TTL(q.View))
	return Choice{OK: true, Backend: b, Until: until,
		Why: fmt.Sprintf("%s says that it leads, its lease is good for %s; the store does not say who does", b.Member, until.Sub(q.Now).Round(time.Millisecond))}
}

func pickHolder(q Query) Choice {
	name := q.View.Leader.Name
	if !q.View.Leader.Held() {
		return refuse("nobody holds the leader key (view is %s old)", q.ViewAge.Round(time.Millisecond))
	}
	b, ok := q.backend(name)
	if !ok {
		return refuse("the leader key names %s, which has published no usable address", name)
	}
	w, _ := q.word(name)
	until := w.Authority(TTL(q.View))
	switch {
	case w.Asked.IsZero():
		return refuse("the leader %s has not answered yet", name)
	case w.Name != "" && w.Name != name:
		return refuse("the address of the leader %s is answered by %s", name, w.Name)
	case w.Role != cluster.RolePrimary:
		return refuse("the leader %s says that its server is %s, not a primary", name, orUnknown(string(w.Role)))
	case until.IsZero():
		return refuse("the leader %s says that it has no live lease", name)
	case until <= q.Now:
		return refuse("the lease of the leader %s, as it last answered %s ago, has ended", name, q.age(w))
	case w.State != cluster.StateRunning:
		return refuse("the server of the leader %s is %s", name, orUnknown(string(w.State)))
	}
	return Choice{OK: true, Backend: b, Until: until,
		Why: fmt.Sprintf("%s leads, its lease is good for %s", name, until.Sub(q.Now).Round(time.Millisecond))}
}

func (q Query) backend(name string) (Backend, bool) {
	if b, ok := BackendOf(q.View, name); ok {
		return b, true
	}
	return BackendOf(cluster.View{Members: q.Members}, name)
}

// BackendOf returns where a member's PostgreSQL is, if it published that.
func BackendOf(v cluster.View, name string) (Backend, bool) {
	m, ok := v.Member(name)
	host, port := m.HostPort()
	if !ok || host == "" {
		return Backend{}, false
	}
	return Backend{Member: name, Addr: joinHostPort(host, port)}, true
}

func (q Query) word(name string) (Word, bool) {
	for _, w := range q.Words {
		if w.Member == name {
			return w, true
		}
	}
	return Word{}, false
}

func (q Query) load(name string) Load {
	for _, l := range q.Loads {
		if l.Member == name {
			return l
		}
	}
	return Load{Member: name}
}

func (q Query) fresh(w Word) bool {
	limit := q.Policy.MaxWordAge
	if limit == 0 {
		limit = DefaultWordAge
	}
	return !w.Asked.IsZero() && q.Now.Sub(w.Asked) <= limit
}

func (q Query) age(w Word) time.Duration { return q.Now.Sub(w.Asked).Round(time.Millisecond) }

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// joinHostPort is net.JoinHostPort, without that package's sockets.
func joinHostPort(host, port string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}
