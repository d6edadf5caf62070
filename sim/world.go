package sim

import (
	"math/rand/v2"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/ha/fence"
)

// world is everything there is, moved by one goroutine. Its time is true time,
// which nobody in it can read.
type world struct {
	opt   Options
	cfg   worldConfig
	model model
	rng   *rand.Rand
	// more is the source of what only wide worlds and newer faults draw, so that the
	// rest takes its course.
	more *rand.Rand
	now  time.Duration
	q    queue

	net     *network
	store   *store
	voters  *voters // nil: the store is not on the members' hosts
	members []*member
	clients *clients
	entry   *entrypoint
	check   *checker
	stats   Stats
	trace   *trace
	rules   func(ha.Observation, ha.Memory) ha.Decision // the code under test

	faults   []Fault
	branches []*branch
	reigns   int
	mended   time.Duration // when people last looked what they must mend
	systems  int
	ceased   time.Duration // when faults ceased, 0 before
	lastLed  *member
	steps    int

	unpromoted bool // a member's promotions failed until the faults ceased
}

// worldConfig is what is drawn once for a world.
type worldConfig struct {
	members   int
	settings  cluster.Settings
	budget    fence.Budget
	canRewind bool

	safety          time.Duration // length of the phase with faults
	requestTimeout  time.Duration
	peerTimeout     time.Duration
	receiverTimeout time.Duration
	expirySlop      time.Duration
	kill            time.Duration
	start           time.Duration
	recovery        time.Duration
	promote         time.Duration
	replay          time.Duration
	restart         time.Duration
	writeEvery      time.Duration
	burst           int
	helper          time.Duration // how late the guard's helper is
	copying         time.Duration // a base backup or a rewind
	archive         time.Duration // how long the archiver may hold the end of a clean stop
	wide            wide

	// What was ever in force.
	shortest, longest time.Duration // ttl
	lag               uint64        // the largest maximum_lag_on_failover
}

const checkEvery = time.Second

// drawConfig draws a world's settings; a swarm of unlike worlds finds more than
// many alike.
func drawConfig(r *rand.Rand) worldConfig {
	pick := func(ds ...time.Duration) time.Duration { return ds[r.IntN(len(ds))] }
	s := cluster.DefaultSettings()
	s.TTL = pick(8*time.Second, 10*time.Second, 15*time.Second, 20*time.Second, 30*time.Second)
	s.LoopWait = pick(2*time.Second, 3*time.Second, 5*time.Second, 10*time.Second)
	s.LoopWait = min(s.LoopWait, s.TTL/3)
	s.RetryTimeout = s.LoopWait
	s.MaxLagOnFailover = uint64(pick(2000, 20000, 1<<20))
	s.CheckTimeline = r.IntN(2) == 0
	s.PrimaryStartTimeout = pick(0, 5*time.Second, 60*time.Second)
	s.UsePgRewind = r.IntN(4) > 0
	s.RecloneOnRewindFailure = true
	s.RecloneOnDivergence = true
	if r.IntN(5) < 2 {
		s.SyncMode = cluster.SyncOn
	}
	return worldConfig{
		members: 2 + r.IntN(3) + r.IntN(5)/4, settings: s, budget: fence.DefaultBudget(), canRewind: r.IntN(6) > 0,
		safety:          60*time.Second + time.Duration(r.IntN(60))*time.Second,
		requestTimeout:  pick(time.Second, 2*time.Second, 3*time.Second),
		peerTimeout:     time.Second,
		receiverTimeout: pick(5*time.Second, 15*time.Second, 60*time.Second),
		expirySlop:      pick(0, 500*time.Millisecond, time.Second),
		kill:            pick(50*time.Millisecond, 300*time.Millisecond, 900*time.Millisecond),
		start:           pick(200*time.Millisecond, time.Second, 3*time.Second),
		recovery:        pick(100*time.Millisecond, time.Second, 8*time.Second),
		promote:         pick(50*time.Millisecond, 500*time.Millisecond, 5*time.Second),
		replay:          pick(0, 0, 50*time.Millisecond, time.Second),
		restart:         pick(time.Second, 5*time.Second, 20*time.Second),
		writeEvery:      pick(150*time.Millisecond, 400*time.Millisecond),
		burst:           int(pick(1000, 10000, 200000)),
		helper:          pick(0, 0, 2*time.Second, 8*time.Second),
		copying:         pick(500*time.Millisecond, 2*time.Second, 10*time.Second),
		archive:         pick(0, 0, time.Second, 40*time.Second),
	}
}

