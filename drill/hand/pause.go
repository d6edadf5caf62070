package hand

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/internal/proc"
)

// well is what a process of the hand's own says when it has done its work.
const well = "done"

// apart lets a process of its own do something, in a session of its own: what
// ends the connection does not end it in the middle.
func apart(verb string, r Request) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "drill-hand", verb)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Pipes of its own: it must not keep the connection open.
	to, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start a process of its own: %w", err)
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := to.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("the process of its own has ended: %w", err)
	}
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		switch text := lines.Text(); {
		case text == well:
			return nil
		case text != Greeting:
			return errors.New(text)
		}
	}
	return errors.New("the process of its own has ended")
}

// done tells the asker how it went, in one line.
func done(out io.Writer, err error) error {
	text := well
	if err != nil {
		text = strings.ReplaceAll(err.Error(), "\n", " ")
	}
	_, _ = fmt.Fprintln(out, text) // the asker may be gone; what was begun goes on
	return err
}

// pausing is the process that pauses: until its time is over, or until somebody
// calls at its socket.
func pausing(r Request, out io.Writer) error {
	if r.Seconds < 1 {
		return done(out, fmt.Errorf("a pause of %d seconds is too short", r.Seconds))
	}
	at, err := mark(paused(r.Target))
	if err == nil && at == nil {
		err = errors.New("another drill pauses it already")
	}
	if err == nil {
		err = halt(r.Target)
	}
	if done(out, err) != nil {
		return err
	}
	over := time.AfterFunc(time.Duration(r.Seconds)*time.Second, func() { at.Close() })
	defer over.Stop()
	caller, _ := at.Accept() // an error: the time is over
	err = r.Target.Send(unix.SIGCONT)
	at.Close() // before the caller is told: a pause may follow at once
	if caller != nil {
		caller.Close()
	}
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// halt stops a process and waits until it stands still: the kernel takes its
// time with a process of many threads.
func halt(p proc.Record) error {
	if err := p.Send(unix.SIGSTOP); err != nil {
		return err
	}
	for until := time.Now().Add(settle); ; time.Sleep(beat / 10) {
		if standsStill(p) {
			return nil
		}
		if time.Now().After(until) {
			return errors.Join(fmt.Errorf("process %d does not stand still", p.PID), p.Send(unix.SIGCONT))
		}
	}
}

func standsStill(p proc.Record) bool {
	s, _ := statusOf(p.PID)
	return len(s["State"]) > 0 && s["State"][0] == "T"
}

// goOn is the way back of pause. It ends the pausing process too, which would
// otherwise end the pause of a later drill.
func goOn(ctx context.Context, r Request) error {
	for settled := time.Now().Add(settle); ; {
		called := call(ctx, paused(r.Target))
		switch err := r.Target.Send(unix.SIGCONT); {
		case errors.Is(err, os.ErrProcessDone):
			return nil
		case err != nil:
			return err
		case called || time.Now().After(settled):
			return nil
		}
		if err := wait(ctx); err != nil {
			return err
		}
	}
}

// call lets the pausing process end and waits until it has let go on; false:
// there is none.
func call(ctx context.Context, what string) bool {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", "@matriarch-drill/"+what)
	if err != nil {
		return false
	}
	defer c.Close()
	if until, ok := ctx.Deadline(); ok {
		_ = c.SetReadDeadline(until) // a socket always can
	}
	_, err = c.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}
