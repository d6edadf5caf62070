package route

import (
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
)

// TestPickByWord: a member's own word is enough only where the store does not say
// otherwise, and where it was given since.
func TestPickByWord(t *testing.T) {
	n1, n2 := leading("n1", ago(time.Second), 20*time.Second), leading("n2", ago(time.Second), 20*time.Second)
	edit := func(w Word, f func(*Word)) Word { f(&w); return w }
	over := edit(n1, func(w *Word) { w.Remaining = 0 })
	for _, c := range []struct {
		name string
		q    Query
		want string // the member; empty: nobody
	}{
		{"nobody holds the key, one says that it leads", Query{View: view(""), Words: []Word{n1}}, "n1"},
		{"it said so before the key was gone", Query{View: view(""), Words: []Word{n1}, Since: now}, ""},
		{"its lease is over", Query{View: view(""), Words: []Word{over}}, ""},
		{"its lease has ended since", Query{View: view(""), Words: []Word{edit(n1, func(w *Word) { w.Remaining = time.Second })}}, ""},
		{"another program says only that it holds the lock", Query{View: view(""), Words: []Word{edit(n1, func(w *Word) { w.Leased, w.Locked = false, true })}}, ""},
		{"it is being promoted", Query{View: view(""), Words: []Word{edit(n1, func(w *Word) { w.Role = cluster.RoleReplica })}}, ""},
		{"it is starting", Query{View: view(""), Words: []Word{edit(n1, func(w *Word) { w.State = cluster.StateStarting })}}, ""},
		{"another answers for it", Query{View: view(""), Words: []Word{edit(n1, func(w *Word) { w.Name = "n3" })}}, ""},
		{"two: the newer word", Query{View: view(""), Words: []Word{n1, edit(n2, func(w *Word) { w.Asked = ago(time.Millisecond) })}}, "n2"},
		{"another holds the key", Query{View: view("n2"), Words: []Word{n1}}, ""},
		{"another holds the key and says so", Query{View: view("n2"), Words: []Word{n1, n2}}, "n2"},
		{"the store is lost: the holder by its own word", Query{View: view("n1"), Words: []Word{n1, n2}, Blind: true}, "n1"},
		{"the store is lost and the holder leads no more", Query{View: view("n1"), Words: []Word{over, n2}, Blind: true}, "n2"},
		{"the store is lost, and it said so before", Query{View: view("n1"), Words: []Word{over, n2}, Blind: true, Since: now}, ""},
		{"its key is gone too", Query{View: cluster.View{}, Words: []Word{n1}, Members: []cluster.Member{member(1)}}, "n1"},
		{"its address is not known", Query{View: cluster.View{}, Words: []Word{n1}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.q.Now = now
			got := Pick(c.q)
			if got.OK != (c.want != "") || got.Backend.Member != c.want {
				t.Fatalf("got %+v, want %q", got, c.want)
			}
			if got.OK && (got.Until <= now || !strings.Contains(got.Why, "lease is good for")) {
				t.Fatalf("got %+v", got)
			}
		})
	}
}

// A view that is known to be old ends no permission.
func TestReviewWithoutTheStore(t *testing.T) {
	q := Query{Now: now, View: view("n2"), Words: []Word{leading("n1", ago(time.Second), 20*time.Second)}, Blind: true}
	if r := q.Review(Permission{Backend: Backend{"n1", "10.0.0.1:5432"}, Until: now.Add(time.Second)}); !r.Keep {
		t.Errorf("ended: %+v", r)
	}
}
