package sim

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
)

// member is one host with its agent, guard and server.
type member struct {
	w      *world
	index  int
	name   string
	tags   cluster.Tags
	host   *host
	server *server
	guard  *guard
	agent  *agent
	dying  []dying

	voted       int // the lapse of the lease in which it last gave its word as a voter
	votedAt     time.Duration
	scheduled   cluster.ScheduledRestart // on disk
	wishes      int                      // counts the requests made of it
	skew        time.Duration            // of its wall clock
	storeSeen   storeSeen                // on disk
	newcomer    int                      // the life of the store in which it first saw one
	forgot      bool                     // it lost its note of the store
	blind       int                      // the life of the store in which it could not tell that it went back
	noise       int                      // faults that let its watch deliver things again
	robbed      time.Duration            // a person ended its session: excused until then
	loss        int                      // faults that lose some of its messages
	leftRunning bool                     // a paused cluster's agent ended and left a primary running
	stutters    []func()
	aims        []aim
	joined      bool  // people have made the agent a service of the host
	gone        bool  // removed for good
	foreign     *disk // the member's own, while another is mounted

	fails    fails
	slowStop time.Duration // what a shutdown may take more
	noticed  time.Duration // when its agent last saw that the store was another one
	stopping time.Duration // until when the server that is told to stop goes on serving
	fence    boot.Instant  // the kernel's: the port is closed from then on; zero: none stands
	struck   int           // life of the server in which a fault took its guard last
	orphan   bool          // neither guard nor agent can act: see orphaned
	alone    time.Duration // until when its having been an orphan may show

	grace      time.Duration // exempt from I1 until then, after a thaw or a pause
	pauseGrace time.Duration
	url        string
	api        string

	// promise is the length of the promise in the file that is kept while one may
	// last, and promisedTo the leader.
	promise    time.Duration
	promisedTo string

	loseReplies int // faults that lose the store's answers
}

func newMember(w *world, i int) *member {
	m := &member{w: w, index: i, name: names[i], skew: skewOf(i)}
	m.url = "postgres://" + m.name + ":5432/postgres"
	m.api = "http://" + m.name + ":8008/patroni"
	m.host = newHost(m)
	m.server = newServer(m)
	m.guard = &guard{m: m}
	m.agent = newAgent(m)
	return m
}

// Names differ in their first letter, so that a trace reads easily.
var names = [...]string{"ada", "bea", "cleo", "dora", "elsa", "fred", "gina"}

// skewOf is what the time service leaves of a wall clock's error.
func skewOf(i int) time.Duration { return time.Duration(i) * 700 * time.Millisecond }
