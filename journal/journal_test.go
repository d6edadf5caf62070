package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
)

var t0 = time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC)

func event(i int) Record {
	return OfEvent(t0.Add(time.Duration(i)*time.Second), "n1", "test", fmt.Sprintf("event %d", i))
}

func open(t *testing.T, o Options) *Journal {
	t.Helper()
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// run writes what is queued.
func run(t *testing.T, j *Journal) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := j.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func seqs(t *testing.T, j *Journal, q Query) string {
	t.Helper()
	recs, err := j.Since(q)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range recs {
		out = append(out, fmt.Sprint(r.Seq))
	}
	return strings.Join(out, " ")
}

func TestSinceServesRingAndFiles(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir(), RingSize: 3, FileBytes: 300})
	for i := 1; i <= 10; i++ {
		j.Append(event(i))
	}
	run(t, j)
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{Limit: 2}, "9 10"},
		{Query{Limit: 5}, "6 7 8 9 10"},
		{Query{}, "1 2 3 4 5 6 7 8 9 10"},
		{Query{After: 8}, "9 10"},
		{Query{After: 7}, "8 9 10"},
		{Query{After: 2, Limit: 3}, "3 4 5"},
		{Query{After: 10}, ""},
		{Query{Since: t0.Add(9 * time.Second)}, "9 10"},
		{Query{Since: t0.Add(3 * time.Second), Limit: 2}, "3 4"},
	} {
		if got := seqs(t, j, c.q); got != c.want {
			t.Errorf("%+v: %q, want %q", c.q, got, c.want)
		}
	}
}

func TestRotationAndModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "journal")
	j := open(t, Options{Dir: dir, FileBytes: 300, Files: 3})
	for i := 1; i <= 20; i++ {
		j.Append(event(i))
	}
	run(t, j)
	all, err := files(dir)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d files, %v", len(all), err)
	}
	for _, path := range append(all, dir) {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others can read it", path, st.Mode())
		}
		if !st.IsDir() && st.Size() > 300 {
			t.Errorf("%s has %d bytes", path, st.Size())
		}
	}
}

// TestCrash: whatever a crash leaves of the last line, all whole records are
// read back and the numbers go on.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	for i := 1; i <= 3; i++ {
		j.Append(event(i))
	}
	run(t, j)
	path := filepath.Join(dir, fileName(1))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := len(whole) - len(strings.SplitAfter(string(whole), "\n")[2])
	for cut := last; cut < len(whole)-1; cut += 7 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, Options{Dir: dir})
		if n := j.Append(event(4)); n != 3 {
			t.Fatalf("cut at %d: the next record is %d, want 3", cut, n)
		}
		run(t, j)
		again := open(t, Options{Dir: dir})
		if got := seqs(t, again, Query{}); got != "1 2 3" {
			t.Fatalf("cut at %d: %s", cut, got)
		}
		if all, err := files(dir); err != nil || len(all) != 1 {
			t.Fatalf("cut at %d: files %v, %v", cut, all, err)
		}
	}
}

// TestManyStartsKeepHistory: an agent that is started again and again writes on in
// the file of the one before it.
func TestManyStartsKeepHistory(t *testing.T) {
	dir := t.TempDir()
	for i := 1; i <= 50; i++ {
		j := open(t, Options{Dir: dir, Files: 2, RingSize: 1})
		j.Append(event(i))
		run(t, j)
	}
	j := open(t, Options{Dir: dir, Files: 2, RingSize: 1})
	if got := seqs(t, j, Query{After: 9, Limit: 2}); got != "10 11" {
		t.Errorf("after the ninth: %q", got)
	}
	all, err := j.Since(Query{Since: t0, Limit: 1000})
	if err != nil || len(all) != 50 {
		t.Errorf("%d records of 50: %v", len(all), err)
	}
}

// TestSinceByTimeOverFiles: whichever file a time lies in, also when the clock was
// set back in between, and nothing but what is asked for.
func TestSinceByTimeOverFiles(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir(), RingSize: 2, FileBytes: 1000, Files: 100})
	at := func(i int) time.Time {
		by := time.Duration(i) * 10 * time.Minute
		if i >= 30 {
			by -= 50 * time.Minute // the clock was set back
		}
		return t0.Add(by)
	}
	for i := 1; i <= 60; i++ {
		j.Append(OfEvent(at(i), "n1", "test", strings.Repeat("x", 100)))
	}
	run(t, j)
	if all, err := files(j.opts.Dir); err != nil || len(all) < 8 {
		t.Fatalf("only %d files, %v", len(all), err)
	}
	for i := 1; i <= 60; i++ {
		var want []string
		for k := 1; k <= 60; k++ {
			if !at(k).Before(at(i)) {
				want = append(want, fmt.Sprint(k))
			}
		}
		if got := seqs(t, j, Query{Since: at(i), Limit: 1000}); got != strings.Join(want, " ") {
			t.Errorf("since the time of %d: %s\nwant %s", i, got, want)
		}
	}
}

