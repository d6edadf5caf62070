package cli

import (
	"bufio"
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
	in  *bufio.Reader
	out io.Writer
}

func newPrompter(c *cobra.Command) *prompter {
	return &prompter{in: bufio.NewReader(c.InOrStdin()), out: c.OutOrStdout()}
}

// ask returns the answer, or the default for an empty one. The end of the input
// means that nobody is there: the command is aborted.
func (p *prompter) ask(question, fallback string) (string, error) {
	fmt.Fprintf(p.out, "%s [%s]: ", question, fallback)
	line, err := p.line()
	if err == nil && line == "" {
		return fallback, nil
	}
	return line, err
}

// require asks until there is an answer.
func (p *prompter) require(question string) (string, error) {
	for {
		fmt.Fprintf(p.out, "%s: ", question)
		line, err := p.line()
		if err != nil || line != "" {
			return line, err
		}
	}
}

// line reads one answer. The end of the input means that nobody is there.
func (p *prompter) line() (string, error) {
	line, err := p.in.ReadString('\n')
	if err != nil && line == "" {
		fmt.Fprintln(p.out)
		return "", aborted()
	}
	return strings.TrimSpace(line), nil
}

// confirm asks a question that wants yes or no; no is the default.
func (p *prompter) confirm(question string) (bool, error) {
	for {
		fmt.Fprintf(p.out, "%s [y/N]: ", question)
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
		text, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.ErrOrStderr())
		return string(text), err
	}
	line, err := p.in.ReadString('\n')
	if err != nil && line == "" {
		return "", aborted()
	}
	return strings.TrimRight(line, "\r\n"), nil
}
