package remote

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/matriarch-ha/matriarch/drill/hand"
)

var (
	// greetPatience is how long a connection may take; answerPatience a verb,
	// such as the end of a server with all its checkpoints.
	greetPatience  = 30 * time.Second
	answerPatience = 3 * time.Minute
)

// tail keeps what a program has said last on standard error.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailLimit = 500

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-tailLimit):]
	return len(p), nil
}

// String is it in one line without control characters: it comes from elsewhere.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return harmless(string(bytes.ToValidUTF8(t.text, nil)))
}

func harmless(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
}

// ask runs the hand on a member's host. The request leaves only when the hand
// has greeted: who is killed before has asked for nothing.
func ask(ctx context.Context, command []string, verb string, r hand.Request) (hand.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], append(command[1:len(command):len(command)], "drill-hand", verb)...)
	// Without a terminal nobody is asked for a password, which the second process
	// could not be; and its Ctrl-C does not reach the connection.
	cmd.Dir, cmd.SysProcAttr, cmd.WaitDelay = "/", &syscall.SysProcAttr{Setsid: true}, time.Second
	// Scripts have children, which would keep the pipes open.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var said tail
	cmd.Stderr = &said
	to, err := cmd.StdinPipe()
	if err != nil {
		return hand.Found{}, err
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		return hand.Found{}, err
	}
	if err := cmd.Start(); err != nil {
		return hand.Found{}, err
	}
	defer context.AfterFunc(ctx, func() { from.Close() })() // some children are in sessions of their own
	late := time.AfterFunc(greetPatience, cancel)
	a, err := talk(to, from, r, func() { late.Stop() })
	late.Stop()
	to.Close()
	cancel()       // what was to be said was said; a connection that is shared may stay open
	_ = cmd.Wait() // how it ended says nothing: it was ended
	if err != nil {
		return hand.Found{}, fmt.Errorf("%s drill-hand %s: %w%s", strings.Join(command, " "), verb, err, because(&said))
	}
	if a.Error != "" {
		return hand.Found{}, errors.New(harmless(a.Error))
	}
	return a.Found, nil
}

func because(said *tail) string {
	if text := said.String(); text != "" {
		return ": " + text
	}
	return ""
}

// talk is what is said on one connection.
func talk(to io.Writer, from io.Reader, r hand.Request, greeted func()) (a hand.Answer, err error) {
	line, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, hand.MaxLine)
	switch {
	case !lines.Scan():
		return a, errors.New("no answer")
	case lines.Text() != hand.Greeting:
		return a, fmt.Errorf("it began with %q instead of %q: the program there must be of the same version, and nothing else may write to standard output", short(lines.Text()), hand.Greeting)
	}
	greeted()
	if _, err := to.Write(append(line, '\n')); err != nil {
		return a, fmt.Errorf("the connection broke: %w", err)
	}
	if !lines.Scan() {
		return a, errors.New("the connection ended before the answer")
	}
	if json.Unmarshal(lines.Bytes(), &a) != nil {
		return a, errors.New("the answer cannot be read") // it may hold secrets
	}
	return a, nil
}

func short(text string) string {
	const most = 80
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}
