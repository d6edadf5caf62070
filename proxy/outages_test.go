package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/internal/httpclock"
	"github.com/matriarch-ha/matriarch/journal"
)

func memoryJournal(t testing.TB) *journal.Journal {
	t.Helper()
	j, err := journal.Open(journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func quietOutages(t testing.TB) *outages {
	return newOutages(memoryJournal(t), clock.Real{}, "e")
}

// events returns the journal's events of a name.
func events(t testing.TB, j *journal.Journal, name string) []journal.Record {
	t.Helper()
	all, err := j.Since(journal.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var out []journal.Record
	for _, r := range all {
		if r.Event != nil && r.Event.Name == name {
			out = append(out, r)
		}
	}
	return out
}

// awaitEvent waits for the n-th event of a name.
func awaitEvent(t testing.TB, j *journal.Journal, name string, n int) journal.Record {
	t.Helper()
	eventually(t, name, func() bool { return len(events(t, j, name)) >= n })
	return events(t, j, name)[n-1]
}

func TestTellsOfAFailover(t *testing.T) {
	j := memoryJournal(t)
	p, f := start(t, func(o *Options) { o.Journal, o.Name, o.Version = j, "entrypoint@test", "9.9" })
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0)
	f.send(t, "a", a, b)
	first := awaitEvent(t, j, journal.PrimaryFound, 1)
	if tr := first.Event.Traffic; tr.Primary != "a" || tr.Held != 0 || tr.Without <= 0 || first.Member != "entrypoint@test" {
		t.Fatalf("%+v %+v", first, tr)
	}
	if r := awaitEvent(t, j, journal.EntrypointStarted, 1); !strings.Contains(r.Why, "9.9") || !strings.Contains(r.Why, p.Addr().String()) || r.Event.Now.IsZero() {
		t.Fatalf("%+v", r)
	}
	one, two := connect(t, p.Addr()), connect(t, p.Addr())
	one.wantMember("a")
	two.wantMember("a")

	f.send(t, "b", a, b) // b holds the key and is not promoted yet
	lost := awaitEvent(t, j, journal.PrimaryLost, 1)
	if tr := lost.Event.Traffic; tr.Primary != "a" || tr.Timeline != 1 || tr.Open != 2 || tr.Broken != 2 || lost.Why != "b is the leader now" {
		t.Fatalf("%+v %+v", lost, tr)
	}
	one.wantEnd(stateTerminated)
	two.wantEnd(stateTerminated)
	var held []*client
	for range 3 {
		c := dialRaw(t, p.Addr())
		c.startup()
		held = append(held, c)
	}
	eventually(t, "three are held", func() bool { return p.Stats().Held == 3 })
	held[2].c.Close()
	eventually(t, "one gave up", func() bool { return p.Stats().Held == 2 })
	b.set(func() { b.role, b.lease = "primary", long })
	for _, c := range held[:2] {
		if err := c.ready(); err != nil {
			t.Fatal(err)
		}
	}
	found := awaitEvent(t, j, journal.PrimaryFound, 2)
	tr := found.Event.Traffic
	if tr.Primary != "b" || tr.Held != 3 || tr.Released != 2 || tr.Refused != 1 || tr.Broken != 2 || tr.Longest <= 0 {
		t.Fatalf("%+v", tr)
	}
	if tr.Without != found.Event.Now.Sub(lost.Event.Now) || tr.Silent < tr.Without {
		t.Fatalf("without %s, silent %s, lost at %d, found at %d", tr.Without, tr.Silent, lost.Event.Now, found.Event.Now)
	}
}

// A client that says goodbye and then waits, as some do, has lost nothing.
func TestAFarewellIsNoLoss(t *testing.T) {
	j := memoryJournal(t)
	p, f := start(t, func(o *Options) { o.Journal = j })
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	c := connect(t, p.Addr())
	c.wantMember("a")
	c.fe.Send(&pgproto3.Terminate{})
	if err := c.fe.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := c.ready(); err == nil {
		t.Fatal("the server goes on after a farewell")
	}
	f.send(t, "b", a)
	if tr := awaitEvent(t, j, journal.PrimaryLost, 1).Event.Traffic; tr.Open != 0 || tr.Broken != 0 {
		t.Errorf("%+v", tr)
	}
}

// A client that hangs up on a server's last words was sent away.
func TestAClientThatIsFasterThanItsServerWasSentAway(t *testing.T) {
	j := memoryJournal(t)
	p, f := start(t, func(o *Options) { o.Journal = j })
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	c := connect(t, p.Addr())
	c.wantMember("a")
	a.shutDown()
	var said *pgError
	if err := c.ready(); !errors.As(err, &said) {
		t.Fatal(err)
	}
	c.c.Close()
	eventually(t, "the session's end was noted", func() bool { return p.outages.drops.Load() == 1 })
	f.send(t, "b", a)
	if tr := awaitEvent(t, j, journal.PrimaryLost, 1).Event.Traffic; tr.Open != 1 || tr.Broken != 1 {
		t.Errorf("%+v", tr)
	}
}

// A server that dies under a lease that stands: clients feel it all the same.
func TestTellsOfAServerThatTakesNobody(t *testing.T) {
	j := memoryJournal(t)
	p, f := start(t, func(o *Options) { o.Journal = j })
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	awaitEvent(t, j, journal.PrimaryFound, 1)
	c := connect(t, p.Addr())
	c.wantMember("a")
	a.set(func() { a.starting = true })
	a.hangUp() // and the client, which has not noticed, does not
	eventually(t, "the session's end was noted", func() bool { return p.outages.drops.Load() == 1 })
	held := dialRaw(t, p.Addr())
	held.startup()
	lost := awaitEvent(t, j, journal.PrimaryLost, 1)
	if tr := lost.Event.Traffic; tr.Primary != "a" || tr.Open != 1 || tr.Broken != 1 || !strings.Contains(lost.Why, "does not accept connections") {
		t.Fatalf("%+v %+v", lost, tr)
	}
	a.set(func() { a.starting = false })
	if err := held.ready(); err != nil {
		t.Fatal(err)
	}
	if err := c.ready(); err == nil {
		t.Fatal("the session goes on without its server")
	}
	found := awaitEvent(t, j, journal.PrimaryFound, 2)
	if tr := found.Event.Traffic; tr.Primary != "a" || tr.Held != 1 || tr.Released != 1 || tr.Broken != 1 {
		t.Fatalf("%+v", tr)
	}
}

func TestTellsByWhatALeaseEnded(t *testing.T) {
	for name, c := range map[string]struct {
		lose func(*fakeMember)
		want string
	}{
		"its own word": {func(m *fakeMember) { m.lease = 0 }, "a says that it has no live lease"},
		"not primary":  {func(m *fakeMember) { m.role = "replica" }, "a says that its server is replica"},
		"silence":      {func(m *fakeMember) { m.silent = true }, "the time is over for which a could be relied on"},
	} {
		t.Run(name, func(t *testing.T) {
			j := memoryJournal(t)
			_, f := start(t, func(o *Options) { o.Journal, o.AskInterval = j, 20*time.Millisecond })
			a := newMember(t, "a", "primary", 500*time.Millisecond)
			f.send(t, "a", a)
			awaitEvent(t, j, journal.PrimaryFound, 1)
			a.set(func() { c.lose(a) })
			if lost := awaitEvent(t, j, journal.PrimaryLost, 1); !strings.Contains(lost.Why, c.want) {
				t.Fatal(lost.Why)
			}
		})
	}
}

// manual is a clock that the test moves.
type manual struct{ now boot.Instant }

func (m *manual) Now() boot.Instant { return m.now }
func (m *manual) Wall() time.Time   { return time.Unix(0, int64(m.now)) }

// TestCountsOfAnOutage goes through what can happen between a loss and a finding,
// in any order that clients can bring about.
func TestCountsOfAnOutage(t *testing.T) {
	a, b := served{"a", "a:1", 1}, served{"b", "b:1", 2}
	second := boot.Instant(time.Second)
	setup := func(t *testing.T) (*outages, *manual, *journal.Journal) {
		c, j := &manual{100 * second}, memoryJournal(t)
		o := newOutages(j, c, "e")
		o.start("begins")
		o.open(a)
		if len(events(t, j, journal.PrimaryFound)) != 1 {
			t.Fatal("the first primary was not told of")
		}
		return o, c, j
	}
	last := func(t *testing.T, j *journal.Journal, name string) journal.Traffic {
		all := events(t, j, name)
		return *all[len(all)-1].Event.Traffic
	}
	t.Run("a server that was stopped ended its sessions long before", func(t *testing.T) {
		o, c, j := setup(t)
		o.ended(endByServer, c.now)
		c.now += 5 * second
		o.cut(a, "gone", 0, func() {})
		if tr := last(t, j, journal.PrimaryLost); tr.Open != 1 || tr.Broken != 1 {
			t.Errorf("%+v", tr)
		}
	})
	t.Run("an end that is too old, or was followed by a new session, is another matter", func(t *testing.T) {
		o, c, j := setup(t)
		o.ended(endByServer, c.now)
		c.now += 31 * second
		o.cut(a, "gone", 0, func() {})
		o.open(a)
		o.ended(endByServer, c.now)
		o.quiet()
		o.cut(a, "gone", 0, func() {})
		for _, r := range events(t, j, journal.PrimaryLost) {
			if r.Event.Traffic.Broken != 0 {
				t.Errorf("%+v", r.Event.Traffic)
			}
		}
	})
	t.Run("who waits longer than the record can is not counted as served", func(t *testing.T) {
		o, c, j := setup(t)
		o.cut(a, "gone", 0, func() {})
		fast, slow := o.wait(), o.wait()
		o.open(b) // they wait: the first served proves it
		if n := len(events(t, j, journal.PrimaryFound)); n != 1 {
			t.Fatalf("%d findings", n)
		}
		c.now += second
		o.forwarded(b)
		fast(true)
		o.mu.Lock()
		o.settle() // as the timer does
		o.mu.Unlock()
		slow(true)
		if tr := last(t, j, journal.PrimaryFound); tr.Held != 2 || tr.Released != 1 || tr.Refused != 0 || tr.Without != time.Second {
			t.Errorf("%+v", tr)
		}
	})
	t.Run("a loss while the last finding is not written yet", func(t *testing.T) {
		o, c, j := setup(t)
		o.cut(a, "gone", 0, func() {})
		fast, slow := o.wait(), o.wait()
		o.forwarded(b)
		fast(true)
		c.now += second
		o.cut(b, "gone too", 1, func() {})
		late := o.wait()
		o.forwarded(a)
		slow(false)
		late(true)
		found := events(t, j, journal.PrimaryFound)
		if len(found) != 3 || found[1].Event.Traffic.Held != 2 || found[1].Event.Traffic.Released != 1 {
			t.Fatalf("%d %+v", len(found), found[len(found)-1].Event.Traffic)
		}
		if tr := found[2].Event.Traffic; tr.Held != 2 || tr.Released != 1 || tr.Refused != 1 {
			t.Errorf("%+v", tr)
		}
	})
	t.Run("all who waited gave up: its own word counts, when it is new", func(t *testing.T) {
		o, c, j := setup(t)
		o.refuse(a, "connection refused", 0)
		o.wait()(false)
		o.proved(a, c.now)
		c.now += 2 * second
		o.proved(a, c.now)
		if n := len(events(t, j, journal.PrimaryFound)); n != 1 {
			t.Fatalf("%d findings", n)
		}
		c.now += 2 * second
		o.proved(a, c.now)
		if tr := last(t, j, journal.PrimaryFound); tr.Without != 4*time.Second || tr.Refused != 1 {
			t.Errorf("%+v", tr)
		}
	})
	t.Run("a stop in between loses nothing", func(t *testing.T) {
		o, _, j := setup(t)
		o.cut(a, "gone", 0, func() {})
		o.wait()
		o.forwarded(b)
		o.stop()
		if len(events(t, j, journal.PrimaryFound)) != 2 || len(events(t, j, journal.EntrypointStopping)) != 1 {
			t.Error("not told")
		}
	})
}

func TestStatsPortServesTheJournal(t *testing.T) {
	j := memoryJournal(t)
	p, _ := start(t, func(o *Options) { o.Journal = j })
	get := func(path string) (*http.Response, string) {
		resp, err := http.Get("http://" + p.StatsAddr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := httpclock.Parse(resp.Header.Get(httpclock.Header)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return resp, string(b)
	}
	resp, text := get("/journal")
	var records []journal.Record
	if err := json.Unmarshal([]byte(text), &records); err != nil || len(records) != 1 || records[0].Event.Name != journal.EntrypointStarted {
		t.Fatalf("%d %s %v", resp.StatusCode, text, err)
	}
	if _, text := get("/journal?since=1"); text != "[]" {
		t.Errorf("after the last: %s", text)
	}
	if resp, text := get("/journal?since=x"); resp.StatusCode != 400 || !strings.Contains(text, "since") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	get("/stats")
	get("/")
	for range cap(p.reads) {
		p.reads <- struct{}{}
	}
	if resp, _ := get("/journal"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one reader too many: %d", resp.StatusCode)
	}
}

// TestAnnouncesItsJournal: members learn where it is, but not of a port that they
// could not reach.
func TestAnnouncesItsJournal(t *testing.T) {
	for listen, announced := range map[string]bool{"127.0.0.1:0": true, "0.0.0.0:0": true, "": false} {
		p, f := start(t, func(o *Options) { o.Stats = listen })
		m := newMember(t, "a", "primary", long)
		f.send(t, "a", m)
		eventually(t, "it was asked", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.asked != 0 })
		m.mu.Lock()
		said := m.announced
		m.mu.Unlock()
		if (said != "") != announced || announced && !strings.Contains(said, "port=") {
			t.Errorf("listening on %q: announced %q", listen, said)
		}
		if listen == "127.0.0.1:0" {
			req, err := http.NewRequestWithContext(context.Background(), "GET", "http://10.1.2.3:8008/lease", nil)
			if err != nil {
				t.Fatal(err)
			}
			p.announcement().Announce(req)
			if req.Header.Get("Matriarch-Entrypoint") != "" {
				t.Error("a port for this host alone was announced to another")
			}
		}
	}
}
