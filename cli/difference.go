package cli

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"github.com/spf13/cobra"
)

// showDifference prints what changes as a unified difference, through a pager
// when a terminal is too small for it.
func (a *app) showDifference(c *cobra.Command, before, after string) error {
	diff, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: difflib.SplitLines(before), B: difflib.SplitLines(after), FromFile: "", ToFile: "", Context: 3,
	})
	if err != nil {
		return err
	}
	// An empty last line is SplitLines' own.
	diff = strings.TrimSuffix("--- \n+++ \n"+strings.TrimPrefix(diff, "--- \n+++ \n"), " \n")
	diff = strings.TrimSuffix(diff, "\n")
	s := a.screen(c)
	if s != nil && s.Colour {
		diff = paintedDifference(diff)
	}
	if s != nil && strings.Count(diff, "\n") >= s.Lines-2 && a.page(c, diff) {
		return nil
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), diff)
	return err
}

func paintedDifference(diff string) string {
	lines := strings.Split(diff, "\n")
	for i, l := range lines {
		switch {
		case i < 2:
			lines[i] = painted(l, bold)
		case strings.HasPrefix(l, "+"):
			lines[i] = painted(l, green)
		case strings.HasPrefix(l, "-"):
			lines[i] = painted(l, red)
		}
	}
	return strings.Join(lines, "\n")
}

// page shows a text in $PAGER, less or more; false when there is none that
// works.
func (a *app) page(c *cobra.Command, text string) bool {
	for _, pager := range []string{getenv(a.opts.Env, "PAGER"), "less -RFX", "more"} {
		words := strings.Fields(pager)
		if len(words) == 0 {
			continue
		}
		if _, err := exec.LookPath(words[0]); err != nil {
			continue
		}
		cmd := exec.CommandContext(c.Context(), words[0], words[1:]...)
		cmd.Env = append(os.Environ(), "LESS=RFX")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text+"\n"), c.OutOrStdout(), c.ErrOrStderr()
		return cmd.Run() == nil
	}
	return false
}
