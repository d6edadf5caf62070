package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
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
	line, err := p.in.ReadString('\n')
	if err != nil && line == "" {
		fmt.Fprintln(p.out)
		return "", aborted()
	}
	if line = strings.TrimSpace(line); line == "" {
		return fallback, nil
	}
	return line, nil
}

// Confirm asks a question of a command that is not this package's own; no is the
// default.
func Confirm(c *cobra.Command, question string) (bool, error) {
	return newPrompter(c).confirm(question)
}

// confirm asks a question that wants yes or no; no is the default.
func (p *prompter) confirm(question string) (bool, error) {
	for {
		fmt.Fprintf(p.out, "%s [y/N]: ", question)
		line, err := p.in.ReadString('\n')
		if err != nil && line == "" {
			fmt.Fprintln(p.out)
			return false, aborted()
		}
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return true, nil
		case "", "n", "no":
			return false, nil
		}
		fmt.Fprintln(p.out, "Error: invalid input")
	}
}
