package hand

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/internal/proc"
)

// Greeting is the first line that the hand prints. Its number changes with what
// is said after it.
const Greeting = "matriarch drill-hand 1"

// The verbs.
const (
	Look     = "look"     // find agent and server; nothing is touched
	Stop     = "stop"     // ask the agent to end, and wait for it
	Kill     = "kill"     // SIGKILL to Target
	Pause    = "pause"    // SIGSTOP to Target, for a time at most
	Continue = "continue" // the way back of Pause
	Start    = "start"    // the way back of Stop and Kill

	// Of the processes of the hand's own.
	ending = "ending" // stops
	hold   = "hold"   // pauses
)

// Verbs are all that may be asked from afar.
func Verbs() []string { return []string{Look, Stop, Kill, Pause, Continue, Start} }

// MaxLine bounds a line of either side.
const MaxLine = 4 << 20

// Request is what is asked. Which fields count depends on the verb.
type Request struct {
	// Port is that of the agent's REST interface, on this host.
	Port int `json:"port,omitempty"`
	// SystemID is the identity of the cluster's database.
	SystemID string      `json:"system_id,omitempty"`
	Target   proc.Record `json:"target,omitzero"`
	Again    Again       `json:"again,omitzero"`
	// Seconds is how long a pause lasts at most.
	Seconds int `json:"seconds,omitempty"`
}

// Answer is what came of it.
type Answer struct {
	Error string `json:"error,omitempty"`
	Found Found  `json:"found,omitzero"`
}

// Found are a member's processes.
type Found struct {
	Agent      proc.Record `json:"agent"`
	Postmaster proc.Record `json:"postmaster"`
	Again      Again       `json:"again"`
}

// longest bounds what a verb may take: a stop waits for a checkpoint.
const longest = 10 * time.Minute

// lateness is how long after the greeting a request is taken. Who asks has seen
// the greeting, so a way back that begins when the asker is dead begins later
// than that: what it has not seen begin within lateness never will, however long
// a packet was on its way. See settle.
var lateness = 5 * time.Second

// Main is the whole of the hand.
func Main(ctx context.Context, verb string, in io.Reader, out io.Writer) error {
	if verb != hold && verb != ending && !slices.Contains(Verbs(), verb) {
		return fmt.Errorf("drill-hand %q: no such verb", verb)
	}
	if _, err := fmt.Fprintln(out, Greeting); err != nil {
		return err
	}
	greeted := time.Now()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, MaxLine)
	if !lines.Scan() {
		return errors.Join(lines.Err(), errors.New("drill-hand: nothing was asked (the drill runs it, not people)"))
	}
	var r Request
	if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
		return errors.New("drill-hand: what was asked is no request") // not what: it may hold secrets
	}
	var late error
	if age := time.Since(greeted); age > lateness {
		late = fmt.Errorf("what was asked came %s after the greeting, which is too late: nothing was done", age.Round(time.Second))
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	switch {
	case (verb == hold || verb == ending) && late != nil:
		return done(out, late)
	case verb == hold:
		return pausing(r, out)
	case verb == ending:
		return done(out, stop(ctx, r))
	}
	var a Answer
	err := late
	if err == nil {
		err = do(ctx, verb, r, &a)
	}
	return answer(out, a, err)
}

func answer(out io.Writer, a Answer, err error) error {
	if err != nil {
		a = Answer{Error: err.Error()}
	}
	line, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = out.Write(append(line, '\n'))
	return err
}

func do(ctx context.Context, verb string, r Request, a *Answer) (err error) {
	switch verb {
	case Look:
		a.Found, err = look(ctx, r)
	case Stop:
		err = apart(ending, r)
	case Kill:
		err = kill(ctx, r)
	case Pause:
		err = apart(hold, r)
	case Continue:
		err = goOn(ctx, r)
	case Start:
		err = start(ctx, r)
	}
	return err
}
