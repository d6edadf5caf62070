package etcd

import (
	"fmt"
	"log/slog"
	"strconv"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/matriarch-ha/matriarch/dcs"
)

// mark is a point in the life of one store: which store it is, and how far it
// has certainly come.
type mark struct {
	cluster  uint64 // etcd's cluster id, 0 before the first answer
	term     uint64
	revision int64
	// generation counts how often the store was found to be another one, or to
	// have gone back. A restored store keeps the cluster id: it is made of the
	// token and the peer addresses.
	generation int
}

// id is the identity as dcs.Snapshot gives it.
func (m mark) id() string {
	id := strconv.FormatUint(m.cluster, 16)
	if m.generation > 0 {
		id += "-" + strconv.Itoa(m.generation)
	}
	return id
}

// identity watches over which store answers. Whatever a quorum stands behind (a
// linearizable read, a write) comes from a state that is no older than any that
// was known when the question was sent: raft commits an entry of its own at the
// beginning of each term, and a server names the term and the revision that it
// has applied. So such an answer with a lower term or revision than its question
// knew of is no late one: it comes from another store.
type identity struct {
	log *slog.Logger

	mu   sync.Mutex
	seen mark
}

// now is what a question that is sent now knows of.
func (i *identity) now() mark {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.seen
}

// check takes the header of an answer that a quorum stands behind, to a question
// sent at m, and returns an error when it is not the word of the store of m: such
// an answer must count for nothing. Whoever is asked from now on answers for the
// new store.
func (i *identity) check(addr string, h *pb.ResponseHeader, m mark) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.seen.generation != m.generation {
		return fmt.Errorf("%w: noticed while %s was asked", errReplaced, addr)
	}
	got := mark{cluster: h.GetClusterId(), term: h.GetRaftTerm(), revision: h.GetRevision(), generation: m.generation}
	known := i.seen.cluster != 0
	if known && (got.cluster != i.seen.cluster || got.term < m.term || got.revision < m.revision) {
		got.generation++
		i.log.Warn("etcd is another store than before, or was restored from an older state: sessions of the former one are over",
			"server", addr, "cluster_id", strconv.FormatUint(got.cluster, 16), "raft_term", got.term, "revision", got.revision,
			"known_cluster_id", strconv.FormatUint(i.seen.cluster, 16), "known_raft_term", m.term, "known_revision", m.revision)
		i.seen = got
		return fmt.Errorf("%w: %s answered for cluster %x at raft term %d and revision %d, after cluster %x, term %d, revision %d",
			errReplaced, addr, got.cluster, got.term, got.revision, m.cluster, m.term, m.revision)
	}
	i.raise(got)
	return nil
}

// heard takes the header of an answer that one server gave alone. One that lags
// behind may rightly name an older state, so it proves nothing about the store.
func (i *identity) heard(addr string, h *pb.ResponseHeader, id string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.seen.id() != id || h.GetClusterId() != i.seen.cluster || h.GetRaftTerm() < i.seen.term {
		return fmt.Errorf("%w: %s is behind, or belongs to another store: cluster %x at raft term %d after cluster %x, term %d",
			dcs.ErrUnavailable, addr, h.GetClusterId(), h.GetRaftTerm(), i.seen.cluster, i.seen.term)
	}
	i.raise(mark{cluster: h.GetClusterId(), term: h.GetRaftTerm(), revision: h.GetRevision()})
	return nil
}

func (i *identity) raise(got mark) {
	i.seen.cluster = got.cluster
	i.seen.term = max(i.seen.term, got.term)
	i.seen.revision = max(i.seen.revision, got.revision)
}
