package route

import (
	"fmt"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
)

// Permission is what an entrypoint grants to those who may write: one backend,
// until an instant. An entrypoint has at most one at a time; the zero
// Permission allows nothing.
type Permission struct {
	Backend Backend
	Until   boot.Instant
}

// Ruling says what becomes of a permission: it goes on until another instant,
// or it ends and its sessions with it.
type Ruling struct {
	Keep  bool
	Until boot.Instant
	Why   string // the end, as clients are told
	// Detail is the ground, for the log: when the lease itself came to its end.
	Detail string
}

// Review judges a permission that was granted before. The leader key alone never
// ends it while nobody else holds the key: the store may have lost more than the
// leader did, and the leader's own word says whether it goes on.
func (q Query) Review(p Permission) Ruling {
	name, lead := p.Backend.Member, q.View.Leader
	w, _ := q.word(name)
	until := w.Authority(TTL(q.View))
	switch b, published := q.backend(name); {
	case lead.Held() && lead.Name != name && !q.Blind:
		return Ruling{Why: lead.Name + " is the leader now"}
	case until <= q.Now:
		return Ruling{Why: "the primary lost its lease", Detail: q.whyEnded(name, w)}
	case published && b != p.Backend:
		return Ruling{Why: "the address of the primary changed"}
	}
	return Ruling{Keep: true, Until: until}
}

// whyEnded says by what a lease ended that a word had stated.
func (q Query) whyEnded(name string, w Word) string {
	switch {
	case w.Name != "" && w.Name != name:
		return fmt.Sprintf("%s answers at the address of %s", w.Name, name)
	case w.Role != cluster.RolePrimary:
		return fmt.Sprintf("%s says that its server is %s", name, orUnknown(string(w.Role)))
	case w.Authority(TTL(q.View)).IsZero():
		return name + " says that it has no live lease"
	}
	return fmt.Sprintf("the time is over for which %s could be relied on when it answered last, %s ago", name, q.age(w))
}

// Forgets reports that the word of the new view's leader is to be forgotten: it
// was given before that member led, and proves nothing about this term. served
// is the member that has the permission, if any.
func Forgets(before, after cluster.View, served string) bool {
	return after.Leader.Name != before.Leader.Name && after.Leader.Name != served
}

// Leads reports whether a member's lease matters to the entrypoint: it holds
// the key, or has the permission.
func Leads(v cluster.View, served, name string) bool {
	return name != "" && (v.Leader.Name == name || served == name)
}

// How often members are asked. A leader that is not served yet is asked often:
// each of these is part of the outage that clients see. A member that does not
// answer our own question runs another program or none, and is spared.
const (
	askUnserved      = 50 * time.Millisecond
	askUnservedOther = 250 * time.Millisecond
	askAtLeast       = 10 * time.Millisecond
)

// Pace is how often and how patiently an entrypoint asks.
type Pace struct {
	Interval time.Duration // between two questions, when nothing presses
	Timeout  time.Duration // for one answer
}

// Patience bounds a question to a member by half of what its permission still
// gives, so that a lost packet leaves room for another question.
func (p Pace) Patience(now boot.Instant, open Permission, name string) time.Duration {
	if open.Backend.Member == name {
		return min(p.Timeout, max(askAtLeast, open.Until.Sub(now)/2))
	}
	return p.Timeout
}

// Next is how long after an answer, or after none came, a member is asked again.
// w is its last word; answers says that the last question to it was answered.
func (p Pace) Next(now boot.Instant, v cluster.View, open Permission, name string, w Word, answers bool) time.Duration {
	switch {
	case open.Backend.Member == name:
		return max(askAtLeast, min(p.Interval, open.Until.Sub(now)/4))
	case v.Leader.Name != name:
		return p.Interval
	case w.Leased && answers:
		return min(p.Interval, askUnserved)
	}
	return min(p.Interval, askUnservedOther)
}
