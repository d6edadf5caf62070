package proxy

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/wal"
)

const (
	// settleWithin bounds how long the record of a primary that was found waits
	// for the clients that had waited for it.
	settleWithin = 5 * time.Second
	// dropsCount is how long before the loss of a primary a session that the
	// server ended counts as one that the loss broke: a server that is stopped
	// ends its sessions first and is given up seconds later.
	dropsCount = 30 * time.Second
	// quietFor is how long nobody may have been refused before the word of a
	// primary that did not accept connections counts again, although no client has
	// tried since.
	quietFor = 3 * time.Second
)

// served is a primary as the outages name it.
type served struct {
	member   string
	addr     string
	timeline wal.Timeline
}

// sessionEnd is how a session with a primary ended.
type sessionEnd int

const (
	endByClient sessionEnd = iota
	endByServer            // it hung up first, or its connection broke
	endByUs                // its permission had ended
)

// outages journals when the entrypoint had no primary, and what its clients felt
// then. An outage begins when the permission for the primary ends, or with the
// first writing client that cannot be passed on although it stands; it ends with
// the first that is, or with a permission while nobody waits.
//
// It is told of sessions only where they begin, wait and end, never per byte.
type outages struct {
	journal *journal.Journal
	clock   clock.Clock
	name    string

	// calm: a primary is served and there is nothing to write, so that a session
	// that begins need not take the lock. Written with mu held.
	calm     atomic.Bool
	drops    atomic.Int64 // sessions that the server ended since it took the last one
	lastByte atomic.Int64 // boot.Instant: a client's newest, of the sessions that ended

	mu       sync.Mutex
	dropped  boot.Instant // when the newest of drops ended
	since    boot.Instant // when the primary was lost
	refused  boot.Instant // when a connection to the primary failed last
	waits    int          // clients that ever waited: gives each a number
	waiting  int          // those that wait now
	felt     journal.Traffic
	found    *finding // the record that waits for its counts
	settling *time.Timer
}

// finding is a primary that was found, as of then.
type finding struct {
	at     time.Time
	now    boot.Instant
	who    served
	silent time.Duration
	upTo   int // clients with a greater number are not of this outage
	hold   int // clients of this outage that wait still
}

func newOutages(j *journal.Journal, c clock.Clock, name string) *outages {
	return &outages{journal: j, clock: c, name: name}
}

// start begins with an outage: nothing is known yet.
func (o *outages) start(why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.since = o.clock.Now()
	o.journal.Append(o.record(o.clock.Wall(), o.since, journal.EntrypointStarted, why, nil))
}

// stop writes what is still to be said.
func (o *outages) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.settle()
	o.journal.Append(o.record(o.clock.Wall(), o.clock.Now(), journal.EntrypointStopping, "the entrypoint was told to stop", nil))
}

func (o *outages) record(at time.Time, now boot.Instant, event, why string, t *journal.Traffic) journal.Record {
	r := journal.OfEvent(at, o.name, event, why).At(now)
	r.Event.Traffic = t
	return r
}

// lost notes that the primary is lost although its sessions go on. A loss within
// an outage is none.
func (o *outages) lost(who served, why string, open int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lose(who, why, open, false)
}

// cut notes that the primary is lost with its sessions, which shut ends: no end
// of theirs is counted before the loss.
func (o *outages) cut(who served, why string, open int, shut func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	shut()
	o.lose(who, why, open, true)
}

// lose is lost and cut; o.mu is held.
func (o *outages) lose(who served, why string, open int, cut bool) {
	if o.found != nil {
		o.settle() // it was served a moment ago: that comes first
	} else if !o.calm.Load() {
		return
	}
	now := o.clock.Now()
	gone := int(o.drops.Swap(0))
	if now.Sub(o.dropped) > dropsCount {
		gone = 0
	}
	o.calm.Store(false)
	o.since, o.felt = now, journal.Traffic{Broken: gone, Held: o.waiting}
	t := &journal.Traffic{Primary: who.member, Timeline: who.timeline, Open: open + gone, Broken: gone}
	if cut {
		t.Broken += open
	}
	o.journal.Append(o.record(o.clock.Wall(), now, journal.PrimaryLost, why, t))
}

