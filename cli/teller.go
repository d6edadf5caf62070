package cli

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// teller shows the progress of something long on standard error: lines that
// stay and, on a terminal, one below them that is written over.
type teller struct {
	mu      sync.Mutex
	cmd     *cobra.Command
	begun   time.Time
	columns int // of the terminal; 0: it is none
	live    string
}

func newTeller(c *cobra.Command) *teller {
	t := &teller{cmd: c, begun: time.Now()}
	if f, ok := c.ErrOrStderr().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		t.columns = 80
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 10 {
			t.columns = columns
		}
	}
	return t
}

// Say tells a line that stays, with the time since the beginning.
func (t *teller) Say(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
	for i, line := range strings.Split(text, "\n") {
		stamp := strings.Repeat(" ", 8)
		if i == 0 {
			stamp = fmt.Sprintf("%6.1f s", time.Since(t.begun).Seconds())
		}
		warn(t.cmd, "%s  %s", stamp, line)
	}
	t.draw()
}

// Show replaces the line that is written over; empty removes it.
func (t *teller) Show(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
	t.live = text
	t.draw()
}

func (t *teller) erase() {
	if t.columns > 0 && t.live != "" {
		fmt.Fprint(t.cmd.ErrOrStderr(), "\r\x1b[K")
	}
}

func (t *teller) draw() {
	if t.columns == 0 || t.live == "" {
		return
	}
	line := []rune(fmt.Sprintf("%6.1f s  %s", time.Since(t.begun).Seconds(), harmless(t.live)))
	fmt.Fprint(t.cmd.ErrOrStderr(), string(line[:min(len(line), t.columns-1)]))
}
