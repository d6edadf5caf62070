package sim

import "time"

// network is the links between endpoints: members 0…n−1, then the store, then
// the clients with their entrypoint, then the witness of an embedded store. Every
// direction of a pair is its own link. An embedded store is wherever its voters
// are: its own links only keep clients from it.
type network struct {
	w     *world
	size  int
	links []link
	late  time.Duration // when the last message arrives that a fault has slowed
}

// link is one direction between two endpoints.
type link struct {
	cuts  int           // number of faults that cut it
	extra time.Duration // added delay, up to
}

func newNetwork(w *world, size int) *network {
	return &network{w: w, size: size, links: make([]link, size*size)}
}

func (n *network) link(from, to int) *link { return &n.links[from*n.size+to] }

// open reports whether messages pass from one endpoint to another now.
func (n *network) open(from, to int) bool {
	if from == to {
		return true
	}
	if n.link(from, to).cuts > 0 {
		return false
	}
	switch v := n.w.voters; {
	case v == nil:
		return true
	case from == n.w.store.node:
		return v.reaches(to)
	case to == n.w.store.node:
		return v.reaches(from)
	}
	return true
}

// both reports whether messages pass in both directions now.
func (n *network) both(a, b int) bool { return n.open(a, b) && n.open(b, a) }

// delay draws how long a message takes.
func (n *network) delay(from, to int) time.Duration {
	d := 200*time.Microsecond + n.w.upTo(2*time.Millisecond) + n.w.moreUpTo(n.w.cfg.wide.latency)
	if l := n.link(from, to); l.extra > 0 {
		d += n.w.upTo(l.extra)
	}
	return d
}

// send delivers a message, or loses it when the link is cut as it leaves or as
// it would arrive.
func (n *network) send(from, to int, deliver func()) {
	if !n.open(from, to) || n.lost(from, to) || n.w.loses() {
		return
	}
	d := n.delay(from, to)
	if n.link(from, to).extra > 0 {
		n.late = max(n.late, n.w.now+d)
	}
	n.w.after(d, func() {
		if n.open(from, to) {
			deliver()
		}
	})
}

// lost draws whether a message gets lost. Streams are not concerned: what is
// lost there is sent again.
func (n *network) lost(from, to int) bool {
	for _, i := range [...]int{from, to} {
		if i < len(n.w.members) && n.w.members[i].loss > 0 && n.w.model.rng.IntN(3) == 0 {
			return true
		}
	}
	return false
}

// cut changes the number of faults that cut the link from one to another.
func (n *network) cut(from, to, by int) {
	n.link(from, to).cuts += by
	n.w.voters.changed()
}

// heal mends everything.
func (n *network) heal() {
	for i := range n.links {
		n.links[i] = link{}
	}
	n.w.voters.changed()
}
