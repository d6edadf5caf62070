package up

import (
	"fmt"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/dcs/etcdembed"
)

// told is what is known of a member, and what of it was said.
type told struct {
	words  string // now
	since  time.Time
	said   string
	server string // when its server was started
}

// startedAnew: the server is another one than when it was last seen.
func (t *told) startedAnew(s sight) bool {
	if !s.ok || s.doc.PostmasterStart == "" {
		return false
	}
	before := t.server
	t.server = s.doc.PostmasterStart
	return before != "" && before != t.server
}

const (
	// transient conditions are told when they last longer.
	transient = 1500 * time.Millisecond
	// lateAfter: a start that takes longer deserves a hint where to look.
	lateAfter = 30 * time.Second
)

// tell says what changed, and once that all is complete.
func (r *runner) tell() {
	if v := r.voteWords(); v != r.votes {
		if r.votes != "" || !strings.HasPrefix(v, "0 ") {
			r.screen.say("store: %s", v)
		}
		r.votes = v
	}
	live := []string{"store: " + r.votes}
	for i, m := range r.plan.servers() {
		t := &r.told[i]
		w, steady := words(r.seen[i], t.words)
		if w != t.words {
			t.words, t.since = w, time.Now()
		}
		anew := t.startedAnew(r.seen[i])
		if anew && w == t.said && r.ready { // quicker than two looks
			r.screen.say("%s %s; its server was started again", m.name, w)
		}
		if w != t.said && w != starting && (steady || time.Since(t.since) > transient) {
			t.said = w
			r.screen.say("%s %s", m.name, w)
		}
		live = append(live, m.name+" "+progress(r.seen[i], w))
	}
	if r.ready {
		return
	}
	r.screen.show(strings.Join(live, " · "))
	switch {
	case whole(r.seen) && taken(r.plan.entry) != nil && taken(r.plan.entry+1) != nil:
		r.ready = true
		r.screen.show("")
		r.summarize()
	case !r.late && time.Since(r.screen.begun) > lateAfter:
		r.late = true
		r.screen.say("this takes long. The last words:")
		for i, m := range r.plan.servers() {
			r.screen.say("  %s: %s", m.name, lastLine(r.agents[i].log))
		}
	}
}

func (r *runner) voteWords() string {
	up, last := 0, ""
	for _, s := range r.stores {
		st := s.State()
		if st.PID != 0 && st.Phase == etcdembed.Ready {
			up++
		} else if st.Phase == etcdembed.Refused || st.Phase == etcdembed.Failed {
			last = ": " + st.Name + " " + st.Message
		}
	}
	return fmt.Sprintf("%d of %d votes up%s", up, len(r.stores), last)
}
