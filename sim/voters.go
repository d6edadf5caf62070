package sim

import (
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// VoterDown: a process of the embedded store is down.
	VoterDown FaultKind = "voter-down"
	// Embedded among the kinds of a focus puts the store on the members' hosts; it is
	// no fault.
	Embedded FaultKind = "embedded"
)

// voters are the members of an embedded store: one on each host, and a witness on a
// host of its own where the hosts are an even number. The store answers while a
// voter leads that a majority can speak with, and a member reaches it by way of any
// voter that can speak with that one; so a fault of a host or of a link is one of
// the store too. How the voters agree is not modelled: a leader without a majority
// answers nobody at once, and a new one takes a while to be elected.
type voters struct {
	w    *world
	rng  *rand.Rand
	node int   // of the witness
	at   []int // nodes; the witness's is the last where there is one
	down []int // faults that hold the voter's process down
	lead int   // index of at, −1: none
	// tied: the voter's process ends with the member's agent.
	tied bool
	vote uint64 // counts elections
}

// newVoters draws whether the store of a seed's world is an embedded one, from a
// source of its own.
func newVoters(w *world, seed uint64) *voters {
	r := rand.New(rand.NewPCG(seed, 8))
	if w.opt.Plain || w.opt.Focus == nil && r.IntN(3) > 0 || w.opt.Focus != nil && !w.opt.focuses(Embedded) {
		return nil
	}
	v := &voters{w: w, rng: r, node: w.cfg.members + 2, lead: -1}
	// Of an adopted cluster some agents start late (see join), and no voter waits for that.
	v.tied = r.IntN(2) == 0 && !w.cfg.wide.adopted
	for i := range w.cfg.members {
		v.at = append(v.at, i)
	}
	if w.cfg.members%2 == 0 {
		v.at = append(v.at, v.node)
	}
	v.down = make([]int, len(v.at))
	w.stats.Embedded++
	return v
}

// start has the first election.
func (v *voters) start() { v.changed() }

// faults adds to a schedule.
func (v *voters) faults(faults []Fault) []Fault {
	if v == nil {
		return faults
	}
	for range v.rng.IntN(4) {
		faults = append(faults, Fault{
			At: time.Duration(v.rng.Int64N(int64(v.w.cfg.safety))), Kind: VoterDown, A: v.rng.IntN(v.w.cfg.members),
			N: 1 + v.rng.IntN(5), Lasts: 100*time.Millisecond + time.Duration(v.rng.Int64N(int64(30*time.Second))),
		})
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return int(a.At - b.At) })
	return faults
}

// strike takes a voter down: the member's, the witness, or whichever leads.
func (v *voters) strike(f Fault, m *member, heal func(func())) {
	if v == nil {
		return
	}
	i := m.index
	switch {
	case f.N > 3 && v.lead >= 0:
		i = v.lead
	case f.N > 2:
		i = len(v.at) - 1
	}
	v.hold(i, 1)
	heal(func() { v.hold(i, -1) })
}

func (v *voters) hold(i, by int) {
	v.down[i] += by
	v.changed()
}

// heal lets all voters run.
func (v *voters) heal() {
	if v != nil {
		clear(v.down)
		v.changed()
	}
}

// alive: the voter answers. One whose disk hangs confirms nothing.
func (v *voters) alive(i int) bool {
	if v.down[i] > 0 {
		return false
	}
	if v.at[i] == v.node {
		return true
	}
	m := v.w.members[v.at[i]]
	return m.host.up && !m.host.frozen && !m.host.stuck && (!v.tied || m.agent.alive)
}

// counts: the voter has a part in majorities. One of a member that was removed for
// good was taken out of the store by the same person.
func (v *voters) counts(i int) bool { return v.at[i] == v.node || !v.w.members[v.at[i]].gone }

// majority: the voter can speak with more than half of all, itself included.
func (v *voters) majority(i int) bool {
	if !v.alive(i) || !v.counts(i) {
		return false
	}
	all, with := 0, 0
	for j := range v.at {
		if !v.counts(j) {
			continue
		}
		all++
		if v.alive(j) && v.w.net.both(v.at[i], v.at[j]) {
			with++
		}
	}
	return 2*with > all
}

// reaches: a voter that node can speak with speaks with the one that leads.
func (v *voters) reaches(node int) bool {
	if v.lead < 0 {
		return false
	}
	for i, at := range v.at {
		if v.alive(i) && v.w.net.both(node, at) && v.w.net.both(at, v.at[v.lead]) {
			return true
		}
	}
	return false
}

// changed looks who leads, after anything that voters depend on has changed.
func (v *voters) changed() {
	if v == nil || v.lead >= 0 && v.majority(v.lead) {
		return
	}
	if v.lead >= 0 {
		v.w.tracef("store: the voter on %s has no majority any more", v.name(v.lead))
		v.lead = -1
		v.w.store.settle()
	}
	v.vote++
	vote := v.vote
	v.w.after(time.Second+time.Duration(v.rng.Int64N(int64(2*time.Second))), func() {
		if v.vote == vote && v.lead < 0 {
			v.elect()
		}
	})
}

// elect makes one of those leader that can be; when none can, the next change of
// anything asks again.
func (v *voters) elect() {
	first := v.rng.IntN(len(v.at))
	for k := range v.at {
		if i := (first + k) % len(v.at); v.majority(i) {
			v.lead = i
			v.w.stats.Elections++
			v.w.tracef("store: the voter on %s leads", v.name(i))
			v.w.store.settle()
			return
		}
	}
}

func (v *voters) name(i int) string {
	if v.at[i] == v.node {
		return "the witness"
	}
	return names[v.at[i]]
}
