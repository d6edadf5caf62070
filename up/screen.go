package up

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// screen prints lines that stay and, on a terminal, one below them that is
// written over. Errors of writing are ignored: a closed terminal is no reason
// to leave the cluster alone.
type screen struct {
	mu    sync.Mutex
	out   io.Writer
	tty   bool
	begun time.Time
	ready bool   // from then on lines bear the time of day
	live  string // the line that is written over
	turn  int
}

func newScreen(out io.Writer) *screen {
	s := &screen{out: out, begun: time.Now()}
	if f, ok := out.(*os.File); ok {
		s.tty = term.IsTerminal(int(f.Fd()))
	}
	return s
}

// say prints a line with the time since the start, or of the day.
func (s *screen) say(format string, values ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stamp := fmt.Sprintf("%5.1f s", time.Since(s.begun).Seconds())
	if s.ready {
		stamp = time.Now().Format("15:04:05")
	}
	s.print(stamp + "  " + fmt.Sprintf(format, values...))
}

// text prints lines as they are.
func (s *screen) text(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.print(text)
}

func (s *screen) print(text string) {
	if s.tty {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
	fmt.Fprintln(s.out, text)
	s.draw()
}

// show replaces the line that is written over; empty removes it.
func (s *screen) show(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = text
	if s.tty {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
	s.draw()
}

func (s *screen) draw() {
	if !s.tty || s.live == "" {
		return
	}
	width := 80
	if f, ok := s.out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 10 {
			width = w
		}
	}
	s.turn++
	line := []rune(string([]rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")[s.turn%10]) + " " + s.live)
	fmt.Fprint(s.out, string(line[:min(len(line), width-1)]))
}
