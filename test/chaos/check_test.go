package chaos

import (
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/wal"
)

const second = boot.Instant(time.Second)

// told makes acknowledgements: one per moment, of a node on a timeline.
func told(node string, timeline uint32, at ...boot.Instant) (out []Ack) {
	for _, t := range at {
		out = append(out, Ack{ID: int64(t) + int64(timeline), Via: "c", Node: node, System: "s", Timeline: timeline, LSN: wal.LSN(t / 1000), Sent: t - second/10, At: t})
	}
	return out
}

func never(Ack) time.Duration { return 0 }

func join(acks ...[]Ack) (out []Ack) {
	for _, a := range acks {
		out = append(out, a...)
	}
	return out
}

// TestTheCheckersBite shows each checker a history that is right and one that is
// not.
func TestTheCheckersBite(t *testing.T) {
	right := join(told("a", 1, 1*second, 2*second, 3*second), told("b", 2, 4*second, 5*second), told("a", 3, 6*second))
	for _, c := range []struct {
		name   string
		acks   []Ack
		late   func(Ack) time.Duration
		exempt []span
		want   string
	}{
		{"one after the other", right, never, nil, ""},
		{"in any order of the clients", join(told("b", 2, 4*second), told("a", 1, 1*second, 3*second)), never, nil, ""},
		{"the old one later", join(right, told("a", 1, 4*second+1)), never, nil, "timeline 1"},
		{"one that was skipped", join(right, told("a", 1, 7*second)), never, nil, "timeline 3"},
		{"heard late by this process", join(right, told("a", 1, 4*second+1)), func(a Ack) time.Duration { return time.Second }, nil, ""},
		{"heard late, but not so late", join(right, told("a", 1, 4*second+second/2)), func(a Ack) time.Duration { return time.Second / 4 }, nil, "timeline 1"},
		{"while paused", join(right, told("a", 1, 4*second+1)), never, []span{{3 * second, 5 * second}}, ""},
		{"after the pause", join(right, told("a", 1, 4*second+1, 5*second+1)), never, []span{{3 * second, 5 * second}}, "timeline 1"},
	} {
		got := strings.Join(checkOnePrimary(reigns(c.acks), c.late, c.exempt), "\n")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("one primary, %s: %q, want %q", c.name, got, c.want)
		}
	}

	other := told("a", 4, 7*second)
	other[0].System = "another"
	for _, c := range []struct {
		name, want string
		acks       []Ack
	}{
		{"one each", "", right},
		{"two of one timeline", "timeline 2", join(right, told("c", 2, 5*second))},
		{"two databases", "databases", join(right, other)},
	} {
		got := strings.Join(checkTimelines(reigns(c.acks)), "\n")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("timelines, %s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestMissingRows(t *testing.T) {
	acks := told("a", 1, second, 2*second)
	if got := missing(acks, map[int64]bool{acks[0].ID: true, 99: true}); len(got) != 1 || got[0].ID != acks[1].ID {
		t.Errorf("missing: %+v", got)
	}
}

// TestLossIsBounded: what was written within the last ttl and two seconds may be
// lost with the allowed lag, and nothing before.
func TestLossIsBounded(t *testing.T) {
	at := func(s int, lsn wal.LSN) Ack {
		a := told("a", 1, boot.Instant(s)*second)[0]
		a.LSN = lsn
		return a
	}
	acks := []Ack{at(1, 1<<20), at(20, 2<<20), at(31, 3<<20), at(40, 4<<20)}
	for _, c := range []struct {
		name string
		lost []Ack
		fork map[uint32]wal.LSN
		bad  bool
	}{
		{"what was written last", acks[2:], map[uint32]wal.LSN{1: 2<<20 + 1}, false},
		{"that and the allowed lag", acks[2:], map[uint32]wal.LSN{1: 2<<20 - maxLag}, false},
		{"more", acks[1:], map[uint32]wal.LSN{1: 2<<20 - maxLag - 1}, true},
		{"all of the timeline", acks, nil, true},
	} {
		if got := checkLoss(c.lost, reigns(acks), c.fork); (len(got) > 0) != c.bad {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestALostRowIsFoundInAReport(t *testing.T) {
	l := &lossReports{txs: map[string][]wal.LSN{"740": {0x5000000, 0x100}}}
	for _, c := range []struct {
		xid  string
		lsn  wal.LSN
		want bool
	}{{"740", 0x4fffff0, true}, {"740", 0x5000001, false}, {"741", 0x4fffff0, false}, {"740", 0x10, true}} {
		if got := l.has(Ack{XID: c.xid, LSN: c.lsn}); got != c.want {
			t.Errorf("transaction %s after %s: %v", c.xid, c.lsn, got)
		}
	}
}

func TestTheTableCountsUnderEachFault(t *testing.T) {
	j := &judged{sync: true}
	j.strike(0, "agent-kill")
	j.reigns(0, reigns(join(told("a", 1, second), told("b", 2, 2*second))))
	j.rows(0, 10)
	j.strike(1, "loss")
	j.reigns(1, reigns(join(told("a", 1, second), told("b", 2, 2*second), told("a", 4, 3*second))))
	j.rows(1, 15)
	j.violated("I1")
	text := Table([]*judged{j})
	for _, want := range []string{"| agent-kill | 1 | 1 | 10 | 0 | 0 | 2 | 0 | 0 | 0 |", "| loss | 1 | 1 | 5 | 0 | 0 | 1 | 0 | 0 | I1: 1 |", "| flap | 0 | 0 | 0 |", "| all | 2 | 2 | 15 |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %q in\n%s", want, text)
		}
	}
}

// TestLateness: only standing still right before an acknowledgement was noted
// excuses its time.
func TestLateness(t *testing.T) {
	s := &stalls{spans: []span{{10 * second, 12 * second}}}
	for _, c := range []struct {
		sent, at boot.Instant
		want     time.Duration
	}{
		{1 * second, 9 * second, 0},
		{1 * second, 12*second + second/100, 2*time.Second + time.Second/100},
		{11 * second, 12 * second, time.Second},
		{1 * second, 13 * second, 0},
	} {
		if got := s.lateness(Ack{Sent: c.sent, At: c.at}); got != c.want {
			t.Errorf("sent %d, noted %d: %s late, want %s", c.sent, c.at, got, c.want)
		}
	}
}
