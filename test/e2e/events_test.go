package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/internal/httpclock"
	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// source is where a journal is read.
type source struct {
	name, url string
	from      uint64 // records up to this number are of earlier parts
}

func memberSource(m *lab.Member) *source {
	return &source{name: m.Name, url: "http://" + m.IP + ":8008"}
}

// records reads what the journal has since the part began, oldest first.
func (s *source) records(t *testing.T) (out []journal.Record, problem string) {
	t.Helper()
	for {
		after := s.from
		if len(out) > 0 {
			after = out[len(out)-1].Seq
		}
		var page []journal.Record
		url := s.url + "/journal?limit=1000&since=" + jsonText(after)
		if after == 0 {
			url = s.url + "/journal?limit=1000&since=2000-01-01T00:00:00Z"
		}
		if problem := fetch(t, url, &page); problem != "" {
			return nil, problem
		}
		out = append(out, page...)
		if len(page) < 1000 {
			return out, ""
		}
	}
}

func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// fetch reads a JSON answer, which must have the clocks.
func fetch(t *testing.T, url string, into any) (problem string) {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		return url + ": " + err.Error()
	}
	wall, _, err := httpclock.Parse(resp.Header.Get(httpclock.Header))
	if off := time.Since(wall).Abs(); err != nil || off > time.Minute {
		t.Errorf("%s: clocks %v, off by %s", url, err, off)
	}
	return ""
}

// begin leaves out what was recorded until now.
func begin(t *testing.T, sources ...*source) {
	t.Helper()
	for _, s := range sources {
		var page []journal.Record
		lab.Until(t, 30*time.Second, "the journal of "+s.name, func() string { return fetch(t, s.url+"/journal?limit=1", &page) })
		if len(page) > 0 {
			s.from = page[0].Seq
		}
	}
}

// await waits for a record that fits, and returns it.
func (s *source) await(t *testing.T, what string, fits func(journal.Record) bool) (found journal.Record) {
	t.Helper()
	lab.Until(t, 60*time.Second, what+" in the journal of "+s.name, func() string {
		all, problem := s.records(t)
		if problem != "" {
			return problem
		}
		if i := slices.IndexFunc(all, fits); i >= 0 {
			found = all[i]
			return ""
		}
		var have []string
		for _, r := range all {
			name := string(r.Rule)
			if r.Event != nil {
				name = "event " + r.Event.Name
			}
			have = append(have, name+": "+r.Why)
		}
		return "only\n" + strings.Join(have, "\n")
	})
	return found
}

func (s *source) event(t *testing.T, name string, fits func(journal.Event) bool) journal.Record {
	t.Helper()
	r := s.await(t, name, func(r journal.Record) bool {
		return r.Event != nil && r.Event.Name == name && (fits == nil || fits(*r.Event))
	})
	if r.Event.Now.IsZero() || r.Why == "" {
		t.Errorf("%s of %s: %+v", name, s.name, r)
	}
	return r
}

func lostPrimary(name string) func(journal.Event) bool {
	return func(e journal.Event) bool { return e.Traffic != nil && e.Traffic.Primary == name }
}

// TestEventsAreJournalled breaks the leader in four ways and looks for what each
// left in the journals of the members and of the entrypoint.
func TestEventsAreJournalled(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded})
	c.StartAll()
	lead := c.WaitHealthy(90 * time.Second)
	w := lab.StartWriter(t, c.DSN())
	entry := &source{name: "entrypoint", url: "http://" + c.Entry.IP + ":7000"}
	of := map[string]*source{}
	all := []*source{entry}
	for _, m := range c.Members {
		of[m.Name] = memberSource(m)
		all = append(all, of[m.Name])
	}
	of[lead.Name].event(t, journal.AgentStarted, nil)
	entry.event(t, journal.EntrypointStarted, nil)
	entrypointIsListed(t, lead, entry)

	postmasterKilled(t, c, w, of, entry, all)
	agentTerminated(t, c, w, of, entry, all)
	hostPoweredOff(t, c, w, of, entry, all)
	recordsLost(t, c, w, of, all)
}

func entrypointIsListed(t *testing.T, lead *lab.Member, entry *source) {
	t.Helper()
	lab.Until(t, 20*time.Second, "the entrypoint in the list of "+lead.Name, func() string {
		var list []struct{ URL, Seen string }
		if problem := fetch(t, memberSource(lead).url+"/entrypoints", &list); problem != "" {
			return problem
		}
		if len(list) == 1 && list[0].URL == entry.url && list[0].Seen != "" {
			return ""
		}
		return jsonText(list)
	})
}

