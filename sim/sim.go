package sim

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
)

// Options say how a world is run.
type Options struct {
	Mutant Mutant // a known-bad variant, empty for the program as it is
	Trace  bool   // write the story down
	Drop   []int  // faults of the schedule that do not happen
	// Lasts shortens faults, by their number; Members, when not zero, leaves only
	// the first of the members. Both make a failing world plainer.
	Lasts   map[int]time.Duration
	Members int
	// Focus, when not nil, draws faults from these kinds only.
	Focus []FaultKind
	// Plain leaves out what came to the simulator later: see model. Seeds that were
	// found before take the course that they had.
	Plain bool
	// StopAtFirst ends the world at its first violation.
	StopAtFirst bool
	// ClockRate, when not zero, replaces the bound on how far a clock's rate is
	// off true time, to show what happens beyond the bound.
	ClockRate float64
}

// Result is what came of a world.
type Result struct {
	Seed       uint64
	Options    Options
	Violations []Violation
	Faults     []Fault
	Trace      string
	Stats      Stats
}

// Stats counts what happened, so that a run can show that it exercised what it
// is there for.
type Stats struct {
	Reigns, Failovers, Switchovers, Fences, Rewinds, Clones int
	LostReplies, MidTurn, Faults, Requests, Commits, Lost   int
	Restarts, Reinits                                       int
	FailsafeRounds, Extended, Adrift                        int
	Seen                                                    Seen
	Reset                                                   int // takeovers with an allowed loss that a client could see
	Turns, Steps, Operations                                int
	Simulated                                               time.Duration
	Restores, NewStores, Overtaken, Compactions             int
	TakeOvers, GuardStops, Released, Stranded               int
	Embedded, Elections                                     int // worlds with an embedded store, and its elections
	Rules                                                   [maxRules]int
	// Acted counts the actions that were begun, Interrupted those that the agent
	// died or was stopped at: right before, in the middle, or right after.
	Acted, Interrupted PerAction
	Recovery           time.Duration // from the end of the faults to a primary
}

const maxRules = 32

// ruleIndex finds a rule's place in the table.
var ruleIDs = ha.RuleIDs()

func (s *Stats) fired(id ha.RuleID) {
	for i, r := range ruleIDs {
		if r == id {
			s.Rules[i]++
			return
		}
	}
}

// Run makes the world of a seed and lets it run: first with faults, then
// without, until everything is well again or should have been.
func Run(seed uint64, opt Options) Result {
	w := run(seed, opt)
	return Result{Seed: seed, Options: opt, Violations: w.check.violations, Faults: w.faults, Trace: w.trace.String(), Stats: w.stats}
}

func run(seed uint64, opt Options) *world {
	w := newWorld(seed, opt)
	w.faults = opt.plainer(w.voters.faults(w.withStoreFaults(seed, Faults(seed, opt))))
	w.describe(seed, w.faults)
	w.schedule(w.faults)
	for _, m := range w.members {
		w.join(m, w.upTo(2*time.Second))
	}
	w.clients.start()
	w.entry.start()
	w.voters.start()
	w.observeEvery()
	w.until(w.cfg.safety, nil)
	if !opt.StopAtFirst || len(w.check.violations) == 0 {
		w.settle()
	}
	w.check.copies()
	w.check.linear()
	w.store.checkKeys()
	w.stats.Steps, w.stats.Simulated, w.stats.Operations = w.steps, w.now, len(w.check.register.ops)
	return w
}

func (w *world) observeEvery() {
	w.after(checkEvery, func() {
		w.check.every()
		w.observeEvery()
	})
}

// settle is the second phase: I6 and I7.
func (w *world) settle() {
	w.cease()
	w.until(max(w.ceased+time.Minute, w.stopsBy()), w.allUp)
	if !w.allUp() {
		w.check.violate("I7", "the store does not answer, or somebody who was told to stop has neither stopped nor come back, within a minute")
	}
	w.ceased = w.now
	bound := w.cfg.longest + time.Second + w.grants()
	stopping := false
	w.until(w.ceased+bound, func() bool {
		stopping = stopping || w.stopUnderWay()
		return w.led()
	})
	if stopping {
		// A clean stop that began is waited for, as long as the archiver holds it, and
		// then for somebody who has its last record.
		bound += w.cfg.archive + 5*time.Second + w.grants()
		w.until(w.ceased+bound, w.led)
	}
	if w.stranded() {
		return
	}
	if !w.led() {
		w.check.violate("I6", "no primary %s after all faults ceased (%s granted beyond ttl + 1 s)", seconds(w.now-w.ceased), seconds(w.grants()))
	}
	w.stats.Recovery = w.now - w.ceased
	if w.opt.StopAtFirst && len(w.check.violations) > 0 {
		return
	}
	next := w.now
	settled := func() bool {
		if w.now < next {
			return false
		}
		next = w.now + 200*time.Millisecond
		w.mend()
		return w.unsettled() == ""
	}
	w.until(w.ceased+settleWithin, settled)
	if why := w.unsettled(); why != "" {
		inv := "I6"
		if w.store.view.Failover.Requested() || w.unanswered() != "" {
			inv = "I7"
		}
		w.check.violate(inv, "%s after all faults ceased: %s", seconds(settleWithin), why)
	}
}

// stopsBy is when whoever is told to stop is back: after a shutdown that a fault has
// made slow, which the archiver may hold up, too.
func (w *world) stopsBy() time.Duration {
	var by time.Duration
	for _, m := range w.members {
		if m.agent.stopping {
			by = max(by, m.stopping+w.cfg.archive+w.cfg.restart+5*time.Second)
		}
	}
	return by
}

