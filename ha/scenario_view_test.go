package ha_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

// editLease: held takes the free key too, as a confirmed take-leader does.
func editLease(w *world, a args) error {
	l := &w.o.Lease
	switch a.word(0) {
	case "held":
		w.renew(0)
		w.o.Store.View.Leader = cluster.Leader{Name: "a", Session: "sa", Version: w.version()}
	case "renewed":
		w.renew(0)
	case "refused":
		l.Held, l.LastError = false, "the leader key is gone"
	case "none":
		*l = ha.Lease{Session: "sa"}
	case "adrift":
		l.Adrift, l.Session = true, a.word(1)
	case "error":
		l.LastError = a.word(1)
	default:
		return a.each(fields{"session": text(&l.Session), "by_word": yes(&l.ByWord)})
	}
	return nil
}

func editStore(w *world, a args) error {
	s := &w.o.Store
	switch a.word(0) {
	case "down":
		s.Reachable, s.LastError = false, "no answer in 5s"
	case "up":
		s.Known, s.Reachable, s.LastError, s.Seen = true, true, "", w.o.Now
	case "unknown":
		*s = ha.Store{LastError: "no answer in 5s"}
	case "new":
		s.NewSince, s.NewHandover = w.o.Now, s.View.Handover.Version
	case "first":
		s.FirstSeen = w.o.Now
	default:
		return fmt.Errorf("want down, up, unknown, new or first")
	}
	return nil
}

func editInitialize(w *world, a args) error {
	i := &w.o.Store.View.Initialize
	if a.word(0) == "none" {
		*i = cluster.Initialize{}
		return nil
	}
	if !i.Present {
		i.Version = w.version()
	}
	i.Present = true
	owner := func(v string) error {
		i.Owner, i.OwnerSession = "", ""
		if v != "none" {
			i.Owner, i.OwnerSession = v, "s"+v
		}
		return nil
	}
	return a.each(fields{"system": func(v string) error { i.Version = w.version(); return text(&i.SystemID)(v) },
		"owner": owner, "session": text(&i.OwnerSession)})
}

func editLeader(w *world, a args) error {
	l := &w.o.Store.View.Leader
	if a.word(0) == "none" {
		*l = cluster.Leader{}
		return nil
	}
	*l = cluster.Leader{Name: a.word(0), Session: "s" + a.word(0), Version: w.version()}
	return a.rest(1).each(fields{"session": text(&l.Session)})
}

func editMember(w *world, a args) error {
	ms := &w.o.Store.View.Members
	if a.word(1) == "none" {
		*ms = slices.DeleteFunc(slices.Clone(*ms), func(m cluster.Member) bool { return m.Name == a.word(0) })
		return nil
	}
	// The memory may share the list.
	*ms = slices.Clone(*ms)
	m := w.member(a.word(0))
	return a.rest(1).each(join(tagFields(&m.Tags), fields{
		"state": text(&m.State), "role": text(&m.Role), "tl": number(&m.Timeline), "lsn": lsn(&m.XLog), "replayed": lsn(&m.Replayed), "url": text(&m.ConnURL),
		"api": text(&m.APIURL), "matriarch": text(&m.Matriarch), "guarded": yes(&m.Guarded),
		"checkpoint_pending": yes(&m.CheckpointPending), "replication": text(&m.ReplicationState),
	}))
}

func editStatus(w *world, a args) error {
	s := &w.o.Store.View.Status
	if a.word(0) == "none" {
		*s = cluster.Status{}
		return nil
	}
	s.Version = w.version()
	return a.each(fields{"optime": lsn(&s.Optime), "slots": slotStates(&s.Slots), "retain": words(&s.Retain)})
}

func editHistory(w *world, a args) error {
	h := &w.o.Store.View.History
	*h = cluster.History{}
	if a.word(0) == "none" {
		return nil
	}
	h.Present, h.Version = true, w.version()
	for _, one := range a {
		sw, err := switches(one)
		if err != nil {
			return err
		}
		h.Lines = append(h.Lines, cluster.HistoryLine{Timeline: sw[0].Timeline, LSN: sw[0].LSN})
	}
	return nil
}

