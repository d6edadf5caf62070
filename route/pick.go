package route

import (
	"fmt"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// Access is what a connection may do.
type Access string

// The two kinds of access, one per port of the entrypoint.
const (
	ReadWrite Access = "read-write"
	ReadOnly  Access = "read-only"
)

// DefaultWordAge is how old a replica's word may be.
const DefaultWordAge = 5 * time.Second

// Policy says what a port of the entrypoint wants.
type Policy struct {
	Access Access
	// MaxLag in bytes: a replica that has replayed less than this short of the
	// furthest known position is not used. 0 sets no limit.
	MaxLag uint64
	// NoFallback refuses read-only connections when no replica is eligible,
	// instead of sending them to the leader.
	NoFallback bool
	// MaxWordAge bounds the age of a replica's word; 0 means DefaultWordAge.
	MaxWordAge time.Duration
}

// Load is what the entrypoint knows about a member by serving it.
type Load struct {
	Member   string
	Sessions int
	Down     bool // a connection to it failed just now
}

// Query is all that a choice depends on.
type Query struct {
	Now     boot.Instant
	View    cluster.View
	ViewAge time.Duration // for the texts; the leader's word decides, not the view's age
	Words   []Word        // at most one per member
	Loads   []Load
	Policy  Policy

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
	// Until is when the permission ends; zero for a replica, whose own server
	// refuses writes.
	Until boot.Instant
	// Why is one sentence: why this one, or why none.
	Why string
}

// Pick chooses a backend. It is total and pure; the same query gives the same
// choice, equal candidates are split by name.
func Pick(q Query) Choice {
	if q.Policy.Access == ReadOnly {
		return pickReplica(q)
	}
	return pickPrimary(q)
}

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

// pickReplica takes the least loaded eligible replica, then the leader.
func pickReplica(q Query) Choice {
	var best *candidate
	var why []string
	for _, m := range q.View.Members {
		c, reason := q.replica(m)
		if reason != "" {
			why = append(why, m.Name+" "+reason)
			continue
		}
		if best == nil || c.sessions < best.sessions ||
			c.sessions == best.sessions && c.backend.Member < best.backend.Member {
			best = &c
		}
	}
	if best != nil {
		return Choice{OK: true, Backend: best.backend,
			Why: fmt.Sprintf("%s is an eligible replica with %d sessions", best.backend.Member, best.sessions)}
	}
	reason := "no replica is eligible"
	if len(why) > 0 {
		reason += ": " + strings.Join(why, ", ")
	}
	if q.Policy.NoFallback {
		return refuse("%s", reason)
	}
	c := pickLeader(q)
	c.Why = reason + "; " + c.Why
	return c
}

// pickLeader is the fallback for reading: the primary, or the leader of a
// standby cluster, which is read-only by itself and needs no permission.
func pickLeader(q Query) Choice {
	w, _ := q.word(q.View.Leader.Name)
	if w.Role == cluster.RoleStandbyLeader && w.State == cluster.StateRunning && q.fresh(w) {
		if b, ok := q.backend(w.Member); ok {
			return Choice{OK: true, Backend: b, Why: b.Member + " leads the standby cluster"}
		}
	}
	return pickPrimary(q)
}

type candidate struct {
	backend  Backend
	sessions int
}

// replica says whether a member may serve reads, or why it may not.
func (q Query) replica(m cluster.Member) (candidate, string) {
	b, ok := q.backend(m.Name)
	w, _ := q.word(m.Name)
	load := q.load(m.Name)
	switch {
	case m.Name == q.View.Leader.Name:
		return candidate{}, "is the leader"
	case !ok:
		return candidate{}, "has published no usable address"
	case w.Asked.IsZero():
		return candidate{}, "has not answered"
	case !q.fresh(w):
		return candidate{}, fmt.Sprintf("answered last %s ago", q.age(w))
	case w.Name != "" && w.Name != m.Name:
		return candidate{}, "is answered for by " + w.Name
	case w.Role != cluster.RoleReplica:
		return candidate{}, "says it is " + orUnknown(string(w.Role))
	case w.State != cluster.StateRunning:
		return candidate{}, "is " + orUnknown(string(w.State))
	case w.ReplicationState != "streaming":
		return candidate{}, "is not streaming"
	case w.NoLoadBalance || m.Tags.NoLoadBalance:
		return candidate{}, "is tagged noloadbalance"
	case load.Down:
		return candidate{}, "did not accept a connection just now"
	}
	if lag := q.furthest().Sub(w.Replayed); q.Policy.MaxLag > 0 && lag > q.Policy.MaxLag {
		return candidate{}, fmt.Sprintf("lags %d bytes, limit %d", lag, q.Policy.MaxLag)
	}
	return candidate{b, load.Sessions}, ""
}

// furthest is the furthest position that anybody has told of. The leader's own
// is as old as its last publication; what a replica has received may be newer.
func (q Query) furthest() wal.LSN {
	out := q.View.Status.Optime
	for _, w := range q.Words {
		out = max(out, w.Received, w.Replayed)
	}
	return out
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
