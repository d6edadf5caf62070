package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// world is one run of a schedule. All but the clients and what they note runs on
// the test's goroutine.
type world struct {
	t     *testing.T
	s     Schedule
	c     *lab.Cluster
	begun boot.Instant

	clients     []*Client // through the entrypoint first
	entries     int       // how many of them
	stalls      *stalls
	losses      *lossReports
	stopClients func()

	active []*struck // at work now
	struck []*struck // all of the run
	timers []timer
	frozen map[*lab.Member]bool
	down   map[*lab.Member]int // faults that want the link down
	killed map[*lab.Member]bool
	round  int

	storeDown bool
	paused    bool
	pauses    []span // in them the promise of one primary does not hold

	mu    sync.Mutex
	notes []string

	lost     map[int64]bool // rows found to be lost, for good
	judged   judged
	findings []finding
}

// finding is a violated invariant.
type finding struct{ invariant, text string }

type timer struct {
	at boot.Instant
	s  *struck // nil: not of a fault
	do func()
}

// note keeps what happened, for the story of a failure.
func (w *world) note(format string, args ...any) {
	text := fmt.Sprintf("%8.3f s  ", now().Sub(w.begun).Seconds()) + fmt.Sprintf(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, text)
}

func (w *world) found(invariant, format string, args ...any) {
	f := finding{invariant, fmt.Sprintf(format, args...)}
	w.findings = append(w.findings, f)
	w.judged.violated(invariant)
	w.note("VIOLATED %s: %s", f.invariant, f.text)
}

// kernelFence is the members' setting of that name, if given.
var kernelFence string

// newWorld makes the cluster of a schedule, and waits until it replicates and is
// written to.
func newWorld(t *testing.T, s Schedule, store lab.StoreKind) *world {
	o := lab.Options{Store: store, Members: members, Timing: s.Timing,
		PgParams: "    max_wal_size: 64MB\n    min_wal_size: 32MB\n    tcp_keepalives_idle: 5\n"}
	if kernelFence != "" {
		o.Member = func(int) string { return "matriarch: {kernel_fence: " + kernelFence + "}\n" }
	}
	if s.Synchronous {
		o.DCS = "    synchronous_mode: true\n"
	}
	w := &world{t: t, s: s, c: lab.NewCluster(t, o), begun: now(), stalls: &stalls{}, losses: &lossReports{},
		frozen: map[*lab.Member]bool{}, down: map[*lab.Member]int{}, killed: map[*lab.Member]bool{}, lost: map[int64]bool{}}
	for i, m := range w.c.Members {
		// What a person would be asked for is allowed beforehand; what may be lost is
		// small enough to be reached.
		m.Edit("      use_slots: true\n", "      use_slots: true\n      remove_data_directory_on_rewind_failure: true\n      remove_data_directory_on_diverged_timelines: true\n",
			"maximum_lag_on_failover: 16777216", fmt.Sprintf("maximum_lag_on_failover: %d", maxLag))
		if s.Tmpfs[i] {
			// Every failover keeps another copy of the same segments, and there are hundreds.
			m.OnTmpfs("2g")
		}
		t.Cleanup(func() {
			_ = w.throttle(m, 0)
			m.PowerOff() // a group goes when it is empty
			removeGroup(m.Namespace())
		})
	}
	t.Cleanup(w.tell) // before anything of it is removed
	if store == lab.ZooKeeper {
		w.c.WaitStore(30 * time.Second)
	}
	w.c.StartAll()
	w.c.WaitHealthy(90 * time.Second)
	lab.Until(t, 30*time.Second, "the table", func() string {
		if _, err := lab.SQL(w.c.DSN(), "CREATE TABLE IF NOT EXISTS written (id bigint PRIMARY KEY)"); err != nil {
			return err.Error()
		}
		return ""
	})
	w.startClients()
	lab.Until(t, 30*time.Second, "a row", func() string {
		for _, client := range w.clients {
			if _, ok := client.last(); ok {
				return ""
			}
		}
		return "no client has one acknowledged"
	})
	w.note("%s leads, the clients write", w.leader().Name)
	return w
}

// startClients starts three writers through the entrypoint, and three on every
// node: a patient one and a quick one from within its own network, which nothing
// cuts off, and a quick one over the network.
func (w *world) startClients() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	w.stopClients = func() { cancel(); running.Wait() }
	w.t.Cleanup(w.stopClients)
	add := func(c *Client) {
		c.next, c.errs = int64(len(w.clients)+1)*1e9, map[string]int{}
		w.clients = append(w.clients, c)
		running.Go(func() { c.run(ctx) })
	}
	w.entries = 3
	for i := range w.entries {
		add(&Client{Name: fmt.Sprintf("entrypoint %d", i+1), dsn: w.c.DSN(), patience: 2 * time.Second, pace: 15 * time.Millisecond})
	}
	for _, m := range w.c.Members {
		inside := m.Dialer(ctx)
		add(&Client{Name: m.Name + " from within, patient", dsn: m.DSN(), dial: inside, patience: 90 * time.Second, pace: 10 * time.Millisecond})
		add(&Client{Name: m.Name + " from within", dsn: m.DSN(), dial: inside, patience: 1500 * time.Millisecond, pace: 10 * time.Millisecond})
		// Less than the second between a fence and the end of the lease: a packet that
		// is lost and sent again is no commit told too late.
		add(&Client{Name: m.Name + " over the network", dsn: m.DSN(), patience: 800 * time.Millisecond, pace: 20 * time.Millisecond})
	}
	running.Go(func() { w.stalls.run(ctx) })
	running.Go(func() { w.losses.run(ctx, w.c) })
}

