package drill

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// word is one line to the second process, and answer one from it.
type word struct {
	Op     string `json:"op"` // "arm" or "disarm"
	ID     int    `json:"id"`
	Undo   Undo   `json:"undo,omitzero"`
	Within int64  `json:"within_ms,omitempty"`
}

type answer struct {
	ID      int    `json:"id"`
	Expired bool   `json:"expired,omitempty"`
	Error   string `json:"error,omitempty"`
}

// answerPatience is how long the second process may take for an answer; it only
// writes down what it is told.
const answerPatience = 10 * time.Second

// wordLimit bounds a line between the two: a way back may hold all that is
// needed to start a process again.
const wordLimit = 4 << 20

func scanner(from io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(from)
	s.Buffer(nil, wordLimit)
	return s
}

// Second is the second process of a drill, and the Watch of its run. It is the
// same program in a session of its own. What is to be undone goes to it through
// a pipe, since a connection string may hold a password; when that pipe closes,
// however this process ended, it undoes what was not disarmed.
type Second struct {
	to      io.WriteCloser
	answers chan answer

	mu sync.Mutex
	n  int
}

// StartSecond starts it.
func StartSecond(command []string, env []string) (*Second, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Dir = env, "/"
	// It tells what it undid where this process would have. A file that is
	// inherited needs nobody to copy it.
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	to, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// Files that whoever started us left open, such as a lock, are not for a
	// process that may outlive us.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) // kernels before 5.11 do not have it
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the process that undoes when this one cannot: %w", err)
	}
	s := newSecond(to, from)
	go cmd.Wait() //nolint:errcheck // whoever asks it notices its end
	return s, nil
}

func newSecond(to io.WriteCloser, from io.Reader) *Second {
	s := &Second{to: to, answers: make(chan answer)}
	go func() {
		defer close(s.answers)
		for lines := scanner(from); lines.Scan(); {
			var a answer
			if json.Unmarshal(lines.Bytes(), &a) != nil {
				return
			}
			s.answers <- a
		}
	}()
	return s
}

// Arm implements Watch.
func (s *Second) Arm(u Undo, within time.Duration) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	_, err := s.ask(word{Op: "arm", ID: s.n, Undo: u, Within: within.Milliseconds()})
	if err != nil {
		err = fmt.Errorf("nothing would undo it if this process were killed: %w", err)
	}
	return s.n, err
}

// Disarm implements Watch.
func (s *Second) Disarm(id int) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.ask(word{Op: "disarm", ID: id})
	return a.Expired, err
}

func (s *Second) ask(w word) (answer, error) {
	line, err := json.Marshal(w)
	if err != nil {
		return answer{}, err
	}
	if _, err := s.to.Write(append(line, '\n')); err != nil {
		return answer{}, fmt.Errorf("the second process has ended: %w", err)
	}
	late := time.NewTimer(answerPatience)
	defer late.Stop()
	for {
		select {
		case a, ok := <-s.answers:
			switch {
			case !ok:
				return answer{}, errors.New("the second process has ended")
			case a.ID != w.ID:
				continue // the late answer of an earlier question
			case a.Error != "":
				return a, errors.New(a.Error)
			}
			return a, nil
		case <-late.C:
			return answer{}, errors.New("the second process does not answer")
		}
	}
}

// Release lets the second process end, after it has undone what is still armed.
func (s *Second) Release() { s.to.Close() }
