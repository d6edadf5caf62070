package chaos

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

var peopleFaults = []fault{
	{"switchover", func(w *world, s *struck) error {
		s.what = "matriarch switchover"
		done := w.command("switchover", "--force", "lab")
		go func() { w.note("switchover: %s", oneLine(<-done)) }()
		return nil
	}},
	{"pause", func(w *world, s *struck) error {
		s.what = "matriarch pause"
		w.paused = true
		done := w.command("pause", "lab")
		s.undo = func() {
			go func() {
				w.note("pause: %s", oneLine(<-done))
				w.note("resume: %s", oneLine(<-w.command("resume", "lab")))
			}()
		}
		return nil
	}},
}

// command begins a command of the program, asking any member.
func (w *world) command(args ...string) <-chan string {
	done := make(chan string, 1)
	for _, m := range w.c.Members {
		args = append(args, "--api", fmt.Sprintf("http://%s:8008", m.IP))
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, lab.Binary(w.t), args...).CombinedOutput()
		if err != nil {
			out = append(out, err.Error()...)
		}
		done <- string(out)
	}()
	return done
}

func oneLine(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", " | ")
}
