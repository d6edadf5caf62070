package explain

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/wal"
)

// insert puts an event into a journal behind a record, dated so long after it;
// numbers are multiplied by ten to make room.
func insert(ev *Evidence, source string, behind uint64, after time.Duration, e journal.Event, why string) {
	for i := range ev.Sources {
		s := &ev.Sources[i]
		if s.Name != source {
			continue
		}
		var out Ledger
		for _, r := range s.Records {
			r.Seq *= 10
			out = append(out, r)
			if r.Seq != behind*10 {
				continue
			}
			if now := instantOf(r); !now.IsZero() {
				e.Now = now.Add(after)
			}
			out = append(out, journal.Record{Seq: r.Seq + 1, Time: r.Time.Add(after), Member: source, Why: why, Event: &e})
		}
		s.Records = out
	}
}

func tell(t *testing.T, ev Evidence, q Question) (Story, string) {
	t.Helper()
	s, err := Tell(ev, q)
	if err != nil {
		t.Fatal(err)
	}
	checkEvidence(t, ev, s)
	var b bytes.Buffer
	if err := s.Text(&b, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	return s, strings.Join(strings.Fields(b.String()), " ")
}

func contains(t *testing.T, text string, pieces ...string) {
	t.Helper()
	for _, p := range pieces {
		if !strings.Contains(text, p) {
			t.Errorf("lacks %q:\n%s", p, text)
		}
	}
}

// A fence that the agent tells of when it wakes up is placed when it happened: it
// ends the doubt about the outage, and is no sign of a host that was started anew.
func TestFenceToldLate(t *testing.T) {
	ev := precise(t, "lab")
	// n2 stood still from record 60 on; record 61 is the first after it.
	insert(&ev, "n2", 61, -13400*time.Millisecond, journal.Event{Name: journal.ServerFenced, Took: 9 * time.Millisecond,
		Fence: &journal.Fence{Processes: 9}}, "the guard killed the server at the deadline of its lease")
	s, text := tell(t, ev, Question{Timeline: 5})
	if s.Cause != CauseFrozen || s.Outage == nil || s.Outage.Least != s.Outage.Most || s.Outage.Most < time.Second || s.Outage.Most > 2*time.Second {
		t.Errorf("cause %s, outage %+v", s.Cause, s.Outage)
	}
	contains(t, text, "the guard killed the server at the deadline of its lease. [n2 #611]")
	if at := s.Events[1]; at.Record != 611 {
		t.Errorf("the fence is not the second event: %+v", at)
	}
}

// What a rewind took out is the loss, to the byte and the transaction.
func TestLossFromTheReport(t *testing.T) {
	ev := precise(t, "lab")
	insert(&ev, "n1", 55, time.Millisecond, journal.Event{Name: journal.RecordsLost, Loss: &journal.Loss{
		From: wal.Position{Timeline: 3, LSN: 0x4000598}, To: wal.Position{Timeline: 3, LSN: 0x4000998}, Bytes: 1024,
		TransactionsKnown: true, Transactions: 3, Kept: "/data/n1.lost-wal"}}, "1024 bytes of log are on no other member")
	s, text := tell(t, ev, Question{Timeline: 4})
	if !s.Loss.Known || s.Loss.Bytes != 1024 || !s.Loss.TransactionsKnown || s.Loss.Transactions != 3 {
		t.Errorf("%+v", s.Loss)
	}
	contains(t, text, "1024 bytes (1.0 kB) that only n1 had, from 0/4000598 on timeline 3 to 0/4000998 on timeline 3, are not in the cluster any more",
		"3 transactions were committed in them", "They are kept on n1 in /data/n1.lost-wal")
}

// Who asked, how the server ended, and what the lease went through are told from
// the events.
func TestEventsAreTold(t *testing.T) {
	ev := precise(t, "lab")
	insert(&ev, "n3", 11, time.Second*10, journal.Event{Name: journal.Requested, Request: &journal.Request{Kind: "switchover", From: "10.1.2.3"}},
		"a switchover from n1 was asked for, from 10.1.2.3")
	insert(&ev, "n1", 24, time.Millisecond, journal.Event{Name: journal.ServerExited, Exit: &journal.Exit{PID: 7, Asked: true, Known: true}}, "the server ended")
	_, text := tell(t, ev, Question{Timeline: 2})
	contains(t, text, "At n3: a switchover from n1 was asked for, from 10.1.2.3. [n3 #111]",
		"PostgreSQL on n1 ended with exit status 0, on the order of the agent or its guard. [n1 #241]")

	ev = precise(t, "lab")
	insert(&ev, "n1", 48, time.Second, journal.Event{Name: journal.LeaseTrouble}, "a renewal was not confirmed: no answer in time")
	_, text = tell(t, ev, Question{Timeline: 4})
	contains(t, text, "n1: a renewal was not confirmed: no answer in time. [n1 #481]")

	ev = precise(t, "lab")
	insert(&ev, "n1", 15, time.Second, journal.Event{Name: journal.ServerExited, Exit: &journal.Exit{PID: 7, Known: true, Signal: "SIGKILL"}}, "the server ended")
	_, text = tell(t, ev, Question{Timeline: 2})
	contains(t, text, "PostgreSQL on n1 was ended by SIGKILL, unexpectedly, and was started again in place: the same primary and timeline")
}

// An entrypoint's records are told in its own words, and their counts add up.
func TestEntrypointIsTold(t *testing.T) {
	ev := precise(t, "lab")
	lost := time.Date(2026, 11, 26, 4, 16, 31, 700e6, time.UTC)
	at := func(seq uint64, when time.Time, name, why string, tr *journal.Traffic) journal.Record {
		return journal.Record{Seq: seq, Time: when, Member: "entrypoint@gw:5000", Why: why, Event: &journal.Event{Name: name, Now: boot.Instant(when.UnixNano() - 1), Traffic: tr}}
	}
	ev.Sources = append(ev.Sources, Source{Name: "entrypoint@gw:5000", Kind: KindEntrypoint, Clock: Clock{Known: true, Wall: lost, Boot: boot.Instant(lost.UnixNano() - 1)}, Records: Ledger{
		at(1, lost, journal.PrimaryLost, "n1 says that it is demoted", &journal.Traffic{Primary: "n1", Open: 12, Broken: 12}),
		at(2, lost.Add(28800*time.Millisecond), journal.PrimaryFound, "", &journal.Traffic{Primary: "n2", Open: 12, Broken: 12, Held: 40, Released: 38, Refused: 2,
			Longest: 28700 * time.Millisecond, Without: 28800 * time.Millisecond, Silent: 28900 * time.Millisecond}),
	}})
	s, text := tell(t, ev, Question{Timeline: 4})
	contains(t, text, "The entrypoint gw:5000 lost the primary n1: n1 says that it is demoted. [gw:5000 #1]",
		"forwards to n2 again after 28.8 s without a primary; of 12 open connections it broke 12; it held 40 clients and released 38 of them, 2 gave up or were turned away; the longest waited 28.7 s")
	last := s.Lanes[len(s.Lanes)-1]
	if last.Kind != KindEntrypoint || len(last.Bands) != 3 || last.Bands[1].Role != "waits" {
		t.Errorf("its lane: %+v", last)
	}
	missing := ev
	missing.Sources[len(missing.Sources)-1].Records, missing.Sources[len(missing.Sources)-1].Missing = nil, "GET http://gw:7000/journal: no answer in time"
	_, text = tell(t, missing, Question{Timeline: 4})
	contains(t, text, "The entrypoint gw:5000 could not be asked: GET http://gw:7000/journal: no answer in time.")
}
