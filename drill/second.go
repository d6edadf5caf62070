package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

const (
	// tryFor is how long the second process tries to go one way back.
	tryFor = 5 * time.Minute
	// tryAgain is the first pause between two attempts; it grows.
	tryAgain     = 500 * time.Millisecond
	tryAgainMost = 10 * time.Second
)

// secondary is the second process: what it was told, and what it did of it.
type secondary struct {
	undoers Undoers
	say     func(format string, values ...any)
	tryFor  time.Duration

	armed []*waiting
}

// waiting is one way back that may have to be gone.
type waiting struct {
	word
	due     *time.Timer // nil: it is never due while the pipe is open
	expired bool
}

func (w *waiting) stop() {
	if w.due != nil {
		w.due.Stop()
	}
}

// RunSecond is the whole of the second process: it reads from in until that ends,
// and then undoes what is still armed, the last first. log gets what it did.
// stop, when it is closed, is an end like that of in.
func RunSecond(in io.Reader, out, log io.Writer, stop <-chan struct{}, undoers Undoers) error {
	s := &secondary{undoers: undoers, tryFor: tryFor, say: func(format string, values ...any) {
		fmt.Fprintf(log, "matriarch drill: "+format+"\n", values...)
	}}
	return s.run(in, out, stop)
}

func (s *secondary) run(in io.Reader, out io.Writer, stop <-chan struct{}) error {
	words := make(chan word)
	go func() {
		defer close(words)
		for lines := scanner(in); lines.Scan(); {
			var w word
			if json.Unmarshal(lines.Bytes(), &w) != nil {
				return
			}
			words <- w
		}
	}()
	due := make(chan *waiting)
	for {
		select {
		case w, ok := <-words:
			if !ok {
				return s.undoAll()
			}
			a := s.hear(w, due)
			if line, err := json.Marshal(a); err == nil {
				_, _ = out.Write(append(line, '\n')) // nobody there: words end next
			}
		case w := <-due:
			if slices.Contains(s.armed, w) && !w.expired {
				s.say("the fault has lasted too long: %s", w.Undo.Say)
				w.expired = s.undo(w) == nil
			}
		case <-stop:
			return s.undoAll()
		}
	}
}

func (s *secondary) hear(w word, due chan<- *waiting) answer {
	switch w.Op {
	case "arm":
		if _, ok := s.undoers[w.Undo.Kind]; !ok {
			return answer{ID: w.ID, Error: fmt.Sprintf("the second process cannot undo %q", w.Undo.Kind)}
		}
		a := &waiting{word: w}
		if w.Within > 0 {
			a.due = time.AfterFunc(time.Duration(w.Within)*time.Millisecond, func() { due <- a })
		}
		s.armed = append(s.armed, a)
		return answer{ID: w.ID}
	case "disarm":
		for i, a := range s.armed {
			if a.ID == w.ID {
				a.stop()
				s.armed = slices.Delete(s.armed, i, i+1)
				return answer{ID: w.ID, Expired: a.expired}
			}
		}
	}
	return answer{ID: w.ID, Error: fmt.Sprintf("%s %d: nothing of that number is armed", w.Op, w.ID)}
}

// undoAll goes all ways back that are left. One that does not work stops none
// of the others.
func (s *secondary) undoAll() error {
	left := s.armed
	s.armed = nil
	var first error
	for _, w := range slices.Backward(left) {
		w.stop()
		if w.expired {
			continue
		}
		s.say("the drill ended in the middle: %s", w.Undo.Say)
		if err := s.undo(w); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// undo tries until it works or the time is over.
func (s *secondary) undo(w *waiting) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.tryFor)
	defer cancel()
	for pause := tryAgain; ; pause = min(2*pause, tryAgainMost) {
		err := s.undoers.Do(ctx, w.Undo)
		if err == nil {
			s.say("done: %s", w.Undo.Say)
			return nil
		}
		select {
		case <-ctx.Done():
			s.say("could not %s: %v. Do it by hand", w.Undo.Say, err)
			return err
		case <-time.After(pause):
		}
	}
}
