package route

import (
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
)

func TestReview(t *testing.T) {
	open := Permission{Backend: Backend{"n1", "10.0.0.1:5432"}, Until: now.Add(time.Second)}
	good := leading("n1", ago(time.Second), 20*time.Second)
	edit := func(f func(*Word)) Word { w := good; f(&w); return w }
	cases := []struct {
		name   string
		view   cluster.View
		word   Word
		ends   string // part of what clients or the log are told; "" means it goes on
		detail bool
	}{
		{"good", view("n1"), good, "", false},
		{"the key has run out of the store, the leader goes on", view(""), good, "", false},
		{"its own key too", cluster.View{}, good, "", false},
		{"another holds the key", view("n2"), good, "n2 is the leader now", false},
		{"no lease", view("n1"), edit(func(w *Word) { w.Remaining = 0 }), "no live lease", true},
		{"not a primary any more", view("n1"), edit(func(w *Word) { w.Role = cluster.RoleReplica }), "its server is replica", true},
		{"another answers", view("n1"), edit(func(w *Word) { w.Name = "n2" }), "n2 answers at", true},
		{"no answer in time", view("n1"), edit(func(w *Word) { w.Asked = ago(30 * time.Second) }), "the time is over", true},
		{"it moved", func() cluster.View {
			v := view("n1")
			v.Members[0].ConnURL = "postgres://10.0.0.9:5432/x"
			return v
		}(), good, "address", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := Query{Now: now, View: c.view, Words: []Word{c.word}}.Review(open)
			if r.Keep != (c.ends == "") || !strings.Contains(r.Why+" "+r.Detail, c.ends) || (r.Detail != "") != c.detail {
				t.Fatalf("got %+v, want an end with %q", r, c.ends)
			}
			if r.Keep && r.Until != good.Authority(0) {
				t.Fatalf("goes on until %v, its word reaches to %v", r.Until, good.Authority(0))
			}
		})
	}
}

// TestForgets: a word from before a member led says nothing of its term, but the
// one that is served has been asked all the time.
func TestForgets(t *testing.T) {
	for _, c := range []struct {
		before, after, served string
		want                  bool
	}{{"n1", "n2", "n1", true}, {"", "n2", "", true}, {"n1", "n1", "n1", false}, {"", "n1", "n1", false}, {"n1", "", "", false}} {
		if got := Forgets(view(c.before), view(c.after), c.served); got != c.want {
			t.Errorf("%q → %q while %q is served: %t", c.before, c.after, c.served, got)
		}
	}
}

// TestPace: whoever is served is asked with room for another question before
// the end; whoever is awaited, often.
func TestPace(t *testing.T) {
	p := Pace{Interval: time.Second, Timeout: 2 * time.Second}
	open := Permission{Backend{"n1", "x"}, now.Add(2 * time.Second)}
	if d := p.Next(now, view("n1"), open, "n1", Word{}, true); d != 500*time.Millisecond {
		t.Errorf("the served one is asked after %s", d)
	}
	if d := p.Patience(now, open, "n1"); d != time.Second {
		t.Errorf("and waited for %s", d)
	}
	ended := Permission{open.Backend, boot.Instant(0)}
	if d := p.Patience(now, ended, "n1"); d != askAtLeast {
		t.Errorf("after its end it is waited for %s", d)
	}
	if d := p.Next(now, view("n2"), Permission{}, "n2", Word{Leased: true}, true); d != askUnserved {
		t.Errorf("the awaited one is asked after %s", d)
	}
	if d := p.Next(now, view("n2"), Permission{}, "n2", Word{}, false); d != askUnservedOther {
		t.Errorf("one that does not answer is asked after %s", d)
	}
	if d := p.Next(now, view("n2"), Permission{}, "n1", Word{}, true); d != p.Interval {
		t.Errorf("another is asked after %s", d)
	}
}
