package etcdembed

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strconv"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.uber.org/zap"
)

// Identity is the number of a store, etcd's cluster id: it stands in the log of
// every member, in every answer to a client and in every message between
// members, and members of different numbers refuse each other's messages. It
// follows from a random token, drawn so that the highest byte is the store's
// generation: 1 for the first founding, one more with each decision of a person
// that gave the former store up. So whoever hears of two stores knows which one
// is over. Zero is none.
type Identity uint64

// lastGeneration is the highest that the byte can say.
const lastGeneration = 255

// Generation counts the foundings and recoveries up to this store.
func (i Identity) Generation() int { return int(i >> 56) }

// String is the number as etcd writes it.
func (i Identity) String() string {
	return fmt.Sprintf("%s (generation %d)", i.text(), i.Generation())
}

func (i Identity) text() string { return strconv.FormatUint(uint64(i), 16) }

func parseIdentity(s string) (Identity, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not the number of a store", s)
	}
	return Identity(n), nil
}

// supersedes reports whether a store of number i takes other's place.
func (i Identity) supersedes(other Identity) bool { return i.Generation() > other.Generation() }

// founding is the record inside the data directory that this member may vote in
// a store from its beginning. It lies where the votes will lie: while it exists
// without a log beside it, the member has never voted in that store.
type founding struct {
	Token string `json:"token"`
	ID    string `json:"id"`    // the number that follows from the token
	Alone bool   `json:"alone"` // a person founds the store with this member alone
	// Agreed: every member has this record, so the server may start.
	Agreed bool `json:"agreed"`
}

// newFounding draws a token for a store of the given generation.
func newFounding(c Config, generation int, alone bool) (founding, error) {
	if generation > lastGeneration {
		return founding{}, fmt.Errorf("the embedded store was recovered or founded anew %d times, which is the most: move its directories and %s away on all nodes, then they found a new one",
			lastGeneration, filepath.Base(c.beside(".json")))
	}
	for {
		f := founding{Token: rand.Text(), Alone: alone, Agreed: alone}
		id, err := f.identity(c)
		if err != nil {
			return f, err
		}
		if id.Generation() == generation {
			f.ID = id.text()
			return f, nil
		}
	}
}

// identity computes the store's number from the token, as etcd does.
func (f founding) identity(c Config) (Identity, error) {
	urls, err := types.NewURLsMap(f.cluster(c))
	if err != nil {
		return 0, err
	}
	cl, err := membership.NewClusterFromURLsMap(zap.NewNop(), f.etcdToken(c), urls)
	if err != nil {
		return 0, err
	}
	return Identity(cl.ID()), nil
}

// etcdToken is what etcd mixes into the numbers of the members and the store.
func (f founding) etcdToken(c Config) string { return c.settingsToken() + "-" + f.Token }

// cluster is etcd's form of the founding members.
func (f founding) cluster(c Config) string {
	if f.Alone {
		self, _ := c.self()
		return clusterOf(c, []Member{self})
	}
	return clusterOf(c, c.Members)
}

func (c Config) foundingPath() string { return filepath.Join(c.DataDir, "founding.json") }

// readFounding checks that the record fits the settings: the store's number
// depends on them.
func readFounding(c Config) (founding, Identity, error) {
	var f founding
	if err := readJSON(c.foundingPath(), &f); err != nil {
		return f, 0, err
	}
	id, err := f.identity(c)
	if err == nil && id.text() != f.ID {
		err = fmt.Errorf("%s was written for another scope or other members: give the former settings back; if the store never worked, move %s away on all nodes", c.foundingPath(), c.DataDir)
	}
	return f, id, err
}

func (c Config) memberDir() string { return filepath.Join(c.DataDir, "member") }
func (c Config) walDir() string    { return filepath.Join(c.memberDir(), "wal") }