func postmasterKilled(t *testing.T, c *lab.Cluster, w *lab.Writer, of map[string]*source, entry *source, all []*source) {
	t.Helper()
	lead := c.WaitHealthy(60 * time.Second)
	w.WaitProgress(t, 30*time.Second)
	begin(t, all...)
	pid := lead.Postmaster()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	exit := of[lead.Name].event(t, journal.ServerExited, nil)
	if want := (journal.Exit{PID: pid, Known: true, Signal: "SIGKILL"}); *exit.Event.Exit != want {
		t.Errorf("exit %+v, want %+v", *exit.Event.Exit, want)
	}
	of[lead.Name].await(t, "the decision", func(r journal.Record) bool {
		return r.Rule == ha.CrashedPrimary && strings.HasPrefix(r.Why, "PostgreSQL was ended by SIGKILL: starting it in place")
	})
	w.WaitProgress(t, 30*time.Second)
	lost := entry.event(t, journal.PrimaryLost, lostPrimary(lead.Name))
	if lost.Event.Traffic.Open < 1 || !strings.Contains(lost.Why, "connect") {
		t.Errorf("%s: %+v", lost.Why, lost.Event.Traffic)
	}
	found := entry.event(t, journal.PrimaryFound, lostPrimary(lead.Name))
	// All that were broken are only counted here: a client may be back before the
	// end of its session was seen.
	if tr := found.Event.Traffic; tr.Broken < 1 || tr.Held < 1 || tr.Released < 1 || tr.Longest <= 0 || tr.Without <= 0 || tr.Timeline != lost.Event.Traffic.Timeline {
		t.Errorf("%+v", tr)
	}
	// A start that comes too early, while the old backends end, is another's end.
	once(t, of[lead.Name], "the end of this postmaster", func(e journal.Event) bool {
		return e.Name == journal.ServerExited && e.Exit.PID == pid
	})
}

func once(t *testing.T, s *source, what string, fits func(journal.Event) bool) {
	t.Helper()
	all, problem := s.records(t)
	n := 0
	for _, r := range all {
		if r.Event != nil && fits(*r.Event) {
			n++
		}
	}
	if problem != "" || n != 1 {
		t.Errorf("%s is %d times in the journal of %s (%s)", what, n, s.name, problem)
	}
}

func agentTerminated(t *testing.T, c *lab.Cluster, w *lab.Writer, of map[string]*source, entry *source, all []*source) {
	t.Helper()
	lead := c.WaitHealthy(60 * time.Second)
	w.WaitProgress(t, 30*time.Second)
	begin(t, all...)
	lead.Agent.Signal(syscall.SIGTERM)
	if code, err := lead.Agent.Wait(30 * time.Second); err != nil || code != 0 {
		t.Fatalf("the agent ended with %d, %v\n%s", code, err, lead.Agent.Tail(20))
	}
	next := c.WaitLeader(30*time.Second, lead)
	raceIsTold(t, c, of, lead, next)
	lost := entry.event(t, journal.PrimaryLost, lostPrimary(lead.Name))
	found := entry.event(t, journal.PrimaryFound, lostPrimary(next.Name))
	if tr := found.Event.Traffic; tr.Broken < 1 || tr.Timeline <= lost.Event.Traffic.Timeline || tr.Held != tr.Released+tr.Refused {
		t.Errorf("lost %+v, found %+v", lost.Event.Traffic, tr)
	}
	lead.StartAgent() // its last words are in the files
	s := of[lead.Name]
	stopping := s.event(t, journal.AgentStopping, nil)
	exit := s.event(t, journal.ServerExited, nil)
	ended := s.event(t, journal.LeaseEnded, nil)
	last := s.event(t, journal.AgentEnded, nil)
	again := s.event(t, journal.AgentStarted, nil)
	if !strings.Contains(stopping.Why, "terminated") {
		t.Error(stopping.Why)
	}
	if e := exit.Event.Exit; !e.Asked || !e.Known || e.Code != 0 || e.Signal != "" {
		t.Errorf("%+v", e)
	}
	if !strings.Contains(ended.Why, "released") || !strings.Contains(again.Why, "ended in order") {
		t.Errorf("%q %q", ended.Why, again.Why)
	}
	for i, r := range []journal.Record{stopping, exit, ended, last, again} {
		if before := []journal.Record{{}, stopping, stopping, ended, last}[i]; r.Seq <= before.Seq {
			t.Errorf("%s (%d) is not after %d", r.Event.Name, r.Seq, before.Seq)
		}
	}
	if again.Seq != last.Seq+1 {
		t.Errorf("%d records between the end of one agent and the start of the next", again.Seq-last.Seq-1)
	}
}