// acks is what all clients heard.
func (w *world) acks() []Ack {
	var all []Ack
	for _, c := range w.clients {
		all = append(all, c.Acks()...)
	}
	return all
}

// leader is who acknowledged a row last.
func (w *world) leader() *lab.Member {
	var newest Ack
	for _, c := range w.clients {
		if a, ok := c.last(); ok && a.At > newest.At {
			newest = a
		}
	}
	return w.member(newest.Node)
}

// member is who has that address, by default the first.
func (w *world) member(ip string) *lab.Member {
	for _, m := range w.c.Members {
		if m.IP == ip {
			return m
		}
	}
	return w.c.Members[0]
}

// target is the member that a step is meant for.
func (w *world) target(s Step) *lab.Member {
	lead := w.leader()
	switch s.Target {
	case "leader":
		return lead
	case "replica":
		others := w.c.Others(lead)
		return others[s.Draw%uint64(len(others))]
	}
	return w.c.Members[s.Target[0]-'0']
}

// after has something done later, unless its fault is undone before.
func (w *world) after(d time.Duration, s *struck, do func()) {
	w.timers = append(w.timers, timer{now().Add(d), s, do})
}

// faultsOf runs a round: its faults strike and are undone at their times.
func (w *world) faultsOf(r Round) {
	start := now()
	for _, step := range r.Steps {
		w.timers = append(w.timers, timer{start.Add(step.At), nil, func() { w.strike(step) }})
	}
	end := start.Add(r.Length)
	for len(w.timers) > 0 {
		slices.SortStableFunc(w.timers, func(a, b timer) int { return int(a.at - b.at) })
		next := w.timers[0]
		w.timers = w.timers[1:]
		if next.at > end {
			break
		}
		time.Sleep(next.at.Sub(now())) // the schedule
		if next.s == nil || slices.Contains(w.active, next.s) {
			next.do()
		}
	}
	w.timers = nil
	time.Sleep(end.Sub(now()))
}

func (w *world) strike(step Step) {
	s := &struck{Step: step, m: w.target(step), span: span{from: now()}}
	if w.frozen[s.m] || s.m.Off() {
		w.note("%s: left out, %s stands still", step.Fault, s.m.Name)
		return
	}
	w.active = append(w.active, s)
	if err := faultNamed(step.Fault).strike(w, s); err != nil {
		w.active = w.active[:len(w.active)-1]
		w.note("%s of %s: left out: %v", step.Fault, step.Target, err)
		return
	}
	w.struck = append(w.struck, s)
	w.judged.strike(w.round, step.Fault)
	w.note("%s of %s (%s) for %.1f s: %s", step.Fault, s.m.Name, step.Target, step.For.Seconds(), s.what)
	w.after(step.For, s, func() { w.end(s) })
}

// end undoes a fault.
func (w *world) end(s *struck) {
	w.active = slices.DeleteFunc(w.active, func(o *struck) bool { return o == s })
	s.span.to = now()
	for h := range s.rules {
		if err := w.filter(h); err != nil {
			w.t.Fatal(err)
		}
	}
	if s.undo != nil {
		s.undo()
	}
	w.note("%s of %s undone", s.Fault, s.m.Name)
}

// undoAll undoes all that is at work and starts what does not run.
func (w *world) undoAll() {
	for len(w.active) > 0 {
		w.end(w.active[len(w.active)-1])
	}
	for _, m := range w.c.Members {
		m.Continue(m.Pids()...)
		w.ensureAgent(m)
	}
	w.c.Entry.Continue(w.c.Entry.Pids()...)
	w.ensureEntry()
	w.ensureStore()
}

// ensureAgent starts a member's agent if none runs, as a service manager would.
func (w *world) ensureAgent(m *lab.Member) {
	if m.Off() || w.frozen[m] {
		return
	}
	if !w.killed[m] && !m.Agent.Ended() {
		return
	}
	code, err := m.Agent.Wait(60 * time.Second) // one that was killed is held by its disk at most
	if err != nil {
		w.t.Fatal(err)
	}
	if !w.killed[m] {
		w.note("the agent of %s ended by itself with %d:\n%s", m.Name, code, m.Agent.Tail(5))
	}
	delete(w.killed, m)
	m.StartAgent()
}

func (w *world) ensureEntry() {
	if w.c.EntryProcess().Ended() {
		w.c.StartEntry()
	}
}

func (w *world) ensureStore() {
	if h := w.c.StoreHost(); h != nil {
		h.Continue(h.Pids()...)
		if w.storeDown {
			w.c.StartStore()
			w.storeDown = false
		}
	}
}

// tell logs what happened. With MATRIARCH_CHAOS_LOGS the hosts' logs and journals
// are kept there, also of a run that passes.
func (w *world) tell() {
	w.t.Helper()
	w.t.Logf("what happened:\n%s", w.story())
	dir := os.Getenv("MATRIARCH_CHAOS_LOGS")
	if dir == "" {
		return
	}
	to := filepath.Join(dir, strings.ReplaceAll(w.t.Name(), "/", "_"))
	const keep = `mkdir -p "$2"; cd "$1"; find . -type f '(' -name '*.log' -o -path '*/journal/*' ')' -print0 | tar c --null -T - | tar x -C "$2"`
	if out, err := exec.Command("sh", "-c", keep, "sh", w.c.Net.Dir, to).CombinedOutput(); err != nil {
		w.t.Logf("keep the logs in %s: %v: %s", to, err, out)
	}
}

// story is what happened.
func (w *world) story() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.notes, "\n")
}
