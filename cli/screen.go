package cli

import (
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Screen is the terminal that a command writes to.
type Screen struct {
	Columns, Lines int
	Colour         bool
}

// screen returns the terminal of the command's output, nil when it is none.
func (a *app) screen(c *cobra.Command) *Screen {
	if a.opts.Screen != nil {
		return a.opts.Screen
	}
	f, ok := c.OutOrStdout().(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	s := &Screen{Columns: 80, Lines: 24}
	if columns, lines, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
		s.Columns, s.Lines = columns, lines
	}
	kind := getenv(a.opts.Env, "TERM")
	s.Colour = getenv(a.opts.Env, "NO_COLOR") == "" && kind != "" && kind != "dumb"
	return s
}

// The colours in use, as the numbers that terminals take.
const (
	plainly = ""
	bold    = "1"
	red     = "31"
	green   = "32"
	yellow  = "33"
)

// painted puts text in a colour.
func painted(text, colour string) string {
	if colour == plainly {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// roleColour and stateColour make what matters stand out in a list.
func roleColour(role string) string {
	switch role {
	case "Leader", "Standby Leader":
		return bold
	}
	return plainly
}

func stateColour(state string) string {
	switch state {
	case "running", "streaming":
		return green
	case "starting", "restarting", "stopping", "creating replica", "in archive recovery", "initializing new cluster":
		return yellow
	case "":
		return plainly
	}
	return red
}
