package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// prompter asks a person. Questions go where answers of the command go, as the
// reference has it.
type prompter struct {
	ctx context.Context
	in  *bufio.Reader
	out io.Writer
}

func newPrompter(c *cobra.Command) *prompter {
	return &prompter{ctx: c.Context(), in: bufio.NewReader(c.InOrStdin()), out: c.OutOrStdout()}
}

// ask returns the answer, or the default for an empty one. The end of the input
// means that nobody is there: the command is aborted.
func (p *prompter) ask(question, fallback string) (string, error) {
	fmt.Fprintf(p.out, "%s [%s]: ", Harmless(question), Harmless(fallback))
	line, err := p.line()
	if err == nil && line == "" {
		return fallback, nil
	}
	return line, err
}

// require asks until there is an answer.
func (p *prompter) require(question string) (string, error) {
	for {
		fmt.Fprintf(p.out, "%s: ", Harmless(question))
		line, err := p.line()
		if err != nil || line != "" {
			return line, err
		}
	}
}

// line reads one answer. The end of the input means that nobody is there.
func (p *prompter) line() (string, error) {
	line, err := p.read()
	if err != nil {
		fmt.Fprintln(p.out)
	}
	return strings.TrimSpace(line), err
}

// read waits for a line, or for the end of the command: who interrupts it wants
// no other question.
func (p *prompter) read() (string, error) {
	type input struct {
		line string
		err  error
	}
	lines := make(chan input, 1)
	go func() {
		line, err := p.in.ReadString('\n')
		lines <- input{line, err}
	}()
	select {
	case in := <-lines:
		if in.err != nil && in.line == "" {
			return "", aborted()
		}
		return in.line, nil
	case <-p.ctx.Done():
		return "", aborted()
	}
}

// Confirm asks a question of a command that is not this package's own; no is the
// default.
func Confirm(c *cobra.Command, question string) (bool, error) {
	return newPrompter(c).confirm(question)
}

// confirm asks a question that wants yes or no; no is the default.
func (p *prompter) confirm(question string) (bool, error) {
	for {
		fmt.Fprintf(p.out, "%s [y/N]: ", Harmless(question))
		line, err := p.line()
		if err != nil {
			return false, err
		}
		switch strings.ToLower(line) {
		case "y", "yes":
			return true, nil
		case "", "n", "no":
			return false, nil
		}
		fmt.Fprintln(p.out, "Error: invalid input")
	}
}

// secret asks for a password: without echo on a terminal, else it is the next
// line of the input.
func (p *prompter) secret(c *cobra.Command, question string) (string, error) {
	fmt.Fprintf(c.ErrOrStderr(), "%s: ", question)
	if f, ok := c.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return p.unseen(c, int(f.Fd()))
	}
	line, err := p.read()
	return strings.TrimRight(line, "\r\n"), err
}

// unseen reads a line from a terminal without echo, and leaves the terminal as
// it was also when the command is interrupted.
func (p *prompter) unseen(c *cobra.Command, terminal int) (string, error) {
	before, err := term.GetState(terminal)
	if err != nil {
		return "", err
	}
	type input struct {
		line []byte
		err  error
	}
	lines := make(chan input, 1)
	go func() {
		line, err := term.ReadPassword(terminal)
		lines <- input{line, err}
	}()
	defer fmt.Fprintln(c.ErrOrStderr())
	select {
	case in := <-lines:
		return string(in.line), in.err
	case <-p.ctx.Done():
		return "", errors.Join(aborted(), term.Restore(terminal, before))
	}
}