// allUp: whoever was told to stop, or died, is back, and the store answers.
func (w *world) allUp() bool {
	if w.store.down {
		return false
	}
	for _, m := range w.members {
		if !m.gone && (!m.agent.alive || m.agent.stopping) {
			return false
		}
	}
	return true
}

// settleWithin is how long copying, rewinding and following may take.
const settleWithin = 180 * time.Second

// grants is what the design grants beyond ttl + 1 s: the store's timers started
// anew, its coarse clock, and the times that starting things takes here.
func (w *world) grants() time.Duration {
	g := w.promisesLast() + w.backOff() + w.cfg.expirySlop + 2*w.model.tick + 1500*time.Millisecond + w.cfg.start + w.cfg.recovery + w.cfg.promote
	// A renewal that was sent while the network was slow arrives yet.
	g += max(0, w.net.late-w.ceased)
	if w.store.extended > 0 && w.ceased-w.store.extended < w.cfg.longest {
		g += w.cfg.longest
	}
	if w.storeIsNews() {
		g += 2 * w.cfg.settings.TTL
	}
	return g
}

// stopUnderWay: somebody's server ends cleanly, or has ended and is being handed over.
func (w *world) stopUnderWay() bool {
	return slices.ContainsFunc(w.members, func(m *member) bool { return m.server.proc == ha.ProcessStopping })
}

// led: a primary accepts writes under the lease.
func (w *world) led() bool {
	m := w.member(w.store.view.Leader.Name)
	return m != nil && m.server.writable() && m.agent.keeper.held
}

// unsettled says what is not well yet.
func (w *world) unsettled() string {
	if !w.led() {
		return "nobody leads"
	}
	if f := w.store.view.Failover; f.Requested() {
		return fmt.Sprintf("the request %+v is neither carried out nor cleared", f)
	}
	if why := w.unanswered(); why != "" {
		return why
	}
	lead := w.member(w.store.view.Leader.Name)
	for _, m := range w.members {
		if m == lead || m.gone {
			continue
		}
		s := m.server
		if s.proc != ha.ProcessRunning || s.role != ha.ServerStandby || s.rx == nil || !lead.server.branch.contains(lead.server.end, s.branch, s.end) {
			return fmt.Sprintf("%s does not follow %s: %s %s at %s, upstream %q", m.name, lead.name, s.role, s.proc, s.position(), s.upstream.Name)
		}
	}
	return ""
}

func (w *world) unanswered() string {
	for _, m := range w.members {
		if why := m.unanswered(); why != "" && !m.gone {
			return why
		}
	}
	return ""
}

// Add sums two counts.
func (s *Stats) Add(o Stats) {
	s.Reigns += o.Reigns
	s.Failovers += o.Failovers
	s.Switchovers += o.Switchovers
	s.Fences += o.Fences
	s.Rewinds += o.Rewinds
	s.Clones += o.Clones
	s.LostReplies += o.LostReplies
	s.MidTurn += o.MidTurn
	s.Faults += o.Faults
	s.Requests += o.Requests
	s.Restarts += o.Restarts
	s.Reinits += o.Reinits
	s.Commits += o.Commits
	s.Lost += o.Lost
	s.Reset += o.Reset
	s.FailsafeRounds += o.FailsafeRounds
	s.Extended += o.Extended
	s.Adrift += o.Adrift
	s.Turns += o.Turns
	s.Steps += o.Steps
	s.Operations += o.Operations
	s.Simulated += o.Simulated
	s.Restores += o.Restores
	s.NewStores += o.NewStores
	s.Overtaken += o.Overtaken
	s.Compactions += o.Compactions
	s.TakeOvers += o.TakeOvers
	s.GuardStops += o.GuardStops
	s.Released += o.Released
	s.Stranded += o.Stranded
	s.Embedded += o.Embedded
	s.Elections += o.Elections
	s.Recovery += o.Recovery
	s.Seen.add(&o.Seen)
	s.Acted.add(&o.Acted)
	s.Interrupted.add(&o.Interrupted)
	for i := range s.Rules {
		s.Rules[i] += o.Rules[i]
	}
}

// Command is the one command that repeats the world and prints its story.
func (r Result) Command() string {
	var b strings.Builder
	fmt.Fprintf(&b, "go test ./sim -run 'TestSeed$' -seed=%d", r.Seed)
	if len(r.Options.Drop) > 0 {
		fmt.Fprintf(&b, " -drop=%s", joined(r.Options.Drop))
	}
	if len(r.Options.Lasts) > 0 {
		fmt.Fprintf(&b, " -lasts=%s", formatLasts(r.Options.Lasts))
	}
	if r.Options.Members > 0 {
		fmt.Fprintf(&b, " -members=%d", r.Options.Members)
	}
	if len(r.Options.Focus) > 0 {
		fmt.Fprintf(&b, " -focus=%s", joined(r.Options.Focus))
	}
	if r.Options.Plain {
		b.WriteString(" -plain")
	}
	if r.Options.Mutant != "" {
		fmt.Fprintf(&b, " -mutant='%s'", r.Options.Mutant)
	}
	return b.String() + " -v"
}

func joined[T any](list []T) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(list), "[]"), " ", ",")
}

// Silent lists the rules that never fired.
func (s Stats) Silent() []string {
	var out []string
	for i, id := range ruleIDs {
		if s.Rules[i] == 0 {
			out = append(out, string(id))
		}
	}
	sort.Strings(out)
	return out
}
