package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitRunning = 3 // the outcome was not known when the wait ended
	exitNotMet  = 4 // a drill's objective was not met
)

// exitError ends the program with a code; an empty text was said already.
type exitError struct {
	code int
	text string
}

func (e *exitError) Error() string { return e.text }

// ExitCode is the process's exit code.
func (e *exitError) ExitCode() int { return e.code }

func aborted() error { return &exitError{exitFailed, "Aborted!"} }

func usage(c *cobra.Command, err error) error {
	if n := (*strconv.NumError)(nil); errors.As(err, &n) { // in words that are not Go's
		why := "it is not a number"
		if errors.Is(n.Err, strconv.ErrRange) {
			why = "the number is too large"
		}
		err = errors.New(strings.Replace(err.Error(), n.Error(), why, 1))
	}
	return &exitError{exitUsage, fmt.Sprintf("Error: %v\nTry '%s --help' for help.", err, c.CommandPath())}
}

// refused is the end of a command that a member refused or that failed; all was
// said. The reference ends with 0 then.
func (a *app) refused() error {
	if a.opts.Patronictl {
		return nil
	}
	return &exitError{code: exitFailed}
}

// stillRunning is the end of a command whose outcome is not known.
func (a *app) stillRunning() error {
	if a.opts.Patronictl {
		return nil
	}
	return &exitError{code: exitRunning}
}