// configOf draws a seed's settings. A schedule that is drawn from some kinds of
// faults only is made wide by naming Wide among them.
func configOf(seed uint64, opt Options) worldConfig {
	c := drawConfig(rand.New(rand.NewPCG(seed, 1)))
	r := rand.New(rand.NewPCG(seed, 5))
	if !opt.Plain && (opt.Focus == nil && r.IntN(3) == 0 || opt.focuses(Wide)) {
		widen(&c, r)
	}
	c.shortest, c.longest, c.lag = c.settings.TTL, c.settings.TTL, c.settings.MaxLagOnFailover
	return c
}

func newWorld(seed uint64, opt Options) *world {
	w := &world{opt: opt, rng: rand.New(rand.NewPCG(seed, 0x6d61747269617263))}
	w.cfg = configOf(seed, opt)
	w.cfg.settings.Failsafe = drawFailsafe(seed, opt)
	w.cfg.settings.LoseLastRecord = seed%4 == 0 // not drawn: another draw would change every world
	if opt.Members > 0 {
		w.cfg.members = min(w.cfg.members, opt.Members)
	}
	w.model = drawModel(seed, opt)
	w.cfg.budget = opt.Mutant.budget(w.cfg.budget)
	w.trace, w.rules = &trace{on: opt.Trace}, opt.Mutant.decider()
	w.net = newNetwork(w, w.cfg.members+3)
	w.store = newStore(w, w.cfg.members)
	w.check = newChecker(w)
	tags := rand.New(rand.NewPCG(seed, 2))
	for i := range w.cfg.members {
		m := newMember(w, i)
		if m.tags = drawTags(tags, i); w.cfg.wide.on {
			m.tags = wideTags(tags, i)
		}
		w.members = append(w.members, m)
	}
	w.clients = newClients(w, seed)
	w.entry = newEntrypoint(w, seed)
	w.more = rand.New(rand.NewPCG(seed, 6))
	w.voters = newVoters(w, seed)
	w.adopt()
	return w
}

// drawTags gives some members tags; the first two may always lead.
func drawTags(r *rand.Rand, i int) cluster.Tags {
	var t cluster.Tags
	switch r.IntN(8) {
	case 0:
		t.NoFailover = i > 1
	case 1:
		t.NoSync = i > 1
	case 2:
		p := 2
		t.FailoverPriority = &p
	case 3:
		if i > 1 {
			t.ReplicateFrom = names[1]
		}
	}
	return t
}

func (w *world) member(name string) *member {
	for _, m := range w.members {
		if m.name == name {
			return m
		}
	}
	return nil
}

func (w *world) after(d time.Duration, fn func()) { w.q.push(w.now+max(0, d), fn) }

// upTo draws a duration in [0, d].
func (w *world) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rng.Int64N(int64(d) + 1))
}

// clockRate draws a clock's rate against true time: two clocks differ by at
// most 0.4 %, less than the fence allows for, or by the factor that a test of
// the bound asks for.
func (w *world) clockRate() float64 {
	bound := 0.002
	if w.opt.ClockRate > 0 {
		bound = w.opt.ClockRate
	}
	return 1 + bound*(2*w.rng.Float64()-1)
}

// decide is the code under test.
func (w *world) decide(o ha.Observation, m ha.Memory) ha.Decision {
	w.stats.Turns++
	if w.opt.Mutant == StartBlind && o.Server.Role == ha.ServerPrimary && m.Led == "" {
		m.Led = o.Lease.Session
	}
	w.opt.Mutant.misremember(&o, &m)
	d := w.rules(o, m)
	w.opt.Mutant.spoil(&o, &d)
	w.stats.fired(d.Rule)
	return d
}

// until runs the world up to t, or until it is done.
func (w *world) until(t time.Duration, done func() bool) {
	for len(w.q.heap) > 0 && w.q.heap[0].at <= t {
		e := w.q.pop()
		w.now = e.at
		w.steps++
		if w.steps > 1_000_000 {
			w.check.violate("progress", "the world does not come to rest")
			return
		}
		e.fn()
		if done != nil && done() {
			return
		}
		if w.opt.StopAtFirst && len(w.check.violations) > 0 {
			return
		}
	}
	w.now = t
}

// countReign tells handovers, failovers and restarts in place apart.
func (w *world) countReign(s *server) {
	w.stats.Reigns++
	if w.lastLed != nil && w.lastLed != s.m {
		w.stats.Failovers++
	}
	if f := w.store.view.Failover; w.lastLed != nil && w.lastLed != s.m && f.Requested() && f.Leader == w.lastLed.name {
		w.stats.Switchovers++
	}
	w.lastLed = s.m
}
