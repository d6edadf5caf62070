package route

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// Word is what one member's REST API last answered about itself. Without an
// answer there is no word; a failed question leaves the former word standing,
// and it ages.
type Word struct {
	Member string       `json:"member"` // whom we asked
	Asked  boot.Instant `json:"asked"`  // just before the question was sent; zero: no word
	// Name is how the answerer called itself; empty when the answer did not say.
	Name     string        `json:"name,omitempty"`
	Role     cluster.Role  `json:"role,omitempty"`
	State    cluster.State `json:"state,omitempty"`
	Timeline wal.Timeline  `json:"timeline,omitempty"`

	// Leased says that the answer stated how long the lease still lasts, which
	// only our own members do; Remaining and Session belong to it.
	Leased    bool          `json:"leased,omitempty"`
	Remaining time.Duration `json:"remaining,omitempty"`
	Session   string        `json:"session,omitempty"`
	// Locked says that the health check for a primary answered 200: all that a
	// member run by another program can say about its lease. TTL is the lease
	// length that the cluster asked for when the question was put; such a leader
	// renewed by that one, whatever the configuration says by now.
	Locked bool          `json:"locked,omitempty"`
	TTL    time.Duration `json:"ttl,omitempty"`

	ReplicationState string  `json:"replication_state,omitempty"`
	Received         wal.LSN `json:"received,omitempty"`
	Replayed         wal.LSN `json:"replayed,omitempty"`
	NoLoadBalance    bool    `json:"noloadbalance,omitempty"`
	// ReplayedAge is how old the last transaction was that it had replayed, by the
	// clocks of two hosts; zero: not known.
	ReplayedAge time.Duration `json:"replayed_age,omitempty"`
	Synchronous bool          `json:"synchronous,omitempty"` // says that it is a synchronous standby
	Zone        string        `json:"zone,omitempty"`        // its tag
}

// rateDivisor bounds how far the clocks of two hosts may differ in rate, 0.5 %:
// the leader counted its lease on its own clock, we count the rest on ours.
const rateDivisor = 200

// Authority returns the instant until which a word allows sending writes to the
// member that gave it; zero when it allows none. It counts from before the
// question was asked. A leader that cannot say how long its lease lasts is
// trusted for a third of ttl: long enough to survive a missed answer, and the
// best there is, since such a leader's own belief is not bounded by us. Of the
// ttl when it was asked and the ttl now, the smaller counts.
func (w Word) Authority(ttl time.Duration) boot.Instant {
	switch {
	case w.Asked.IsZero(), w.Role != cluster.RolePrimary, w.Name != "" && w.Name != w.Member:
		return 0
	case w.Leased && w.Remaining > 0:
		return w.Asked.Add(w.Remaining - w.Remaining/rateDivisor)
	case w.Leased, !w.Locked:
		return 0
	default:
		return w.Asked.Add(min(w.TTL, ttl) / 3)
	}
}

// TTL returns the lease length that the cluster's dynamic configuration asks
// for, and the default of 30 s when it says nothing usable.
func TTL(v cluster.View) time.Duration {
	var c struct {
		TTL any `json:"ttl"`
	}
	seconds := 0.0
	if json.Unmarshal([]byte(v.Config.JSON), &c) == nil {
		switch t := c.TTL.(type) {
		case float64:
			seconds = t
		case string:
			seconds, _ = strconv.ParseFloat(t, 64)
		}
	}
	if !(seconds >= 1 && seconds < math.MaxInt32) {
		return cluster.DefaultSettings().TTL
	}
	return time.Duration(seconds * float64(time.Second))
}
