package drill

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// acksAt are acknowledged writes at these milliseconds.
func acksAt(at ...int) []Ack {
	var out []Ack
	for _, t := range at {
		out = append(out, Ack{At: time.Duration(t) * ms})
	}
	return out
}

func TestOutage(t *testing.T) {
	for _, k := range []struct {
		name       string
		acks       []Ack
		fault, end int
		want       Gap
		usual      int
	}{
		{"one gap over the fault", acksAt(10, 20, 30, 530, 540), 35, 550, Gap{From: 30 * ms, To: 530 * ms}, 10},
		{"the gap begins later than the fault", acksAt(10, 20, 30, 40, 50, 400, 410), 25, 420, Gap{From: 50 * ms, To: 400 * ms}, 10},
		{"of two gaps the longer", acksAt(10, 20, 120, 130, 330, 340), 25, 350, Gap{From: 130 * ms, To: 330 * ms}, 10},
		{"a longer one before the fault does not count", acksAt(10, 510, 520, 560, 570), 525, 580, Gap{From: 520 * ms, To: 560 * ms}, 500},
		{"writes do not come back", acksAt(10, 20, 30), 35, 900, Gap{From: 30 * ms, To: 900 * ms, Open: true}, 10},
		{"nothing was ever acknowledged", nil, 10, 900, Gap{To: 900 * ms, Open: true}, 0},
		{"noted out of order", acksAt(20, 10, 30, 540, 530), 35, 550, Gap{From: 30 * ms, To: 530 * ms}, 10},
		{"an acknowledgement after the end", acksAt(10, 20, 30, 60), 35, 50, Gap{From: 30 * ms, To: 60 * ms}, 10},
		{"the fault at an acknowledgement", acksAt(10, 20, 200), 20, 210, Gap{From: 20 * ms, To: 200 * ms}, 10},
	} {
		fault, end := time.Duration(k.fault)*ms, time.Duration(k.end)*ms
		if got := Outage(k.acks, fault, end); got != k.want {
			t.Errorf("%s: %+v, want %+v", k.name, got, k.want)
		}
		if got := Usual(k.acks, fault); got != time.Duration(k.usual)*ms {
			t.Errorf("%s: usual %s, want %d ms", k.name, got, k.usual)
		}
	}
}

func TestJudge(t *testing.T) {
	o := Objective{RTO: 10 * time.Second, RPO: 1}
	gap := func(d time.Duration) Gap { return Gap{From: time.Second, To: time.Second + d} }
	for _, k := range []struct {
		name  string
		gap   Gap
		check Check
		met   bool
		says  string
	}{
		{"well", gap(time.Second), Check{}, true, "the outage of 1 s is within 10 s"},
		{"exactly", gap(10 * time.Second), Check{Lost: 1}, true, "1 acknowledged row was lost, 1 allowed"},
		{"a little too long", gap(10*time.Second + ms), Check{}, false, "the outage of 10.001 s is longer than 10 s"},
		{"too many lost", gap(ms), Check{Lost: 2}, false, "2 acknowledged rows were lost, 1 allowed"},
		{"not back", Gap{To: time.Second, Open: true}, Check{}, false, "no write was acknowledged any more for 1 s, until the writing ended"},
		{"there although refused", gap(ms), Check{Refused: 1}, false, "1 row is there although the client was told that nothing was written"},
		{"rows of nobody", gap(ms), Check{Strange: 3}, false, "3 rows are there that this drill never wrote"},
		{"unknown ones are right either way", gap(ms), Check{Kept: 7}, true, "the outage of 1 ms is within 10 s"},
	} {
		if v := Judge(o, k.gap, k.check); v.Met != k.met || !slices.Contains(v.Why, k.says) {
			t.Errorf("%s: %+v, want %v and %q", k.name, v, k.met, k.says)
		}
	}
}

// TestCompare: every outcome against being there or not.
func TestCompare(t *testing.T) {
	l := NewLedger(2, time.Now())
	there := []RowID{{Client: 5, Seq: 0}, {Client: 0, Seq: 99}, {Client: -1, Seq: 0}} // never written
	for _, o := range []Outcome{Acknowledged, Failed, Unknown} {
		for _, is := range []bool{true, false} {
			id := l.Begin(1)
			if o != Unknown {
				l.End(id, o, time.Now(), "")
			}
			if is {
				there = append(there, id)
			}
		}
	}
	got := l.Compare(there)
	if got.Rows != 6 || got.Lost != 1 || got.Refused != 1 || got.Kept != 1 || got.Strange != 3 || len(got.LostRows) != 1 || got.LostRows[0] != (RowID{1, 1}) {
		t.Errorf("%+v", got)
	}
	if c := l.Counts(); c != (Counts{Acknowledged: 2, Failed: 2, Unknown: 2}) {
		t.Errorf("%+v", c)
	}
	many := NewLedger(1, time.Now())
	for range 100 {
		many.End(many.Begin(0), Acknowledged, time.Now(), "")
	}
	if got := many.Compare(nil); got.Lost != 100 || len(got.LostRows) != mostLost {
		t.Errorf("%+v", got)
	}
}

