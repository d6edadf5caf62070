package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// world is a make-believe cluster with everything that a drill may change in it.
// Every call that a drill makes of it is counted, so that a test can end the
// drill before or in the middle of each.
type world struct {
	mu      sync.Mutex
	calls   int
	before  func(call int, what string) error // may interrupt, fail or kill
	broken  map[string]bool                   // what was done and not undone, by name
	table   bool
	claimed bool
	leader  string
	given   bool // the leadership, by a switchover to a named member
	late    int  // looks until the cluster shows what was done
	ledger  *Ledger
	writing bool
	client  sync.WaitGroup
	acks    bool // writes are acknowledged
	silent  bool // also after the fault
	lose    int  // rows that vanish
	idle    bool // nobody takes over, and writes go on
	agent   string
	stuck   bool // one client is never served again after the fault
	lags    int  // looks for which n2 is too far behind

	log []string
	// itself is what was not as before when the drill ended, before the second
	// process did anything.
	itself error
}

func newWorld() *world {
	return &world{broken: map[string]bool{}, leader: "n1", claimed: true, ledger: NewLedger(2, time.Now()), before: func(int, string) error { return nil }}
}

// enter counts a call and lets the test act.
func (w *world) enter(what string) error {
	w.mu.Lock()
	w.calls++
	n := w.calls
	w.log = append(w.log, fmt.Sprintf("%d %s", n, what))
	f := w.before
	w.mu.Unlock()
	return f(n, what)
}

// asBefore says what is not as it was.
func (w *world) asBefore() error {
	var left []string
	for name := range w.broken {
		left = append(left, name)
	}
	if w.table {
		left = append(left, "the table")
	}
	if w.claimed {
		left = append(left, "the claim")
	}
	if len(left) > 0 {
		slices.Sort(left)
		return errors.New("left behind: " + strings.Join(left, ", "))
	}
	return nil
}

func (w *world) picture() Picture {
	p := Picture{Scope: "demo", TTL: 30 * time.Second, MaxLag: 1 << 20}
	for _, name := range []string{"n1", "n2", "n3"} {
		m := Member{Name: name, Answers: true, State: "running", Timeline: 1, Started: "t0", Agent: "a0" + w.agent, LagKnown: true, Eligible: true}
		if w.leader != "n1" {
			m.Timeline = 2
		}
		m.Leads, m.Primary = name == w.leader, name == w.leader
		m.Streaming = !m.Leads
		if name == "n2" && w.lags > 0 {
			m.Lag = 2 * p.MaxLag
		}
		if name == "n1" && len(w.broken) > 0 {
			m.Answers, m.Silent = false, "down"
		}
		p.Members = append(p.Members, m)
	}
	return p
}

// Look implements Cluster.
func (w *world) Look(ctx context.Context) (Picture, error) {
	if err := w.enter("look"); err != nil {
		return Picture{}, err
	}
	if ctx.Err() != nil {
		return Picture{}, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leader == "n1" && w.struck() && !w.given && !w.idle {
		if w.late++; w.late > 3 {
			w.leader, w.acks = "n2", true
		}
	}
	p := w.picture()
	w.lags = max(w.lags-1, 0)
	return p, nil
}

func (w *world) struck() bool { return w.late > 0 || len(w.broken) > 0 }

// Switchover implements Cluster.
func (w *world) Switchover(_ context.Context, _, candidate string) error {
	if err := w.enter("switchover"); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late++
	if candidate != "" {
		w.leader, w.given = candidate, true
	}
	return nil
}

// Make, Undo, Rows and Close implement Table.
func (w *world) Make(context.Context) error {
	err := w.enter("make the table")
	// A statement whose answer was lost has happened.
	w.table = true
	return err
}

func (w *world) Undo() Undo { return Undo{Say: "drop the table", Kind: "drop"} }

func (w *world) Rows(context.Context) ([]RowID, error) {
	if err := w.enter("read the rows"); err != nil {
		return nil, err
	}
	var out []RowID
	for i, a := range w.ledger.Acks() {
		if i >= w.lose {
			out = append(out, a.ID)
		}
	}
	return out, nil
}

func (w *world) Close() { w.claimed = false }

// Start, Stop and Ledger implement Writing: a client that writes while the
// cluster takes writes.
func (w *world) Start() {
	w.writing, w.acks = true, true
	w.client.Go(func() {
		for {
			w.mu.Lock()
			writing, acks := w.writing, w.acks && (!w.silent || !w.struck()) || w.idle
			stuck := w.stuck && w.struck()
			w.mu.Unlock()
			if !writing {
				return
			}
			for client := range 2 {
				id := w.ledger.Begin(client)
				if acks && !(stuck && client == 1) {
					w.ledger.End(id, Acknowledged, time.Now(), "")
				} else {
					w.ledger.End(id, Failed, time.Now(), "down")
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

func (w *world) Stop(context.Context) {
	w.mu.Lock()
	w.writing = false
	w.mu.Unlock()
	w.client.Wait()
}

func (w *world) Ledger() *Ledger { return w.ledger }

// breaks makes steps that break things, each with its way back; the last one
// stops the writes.
func (w *world) breaks(names ...string) []Step {
	var out []Step
	for i, name := range names {
		out = append(out, Step{Say: "break " + name, Undo: &Undo{Say: "mend " + name, Kind: "mend", Args: map[string]string{"name": name}},
			Do: func(context.Context) error {
				err := w.enter("break " + name)
				w.mu.Lock()
				defer w.mu.Unlock()
				w.broken[name] = true // also where the answer is lost
				w.acks = i < len(names)-1
				return err
			}})
	}
	return out
}

// undoers mend, and drop the table. Those of the second process are not counted.
func (w *world) undoers(enter func(string) error) Undoers {
	return Undoers{
		"mend": func(_ context.Context, args map[string]string) error {
			if err := enter("mend " + args["name"]); err != nil {
				return err
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.broken, args["name"])
			return nil
		},
		"drop": func(context.Context, map[string]string) error {
			if err := enter("drop the table"); err != nil {
				return err
			}
			w.table = false
			return nil
		},
	}
}

// killed is how the fakes end a drill as SIGKILL does: nothing of it runs any
// more.
type killed struct{}

func (killed) Error() string { return "killed" }

// counted counts the calls to the second process, and passes them on.
type countedWatch struct {
	*Second
	w *world
}

func (c countedWatch) Arm(u Undo, within time.Duration) (int, error) {
	if err := c.w.enter("arm: " + u.Say); err != nil {
		return 0, err
	}
	id, err := c.Second.Arm(u, within)
	return id, errors.Join(err, c.w.enter("armed: "+u.Say))
}

func (c countedWatch) Disarm(id int) (bool, error) {
	if err := c.w.enter("disarm"); err != nil {
		return false, err
	}
	return c.Second.Disarm(id)
}

// second runs the second process's code in this one; the channel is closed when
// it has ended.
func second(u Undoers) (*Second, <-chan struct{}) {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		RunSecond(inR, outW, io.Discard, nil, u)
		outW.Close()
	}()
	return newSecond(inW, outR), done
}

type quietly struct{}

func (quietly) Say(string)  {}
func (quietly) Show(string) {}
