package explain

import (
	"fmt"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/wal"
)

// data tells what the new primary had, and what was lost.
func (t *teller) data() []Statement {
	var out []Statement
	if t.c.promote != nil {
		o := t.c.promote.turn().Observation
		s := said(t.c.promote, "%s was promoted at %s.", t.c.To, position(o.Server.Position))
		if at := o.Store.View.Status.Optime; at > 0 {
			s.Text += fmt.Sprintf(" The last position that a leader had published was %s.", at)
		}
		out = append(out, s)
		if sync := o.Store.View.Sync; sync.Active() {
			text := fmt.Sprintf("Replication was synchronous, and the store listed %s among those that hold every acknowledged commit.", t.c.To)
			if !t.syncHeld() {
				text = fmt.Sprintf("Replication was synchronous, and the store did not list %s among those that hold every acknowledged commit.", t.c.To)
			}
			out = append(out, follows(text, t.c.take, t.c.promote))
		}
	}
	return append(out, t.lossOfData().Statement)
}

// syncHeld: the synchronous set held the winner when it took the lease.
func (t *teller) syncHeld() bool {
	if !t.c.raced() {
		return false
	}
	sync := t.c.take.turn().Observation.Store.View.Sync
	return sync.Active() && sync.Holds(t.c.To)
}

// lossOfData is the best that can be said of what was lost, surest first.
func (t *teller) lossOfData() Loss {
	if e := t.recordsLost(); e != nil {
		l := e.rec.Event.Loss
		return Loss{Known: true, Bytes: l.Bytes, TransactionsKnown: l.TransactionsKnown, Transactions: max(0, l.Transactions), Statement: lossText(e, t.c.From)}
	}
	if s, ok := t.cleanEnd(); ok {
		return Loss{Known: true, TransactionsKnown: true, Statement: s}
	}
	if bytes, s, ok := t.comparedEnd(); ok {
		return Loss{Known: true, Bytes: bytes, TransactionsKnown: bytes == 0, Statement: s}
	}
	if t.c.From == t.c.To {
		return Loss{Statement: follows(fmt.Sprintf("%s went on from its own data: whatever it had written to its disk is still there.", t.c.To), t.c.promote)}
	}
	if t.syncHeld() {
		return Loss{Acknowledged: true, Statement: follows(fmt.Sprintf("No commit that was acknowledged is lost: %s was a synchronous standby. What was not acknowledged may be missing.", t.c.To), t.c.take)}
	}
	if t.c.promote != nil {
		o := t.c.promote.turn().Observation
		published, has := o.Store.View.Status.Optime, o.Server.Position.LSN
		if lag := published.Sub(has); lag > 0 && published > 0 {
			return Loss{Bytes: lag, Statement: follows(fmt.Sprintf("At least %s that %s had published are lost; how much more it wrote is not known until it returns.",
				bytesText(lag), t.c.From), t.c.promote)}
		}
	}
	return Loss{Statement: unknown("Whether anything was lost is not known until %s returns: it may have written more than it published.", orNobody(t.c.From))}
}

// word is the loss in a word or two, note what to know beside it.
func (l Loss) word() string {
	switch {
	case l.Known && l.Bytes == 0:
		return "nothing"
	case l.TransactionsKnown:
		return count(l.Transactions, "transaction", "transactions")
	case l.Known:
		return count(int(min(l.Bytes, 1<<62)), "byte", "bytes")
	case l.Bytes > 0:
		return "at least " + count(int(min(l.Bytes, 1<<62)), "byte", "bytes")
	case l.Acknowledged:
		return "no commit"
	}
	return "not known"
}

func (l Loss) note() string {
	switch {
	case l.Known && l.Bytes == 0:
		return "by the positions of both"
	case l.TransactionsKnown:
		return bytesText(l.Bytes) + " of WAL"
	case l.Known:
		return "of WAL; transactions not counted"
	case l.Acknowledged:
		return "that was acknowledged"
	}
	return "until the old primary returns"
}

func orNobody(name string) string {
	if name == "" {
		return "the old primary"
	}
	return name
}

// recordsLost is the report of records that were taken out of a member's data
// since the change.
func (t *teller) recordsLost() *entry {
	s := t.named(t.c.From)
	if s == nil {
		return nil
	}
	return find(s.between(t.c.beginning(), t.until), func(e *entry) bool {
		ev := e.event(journal.RecordsLost)
		return ev != nil && ev.Loss != nil
	})
}

func lossText(e *entry, from string) Statement {
	l := e.rec.Event.Loss
	text := fmt.Sprintf("%s that only %s had, from %s to %s, are not in the cluster any more", bytesText(l.Bytes), from, position(l.From), position(l.To))
	switch {
	case !l.TransactionsKnown:
		text += "; how many transactions that was could not be read"
	case l.Transactions == 0:
		text += "; no transaction was committed in them"
	default:
		text += fmt.Sprintf("; %s committed in them", count(l.Transactions, "transaction was", "transactions were"))
	}
	if l.Kept != "" {
		text += fmt.Sprintf(". They are kept on %s in %s", from, harmless(l.Kept))
	}
	return Statement{At: e.at, Within: e.doubt, Text: text + ".", Ground: Recorded, Evidence: refs(e)}
}

// cleanEnd: the old primary stopped cleanly and the winner had its last record.
func (t *teller) cleanEnd() (Statement, bool) {
	if !t.c.raced() {
		return Statement{}, false
	}
	h := t.c.take.turn().Observation.Store.View.Handover
	has := t.c.take.turn().Observation.Server.Position
	if !h.Present() || h.Leader != t.c.From || has.Timeline != h.Timeline || has.LSN < h.LSN {
		return Statement{}, false
	}
	return follows(fmt.Sprintf("Nothing was lost: %s stopped cleanly at %s, and %s had all of it.", t.c.From, h.LSN, t.c.To), t.c.take, t.loss.release), true
}

// comparedEnd compares the end of what the old primary had, by its own records
// after it was stopped, with where the new timeline began.
func (t *teller) comparedEnd() (uint64, Statement, bool) {
	s := t.named(t.c.From)
	if s == nil || t.c.LSN == 0 || t.c.Parent == 0 || t.c.From == t.c.To {
		return 0, Statement{}, false
	}
	e := find(s.between(t.lossBegan(), t.until), func(e *entry) bool {
		turn := e.turn()
		if turn == nil {
			return false
		}
		server := turn.Observation.Server
		return server.Position.Timeline == t.c.Parent && server.Position.LSN > 0 && ended(server)
	})
	if e == nil {
		return 0, Statement{}, false
	}
	end := e.turn().Observation.Server.Position.LSN
	if lost := end.Sub(t.c.LSN); lost > 0 {
		return lost, follows(fmt.Sprintf("%s of WAL that only %s had, from %s to %s, are not in the cluster's line. How many transactions that was is not recorded.",
			bytesText(lost), t.c.From, t.c.LSN, end), e), true
	}
	return 0, follows(fmt.Sprintf("Nothing was lost: %s ended at %s, and timeline %d began at %s.", t.c.From, wal.LSN(end), t.c.Timeline, t.c.LSN), e), true
}

// ended: the server writes no more WAL of its own, so its position is its end.
func ended(s ha.Server) bool {
	return s.Process == ha.ProcessStopped || s.ShutDown || s.Role == ha.ServerStandby && s.ReplayDone
}