func editTimelines(w *world, a args) error {
	t := &w.o.Store.View.Timelines
	*t = cluster.Timelines{}
	if a.word(0) == "none" {
		return nil
	}
	t.Version = w.version()
	for _, one := range a {
		part := strings.SplitN(one, ":", 3)
		var c cluster.TimelineClaim
		if err := number(&c.Timeline)(part[0]); err != nil || len(part) < 2 {
			return fmt.Errorf("want timeline:winner or timeline:winner:switch:checksum")
		}
		c.Winner = part[1]
		if len(part) == 3 {
			if err := ident(&c.Identity)(part[2]); err != nil {
				return err
			}
		}
		t.Claims = append(t.Claims, c)
	}
	return nil
}

func editFailover(w *world, a args) error {
	f := &w.o.Store.View.Failover
	*f = cluster.Failover{Version: w.version()}
	if a.word(0) == "none" {
		return nil
	}
	return a.each(fields{"leader": text(&f.Leader), "candidate": text(&f.Candidate), "at": text(&f.ScheduledAt)})
}

func editSync(w *world, a args) error {
	s := &w.o.Store.View.Sync
	if a.word(0) == "none" {
		*s = cluster.SyncState{}
		return nil
	}
	*s = cluster.SyncState{Version: w.version()}
	before := func() *cluster.SyncBefore {
		if s.Before == nil {
			s.Before = &cluster.SyncBefore{}
		}
		return s.Before
	}
	return a.each(fields{"leader": text(&s.Leader), "standbys": words(&s.Standbys),
		"before":          func(v string) error { return text(&before().Leader)(v) },
		"before_standbys": func(v string) error { return words(&before().Standbys)(v) },
		"before_tl":       func(v string) error { return number(&before().Timeline)(v) }})
}

func editHandover(w *world, a args) error {
	h := &w.o.Store.View.Handover
	*h = cluster.Handover{}
	if a.word(0) == "none" {
		return nil
	}
	h.Version = w.version()
	return a.each(fields{"leader": text(&h.Leader), "lsn": lsn(&h.LSN), "tl": number(&h.Timeline), "members": words(&h.Members),
		"term": func(v string) error { h.Term = cluster.Version(v); return nil }})
}

// editPeer: an answer is to the question asked last, and comes now.
func editPeer(w *world, a args) error {
	p := w.peer(a.word(0))
	switch {
	case a.word(1) == "silent":
		*p = ha.Peer{Name: p.Name, Asked: p.Asked}
		return nil
	case strings.HasPrefix(a.word(1), "error="):
		p.Error, p.Closed = strings.TrimPrefix(a.word(1), "error="), a.word(2) == "closed"
		p.ServerSilent = a.word(2) == "server-silent"
		return nil
	case p.Asked.IsZero():
		return fmt.Errorf("%s was never asked", p.Name)
	}
	if p.AnswerTo.IsZero() {
		// A healthy replica that has noticed.
		*p = ha.Peer{Name: p.Name, Asked: p.Asked, InRecovery: true, Voting: true, EligibleKnown: true, Eligible: true,
			Position: wal.Position{Timeline: 2, LSN: endLSN}}
	}
	p.AnswerTo, p.Answered, p.Error = p.Asked, w.o.Now, ""
	return a.rest(1).each(join(tagFields(&p.Tags), fields{
		"lsn": lsn(&p.Position.LSN), "tl": number(&p.Position.Timeline), "voting": yes(&p.Voting),
		"eligible": func(v string) error { p.EligibleKnown = v != "_"; return yes(&p.Eligible)(v) },
		"recovery": yes(&p.InRecovery), "watchdog_failed": yes(&p.WatchdogFailed), "agent_silent": yes(&p.AgentSilent),
	}))
}