// raceIsTold: the turn in which the winner takes the lease holds the word of each
// other member that was there, and who did not take it says why.
func raceIsTold(t *testing.T, c *lab.Cluster, of map[string]*source, lost, next *lab.Member) {
	t.Helper()
	took := of[next.Name].await(t, "the turn that takes the lease", func(r journal.Record) bool {
		return r.Turn != nil && slices.ContainsFunc(r.Turn.Actions, func(a ha.Action) bool { return a.Kind == ha.TakeLeader })
	})
	for _, m := range c.Members {
		if m == lost || m == next {
			continue
		}
		i := slices.IndexFunc(took.Turn.Observation.Peers, func(p ha.Peer) bool { return p.Name == m.Name })
		if i < 0 || took.Turn.Observation.Peers[i].Answered.IsZero() || !took.Turn.Observation.Peers[i].Position.Known() {
			t.Errorf("%s took the lease, and its journal does not have the word of %s: %+v", next.Name, m.Name, took.Turn.Observation.Peers)
		}
		of[m.Name].await(t, "why it does not lead", func(r journal.Record) bool {
			// It compared, or the other was faster than a word that it asked or waited for.
			return r.Rule == ha.Race && (strings.Contains(r.Why, next.Name+" is the better candidate") ||
				strings.Contains(r.Why, "waiting for the word of") || strings.Contains(r.Why, "asking for the position"))
		})
	}
}

func hostPoweredOff(t *testing.T, c *lab.Cluster, w *lab.Writer, of map[string]*source, entry *source, all []*source) {
	t.Helper()
	lead := c.WaitHealthy(60 * time.Second)
	w.WaitProgress(t, 30*time.Second)
	begin(t, all...)
	lead.PowerOff()
	next := c.WaitLeader(60*time.Second, lead)
	w.WaitProgress(t, 40*time.Second)
	lost := entry.event(t, journal.PrimaryLost, lostPrimary(lead.Name))
	if tr := lost.Event.Traffic; tr.Open < 1 { // its client may give it up first
		t.Errorf("%s: %+v", lost.Why, tr)
	}
	found := entry.event(t, journal.PrimaryFound, lostPrimary(next.Name))
	if tr := found.Event.Traffic; tr.Without <= 0 || tr.Silent <= 0 {
		t.Errorf("%+v", tr)
	}
	lead.PowerOn()
	lead.StartAgent()
	if r := of[lead.Name].event(t, journal.AgentStarted, nil); !strings.Contains(r.Why, "did not end in order") {
		t.Error(r.Why)
	}
	c.WaitHealthy(90 * time.Second)
}

func recordsLost(t *testing.T, c *lab.Cluster, w *lab.Writer, of map[string]*source, all []*source) {
	t.Helper()
	lead := c.WaitHealthy(60 * time.Second)
	makeBranch(t, c, lead)
	c.WaitHealthy(30 * time.Second)
	w.WaitProgress(t, 30*time.Second)
	begin(t, all...)
	old, _ := diverge(t, c, lead, "left") // three rows that nobody else gets
	old.Plug()
	s := of[old.Name]
	trouble := s.event(t, journal.LeaseTrouble, nil)
	ended := s.event(t, journal.LeaseEnded, nil)
	exit := s.event(t, journal.ServerExited, nil)
	if ended.Event.Now <= trouble.Event.Now || !exit.Event.Exit.Asked {
		t.Errorf("trouble %d, ended %d (%s), exit %+v", trouble.Event.Now, ended.Event.Now, ended.Why, exit.Event.Exit)
	}
	l := s.event(t, journal.RecordsLost, nil).Event.Loss
	if l.Transactions < 3 || !l.TransactionsKnown || l.Bytes == 0 || l.Bytes != uint64(l.To.LSN-l.From.LSN) || !strings.Contains(l.Kept, ".lost-wal") {
		t.Errorf("%+v", l)
	}
	c.WaitHealthy(90 * time.Second)
	once(t, s, "the loss", func(e journal.Event) bool { return e.Name == journal.RecordsLost })
}