func TestAcksSince(t *testing.T) {
	begun := time.Now()
	l := NewLedger(3, begun)
	for i, at := range []int{10, 20, 15, 30} { // noted as clients get to it
		l.End(l.Begin(i%3), Acknowledged, begun.Add(time.Duration(at)*ms), "")
	}
	for since, want := range map[int][2]int{0: {4, 3}, 15: {3, 3}, 20: {2, 2}, 31: {0, 0}} {
		if acks, clients := l.AcksSince(time.Duration(since) * ms); acks != want[0] || clients != want[1] {
			t.Errorf("since %d ms: %d by %d, want %v", since, acks, clients, want)
		}
	}
	if q := l.Quiet(begun.Add(130 * ms)); q != 100*ms {
		t.Errorf("quiet for %s", q)
	}
}

func TestErrorsAreBounded(t *testing.T) {
	l := NewLedger(1, time.Now())
	for i := range 3 * mostErrors {
		l.Told(string(rune('a'+i)), time.Now())
		l.Told("again", time.Now())
	}
	list := l.Errors()
	n := 0
	for _, e := range list {
		n += e.Count
	}
	if len(list) != mostErrors+1 || n != 6*mostErrors || list[1].Text != "again" || list[1].Count != 3*mostErrors {
		t.Errorf("%d kinds, %d in all: %+v", len(list), n, list)
	}
}

// TestUnfit: each thing that is wrong refuses a drill, with its name.
func TestUnfit(t *testing.T) {
	for _, k := range []struct {
		says      string
		change    func(*Picture)
		candidate string
	}{
		{"no member leads", func(p *Picture) {
			p.Members[0].Leads, p.Members[0].Primary, p.Members[0].Streaming = false, false, true
		}, ""},
		{"the cluster is paused", func(p *Picture) { p.Paused = true }, ""},
		{"a switchover is scheduled at noon", func(p *Picture) { p.Scheduled = "noon" }, ""},
		{"fewer than two members", func(p *Picture) { p.Members = p.Members[:1] }, ""},
		{"n1 leads a standby cluster", func(p *Picture) { p.Members[0].Standby = true }, ""},
		{"n2 does not answer (refused)", func(p *Picture) { p.Members[1].Answers, p.Members[1].Silent = false, "refused" }, ""},
		{"n2 is not running (starting)", func(p *Picture) { p.Members[1].State = "starting" }, ""},
		{"n2 runs, but does not stream", func(p *Picture) { p.Members[1].Streaming = false }, ""},
		{"n2 is 1048577 bytes behind", func(p *Picture) { p.Members[1].Lag = 1<<20 + 1 }, ""},
		{"n2 does not say how far it is behind", func(p *Picture) { p.Members[1].LagKnown = false }, ""},
		{"n2 is a primary, but does not lead", func(p *Picture) { p.Members[1].Primary = true }, ""},
		{"n1 leads, but is not a primary yet", func(p *Picture) { p.Members[0].Primary = false }, ""},
		{"no member could take over (n2: tagged; n3 would not take over)", func(p *Picture) {
			p.Members[1].Eligible, p.Members[1].WhyNot, p.Members[2].Eligible = false, "tagged", false
		}, ""},
		{"there is no member n9", func(*Picture) {}, "n9"},
		{"n1 leads already", func(*Picture) {}, "n1"},
		{"n2 would not take over: tagged", func(p *Picture) { p.Members[1].Eligible, p.Members[1].WhyNot = false, "tagged" }, "n2"},
	} {
		p := newWorld().picture()
		if why := p.Unfit("n2"); len(why) > 0 {
			t.Fatalf("a healthy cluster: %v", why)
		}
		k.change(&p)
		why := p.Unfit(k.candidate)
		if !slices.ContainsFunc(why, func(w string) bool { return strings.Contains(w, k.says) }) {
			t.Errorf("want %q, got %q", k.says, why)
		}
	}
	before, now := newWorld().picture(), newWorld().picture()
	now.Members = now.Members[:2]
	if d := now.Differences(before); len(d) != 1 || d[0] != "n3 is gone from the cluster" {
		t.Errorf("%v", d)
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		999 * time.Millisecond: "999 ms", time.Second: "1 s", 10 * time.Second: "10 s", 1500 * time.Millisecond: "1.5 s",
		1648*time.Millisecond + 123*time.Nanosecond: "1.648 s", 100*time.Second + 7*time.Millisecond: "100.007 s",
	} {
		if got := seconds(d); got != want {
			t.Errorf("%d ns: %q, want %q", d, got, want)
		}
	}
	for ms := range 100_000 { // never more than what was measured
		if s := seconds(time.Duration(ms) * time.Millisecond); len(s) > len("99.999 s") {
			t.Fatalf("%d ms: %s", ms, s)
		}
	}
}