// refuse notes that the primary does not accept connections.
func (o *outages) refuse(who served, why string, open int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refused = o.clock.Now()
	o.lose(who, why, open, false)
}

// open notes that a primary may be served. Where clients wait, the first that
// gets through proves it.
func (o *outages) open(who served) {
	if o.calm.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.calm.Load() || o.found != nil || o.waiting > 0 {
		return
	}
	o.find(who)
}

// proved is open for a primary that was lost only because it refused clients, or
// because the store named nobody: asked is when its own word was asked for.
func (o *outages) proved(who served, asked boot.Instant) {
	if o.calm.Load() {
		return
	}
	o.mu.Lock()
	fresh := asked > o.since && asked.Sub(o.refused) > quietFor
	o.mu.Unlock()
	if fresh {
		o.open(who)
	}
}

// quiet notes that a session has begun, and reports that there is nothing more to
// note about it: a server that takes sessions has lost none by its own end.
func (o *outages) quiet() bool {
	if o.drops.Load() != 0 {
		o.drops.Store(0)
	}
	return o.calm.Load()
}

// forwarded notes that a client is served, after quiet said that it matters.
func (o *outages) forwarded(who served) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.calm.Load() && o.found == nil {
		o.find(who)
	}
}

// find ends the outage; o.mu is held.
func (o *outages) find(who served) {
	f := &finding{at: o.clock.Wall(), now: o.clock.Now(), who: who, upTo: o.waits, hold: o.waiting}
	if last := boot.Instant(o.lastByte.Load()); !last.IsZero() {
		f.silent = f.now.Sub(last)
	}
	o.found = f
	if f.hold == 0 {
		o.settle()
		return
	}
	o.settling = time.AfterFunc(settleWithin, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.found == f {
			o.settle()
		}
	})
}

// settle writes the record of the primary that was found; o.mu is held.
func (o *outages) settle() {
	f := o.found
	if f == nil {
		return
	}
	if o.settling != nil {
		o.settling.Stop()
		o.settling = nil
	}
	t := o.felt
	t.Primary, t.Timeline = f.who.member, f.who.timeline
	t.Without, t.Silent = f.now.Sub(o.since), f.silent
	why := fmt.Sprintf("%s at %s is served", f.who.member, f.who.addr)
	if t.Held > 0 {
		why += fmt.Sprintf("; %d clients had waited, the longest %s", t.Held, t.Longest.Round(time.Millisecond))
	}
	o.journal.Append(o.record(f.at, f.now, journal.PrimaryFound, why, &t))
	o.found, o.felt = nil, journal.Traffic{}
	o.calm.Store(true)
}

// wait counts a client that is held, and returns what to call at the end of that.
func (o *outages) wait() (done func(released bool)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	began := o.clock.Now()
	o.waits++
	o.waiting++
	number := o.waits
	if o.found == nil && !o.calm.Load() {
		o.felt.Held++
	}
	return func(released bool) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.waiting--
		o.waited(number, released, o.clock.Now().Sub(began))
	}
}

// waited takes the end of a wait; o.mu is held.
func (o *outages) waited(number int, released bool, took time.Duration) {
	if o.calm.Load() || o.found != nil && number > o.found.upTo {
		return // of no outage, or longer than its record could wait
	}
	if released {
		o.felt.Released++
	} else {
		o.felt.Refused++
	}
	o.felt.Longest = max(o.felt.Longest, took)
	if o.found == nil {
		return
	}
	if o.found.hold--; o.found.hold <= 0 {
		o.settle()
	}
}

// turnedAway counts a client for whom there was no place to wait.
func (o *outages) turnedAway() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.found == nil && !o.calm.Load() {
		o.felt.Held++
		o.felt.Refused++
	}
}

// ended notes the end of a session with a primary, and when its client's last
// byte was sent on.
func (o *outages) ended(how sessionEnd, last boot.Instant) {
	for old := o.lastByte.Load(); int64(last) > old && !o.lastByte.CompareAndSwap(old, int64(last)); {
		old = o.lastByte.Load()
	}
	if how == endByClient {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case how == endByUs || !o.calm.Load() && o.found == nil:
		o.felt.Broken++ // a late one of an outage that was told of is in nobody's count
	default:
		o.dropped = o.clock.Now()
		o.drops.Add(1)
	}
}