// TestReadWhileWritten: a reader beside the writer sees whole records, in order and
// without a gap.
func TestReadWhileWritten(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir(), RingSize: 50, FileBytes: 4000, Files: 1000})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	const total = 2000
	j.Append(event(1)) // there is no asking for what comes after none: that means the newest
	go func() {
		for i := 2; i <= total; i++ {
			for len(j.lines) > 20 { // as slow as the disk: nothing is dropped
				time.Sleep(time.Microsecond)
			}
			j.Append(event(i))
		}
	}()
	next := uint64(2)
	for next <= total {
		recs, err := j.Since(Query{After: next - 1, Limit: 70})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			if r.Seq != next {
				t.Fatalf("record %d where %d was due", r.Seq, next)
			}
			next++
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestCrashInTheFirstRecord(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName(1)), []byte(`{"seq":1,"ti`), 0o600); err != nil {
		t.Fatal(err)
	}
	j := open(t, Options{Dir: dir})
	j.Append(event(1))
	run(t, j)
	if got := seqs(t, open(t, Options{Dir: dir}), Query{}); got != "1" {
		t.Errorf("read back %q", got)
	}
}

func TestUnwritableDirectoryCostsOnlyTheFile(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	j.Append(event(1))
	run(t, j)
	if j.Dropped() != 1 || len(j.ring) != 1 {
		t.Errorf("dropped %d, in the ring %d", j.Dropped(), len(j.ring))
	}
}

func TestSubscribersAndBackpressure(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir()})
	fast, stopFast := j.Subscribe(queueLength + 10)
	slow, stopSlow := j.Subscribe(1)
	for i := range queueLength + 10 {
		j.Append(event(i)) // nobody writes: this must not wait
	}
	stopFast()
	stopFast()
	n := 0
	for range fast {
		n++
	}
	if n != queueLength+10 || len(slow) != 1 || j.Dropped() != 10 {
		t.Errorf("fast got %d, slow holds %d, dropped %d", n, len(slow), j.Dropped())
	}
	stopSlow()
}

func TestChanged(t *testing.T) {
	base := ha.Decision{Situation: ha.SituationLeading, Rule: ha.Lead, Why: "lease for 20 s",
		Actions: []ha.Action{{Kind: ha.WriteSync, Session: "s", Version: "1", Names: []string{"a"}}}}
	with := func(edit func(*ha.Decision)) ha.Decision {
		d := base
		d.Actions = append([]ha.Action(nil), base.Actions...)
		edit(&d)
		return d
	}
	for _, c := range []struct {
		what string
		next ha.Decision
		want bool
	}{
		{"same", base, false},
		{"another sentence", with(func(d *ha.Decision) { d.Why = "lease for 19 s" }), false},
		{"another version", with(func(d *ha.Decision) { d.Actions[0].Version = "2" }), false},
		{"position published", with(func(d *ha.Decision) { d.Actions = append(d.Actions, ha.Action{Kind: ha.PublishStatus}) }), false},
		{"slots kept", with(func(d *ha.Decision) { d.Actions = append(d.Actions, ha.Action{Kind: ha.KeepSlots}) }), false},
		{"another rule", with(func(d *ha.Decision) { d.Rule = ha.Idle }), true},
		{"another situation", with(func(d *ha.Decision) { d.Situation = ha.SituationFollowing }), true},
		{"another action", with(func(d *ha.Decision) { d.Actions[0].Kind = ha.Fence }), true},
		{"other names", with(func(d *ha.Decision) { d.Actions[0].Names = []string{"b"} }), true},
		{"no action", with(func(d *ha.Decision) { d.Actions = nil }), true},
	} {
		if got := Changed(base, c.next); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// TestReplay: a record that went through the disk decides the same again, and
// a falsified one is found out.
func TestReplay(t *testing.T) {
	o := ha.Observation{Now: boot.Instant(time.Hour), Wall: time.Now(), Self: ha.Self{Name: "n1"}, Settings: cluster.DefaultSettings()}
	o.Store = ha.Store{Known: true, Reachable: true, Seen: o.Now, View: cluster.View{Config: cluster.Config{Present: true, JSON: `{"p":"geheim"}`}}}
	before := ha.Memory{}
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	j.Append(OfTurn(t0, o, before, ha.Decide(o, before)))
	j.Append(OfAction(t0, "n1", ha.Action{Kind: ha.Fence}, time.Second, errors.New("no")))
	run(t, j)

	recs, err := open(t, Options{Dir: dir}).Since(Query{})
	if err != nil || len(recs) != 2 {
		t.Fatalf("%d records, %v", len(recs), err)
	}
	for _, r := range recs {
		if err := Replay(r); err != nil {
			t.Error(err)
		}
	}
	if recs[0].Turn.Observation.Store.View.Config.JSON != "" {
		t.Error("the configuration's text is in the journal")
	}
	if recs[1].Event.Error != "no" || recs[1].Why != "fence failed after 1s: no" {
		t.Errorf("event %+v", recs[1])
	}
	recs[0].Rule = "falsified"
	if err := Replay(recs[0]); err == nil {
		t.Error("a falsified record replays")
	}
}

func FuzzRead(f *testing.F) {
	f.Add("{\"seq\":1}\n{\"seq\":2")
	f.Add("\n\n{}\nnull\n[1]\n{\"seq\":-1}\n{\"seq\":3,\"turn\":{\"observation\":{\"now\":\"x\"}}}")
	f.Fuzz(func(t *testing.T, text string) {
		recs, err := Read(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			if r.Seq == 0 {
				t.Error("a record without a number")
			}
		}
	})
}
