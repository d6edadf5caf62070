package hand

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/matriarch-ha/matriarch/internal/proc"
)

// Again is how an agent is started again: by its service manager where it is a
// unit of systemd, else by all that made its process. WhyNot says why it cannot
// be; nothing may be ended then.
type Again struct {
	Unit   string `json:"unit,omitempty"`
	Spec   *Spec  `json:"spec,omitempty"`
	WhyNot string `json:"why_not,omitempty"`
}

// can says whether it can be started again.
func (a Again) can() error {
	switch {
	case a.WhyNot != "":
		return errors.New(a.WhyNot)
	case a.Unit == "" && a.Spec == nil, a.Unit != "" && !unitName.MatchString(a.Unit):
		return errors.New("how to start the agent again was not said")
	}
	return nil
}

// launch starts it. What is sent to ended is how a process that we started
// ended; a unit's end is not noticed.
func (a Again) launch(ctx context.Context) (ended <-chan string, err error) {
	if err := a.can(); err != nil {
		return nil, err
	}
	if a.Unit == "" {
		return a.Spec.start()
	}
	// A unit that was killed too often would refuse. That there is nothing to be
	// reset is no trouble.
	_ = systemctl(ctx, "reset-failed", a.Unit)
	return nil, systemctl(ctx, "start", a.Unit)
}

// againOf finds out how an agent can be started again.
func againOf(ctx context.Context, agent proc.Record) Again {
	a, err := unitOr(ctx, agent)
	if err == nil && !agent.Alive() {
		err = gone(agent)
	}
	if err != nil {
		return Again{WhyNot: fmt.Sprintf("the agent (process %d) could not be started again: %v", agent.PID, err)}
	}
	return a
}

func unitOr(ctx context.Context, agent proc.Record) (Again, error) {
	if err := sameWorld(agent.PID); err != nil {
		return Again{}, err
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", agent.PID))
	if err != nil {
		return Again{}, err
	}
	// The directory exists where systemd is the first process: sd_booted(3).
	_, err = os.Stat("/run/systemd/system")
	unit := unitIn(string(groups))
	if unit == "" || err != nil {
		s, err := specOf(agent.PID)
		return Again{Spec: s}, err
	}
	if os.Geteuid() != 0 {
		return Again{}, fmt.Errorf("it belongs to %s, which root alone may stop and start: let the way of --reach be that of root", unit)
	}
	return Again{Unit: unit}, mainOf(ctx, unit, agent.PID)
}

// sameWorld makes sure that a process started from here would be where the agent
// was. One of a container would not be.
func sameWorld(pid int) error {
	for _, what := range []string{"pid", "user", "net"} {
		there, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, what))
		if err != nil {
			return err
		}
		if here, err := os.Readlink("/proc/self/ns/" + what); err != nil || here != there {
			return fmt.Errorf("it runs in a container (its %s namespace is another): let the way of --reach lead into it", what)
		}
	}
	there, err := os.Stat(fmt.Sprintf("/proc/%d/root/", pid))
	if err != nil {
		return err
	}
	if here, err := os.Stat("/"); err != nil || !os.SameFile(here, there) {
		return errors.New("it runs in a container (its root directory is another): let the way of --reach lead into it")
	}
	return nil
}

var unitName = regexp.MustCompile(`^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*\.service$`)

// unitIn is the innermost service in a process's control groups, of version 2 or
// of systemd's own tree.
func unitIn(groups string) string {
	for line := range strings.Lines(groups) {
		number, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		tree, path, _ := strings.Cut(rest, ":")
		if number != "0" && tree != "name=systemd" {
			continue
		}
		for _, part := range slices.Backward(strings.Split(path, "/")) {
			if unitName.MatchString(part) {
				return part
			}
		}
	}
	return ""
}

// mainOf makes sure that a process is the main one of a unit: it is what the
// unit's end and start are about.
func mainOf(ctx context.Context, unit string, pid int) error {
	out, err := exec.CommandContext(ctx, "systemctl", "show", "--property=MainPID", "--value", "--", unit).Output()
	if err != nil {
		return fmt.Errorf("systemctl show %s: %w", unit, err)
	}
	if main := strings.TrimSpace(string(out)); main != strconv.Itoa(pid) {
		return fmt.Errorf("it belongs to %s, whose main process is %s: run the agent as the main process of a service", unit, main)
	}
	return nil
}

func systemctl(ctx context.Context, verb, unit string) error {
	out, err := exec.CommandContext(ctx, "systemctl", verb, "--", unit).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s %s: %w: %s", verb, unit, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// statusOf reads the lines of a process's status.
func statusOf(pid int) (map[string][]string, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		out[key] = strings.Fields(value)
	}
	return out, nil
}
