package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/drill"
)

// FindReach is the drill's way to members in containers of this machine's engine.
func FindReach(ctx context.Context, p drill.Place) (drill.Reach, error) {
	project, named := strings.CutPrefix(p.Asked, "docker:")
	if !named {
		project = ""
		if p.Asked != "" && p.Asked != "docker" {
			return nil, nil
		}
	}
	e, err := newEngine()
	if err == nil {
		var r *reach
		if r, err = find(ctx, e, p.Picture, project); err == nil {
			return r, nil
		}
	}
	if p.Asked == "" && !errors.Is(err, errProjects) {
		return nil, nil
	}
	return nil, err
}

// errProjects: the members' names are those of several projects' containers.
var errProjects = errors.New("several compose projects have containers of these names")

// reach is the way to one cluster's containers.
type reach struct {
	engine  *engine
	project string
	members map[string]container // by the member's name
	others  []container          // of the same project
}

// find looks for the containers of all members in one project.
func find(ctx context.Context, e *engine, p drill.Picture, project string) (*reach, error) {
	all, err := e.containers(ctx)
	if err != nil {
		return nil, err
	}
	byProject := map[string][]container{}
	for _, c := range all {
		if project == "" || c.project() == project {
			byProject[c.project()] = append(byProject[c.project()], c)
		}
	}
	var found []*reach
	for name, list := range byProject {
		r := &reach{engine: e, project: name, members: map[string]container{}, others: list}
		for _, m := range p.Members {
			if i := slices.IndexFunc(list, func(c container) bool { return isOf(c, m) }); i >= 0 {
				r.members[m.Name] = list[i]
			}
		}
		if len(r.members) == len(p.Members) && len(p.Members) > 0 {
			found = append(found, r)
		}
	}
	if own := ownProject(all); len(found) > 1 && own != "" {
		// Another lab on the same machine has members of the same names.
		if i := slices.IndexFunc(found, func(r *reach) bool { return r.project == own }); i >= 0 {
			return found[i], nil
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return nil, fmt.Errorf("no running containers were found whose service, host name or address is that of the members (%s)", hosts(p))
	}
	var names []string
	for _, r := range found {
		names = append(names, r.project)
	}
	slices.Sort(names)
	return nil, fmt.Errorf("%w (%s): say which with --reach docker:PROJECT", errProjects, strings.Join(names, ", "))
}

// ownProject is the compose project in one of whose containers this program runs,
// which has the beginning of the container's ID for its host name; empty if none.
func ownProject(all []container) string {
	host, err := hostname()
	if err != nil || len(host) < 12 {
		return ""
	}
	for _, c := range all {
		if strings.HasPrefix(c.ID, host) {
			return c.project()
		}
	}
	return ""
}

var hostname = os.Hostname // tests run in no container

func isOf(c container, m drill.Member) bool {
	u, err := url.Parse(m.Base)
	return c.answersTo(m.Host) || err == nil && c.answersTo(u.Hostname())
}

func hosts(p drill.Picture) string {
	var out []string
	for _, m := range p.Members {
		out = append(out, m.Host)
	}
	return strings.Join(out, ", ")
}

// Where implements drill.Reach.
func (r *reach) Where() string { return "the Docker engine, compose project " + r.project }

// Resolve gives the address of a container of the project by the name that the
// others have for it: this machine's resolver knows none of them.
func (r *reach) Resolve(host string) string {
	for _, c := range r.others {
		if a := c.address(); a != "" && c.answersTo(host) {
			return a
		}
	}
	return host
}

// entryPort is where the entrypoint listens in its container.
const entryPort = "5000/tcp"

// Entrypoint implements drill.Reach: a container of the project with the
// entrypoint's port, by its name where this machine knows it, else by the port
// that is published here, else by its address.
func (r *reach) Entrypoint() string {
	for _, c := range r.others {
		if c.service() != "entrypoint" {
			continue
		}
		if _, err := net.LookupHost("entrypoint"); err == nil {
			return "host=entrypoint port=5000"
		}
		for _, p := range c.NetworkSettings.Ports[entryPort] {
			return "host=127.0.0.1 port=" + p.HostPort
		}
		if a := c.address(); a != "" {
			return "host=" + a + " port=5000"
		}
	}
	return ""
}

// Steps implements drill.Reach.
func (r *reach) Steps(ctx context.Context, s drill.Scenario, m drill.Member, within time.Duration) ([]drill.Step, error) {
	c, ok := r.members[m.Name]
	if !ok {
		return nil, fmt.Errorf("%s has no container", m.Name)
	}
	called := fmt.Sprintf("container %s of %s", c.called(), m.Name)
	act := func(what string) func(context.Context) error {
		return func(ctx context.Context) error { return r.engine.act(ctx, c.ID, what) }
	}
	switch s {
	case drill.StopAgent:
		return []drill.Step{{Say: "stop the " + called, Do: act("stop"), Undo: starting(c, m.Name)}}, nil
	case drill.PowerOff:
		return []drill.Step{{Say: "kill the " + called + " and all that runs in it", Do: act("kill"), Undo: starting(c, m.Name)}}, nil
	case drill.PauseHost:
		return []drill.Step{{Say: "freeze the " + called + " and all that runs in it", Do: act("pause"),
			Undo: &drill.Undo{Say: "let the " + called + " go on", Kind: undoPause, Args: map[string]string{"id": c.ID}}}}, nil
	}
	if s == drill.Isolate {
		return r.isolate(ctx, c, m, within)
	}
	pids, err := r.processes(ctx, c)
	if err != nil {
		return nil, err
	}
	switch s {
	case drill.KillPostgres:
		return []drill.Step{{Say: "kill PostgreSQL in the " + called, Do: r.signal(c, "KILL", pids.postmaster)}}, nil
	case drill.KillAgent:
		return []drill.Step{{Say: "kill the agent in the " + called + "; its end is that of the container, and of all that runs in it",
			Do: r.signal(c, "KILL", pids.agent), Undo: starting(c, m.Name)}}, nil
	case drill.PauseAgent:
		return []drill.Step{{Say: "make the agent in the " + called + " stand still", Do: r.pause(c, pids.agent, within),
			Undo: &drill.Undo{Say: "let the agent of " + m.Name + " go on", Kind: undoStop, Args: map[string]string{"id": c.ID, "pid": strconv.Itoa(pids.agent)}}}}, nil
	}
	return nil, fmt.Errorf("%s cannot be done to containers", s)
}

func starting(c container, member string) *drill.Undo {
	grace := 10
	if t := c.Config.StopTimeout; t != nil && *t >= 0 {
		grace = *t
	}
	return &drill.Undo{Say: "start the container of " + member + " again", Kind: undoEnd,
		Args: map[string]string{"id": c.ID, "started": c.State.StartedAt, "grace": strconv.Itoa(grace)}}
}

// inside are processes by their numbers in the container.
type inside struct{ agent, postmaster int }

// look prints the agent (the child of process 1) and the postmaster (whose
// parent is no postgres).
const look = `for d in /proc/[0-9]*; do
	read -r line <$d/stat 2>/dev/null || continue
	p=${d#/proc/}; n=${line#*(}; n=${n%)*}; rest=${line##*) }; set -- $rest; pp=$2
	case $n in
	matriarch|patroni) [ "$pp" = 1 ] && echo agent $p;;
	postgres) read -r up <"/proc/$pp/comm" 2>/dev/null; [ "$up" = postgres ] || echo postmaster $p;;
	esac
done; true`

func (r *reach) processes(ctx context.Context, c container) (inside, error) {
	out, err := r.engine.run(ctx, c.ID, command{Cmd: []string{"sh", "-c", look}})
	if err != nil {
		return inside{}, err
	}
	var found inside
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		n, err := strconv.Atoi(f[1])
		switch {
		case err != nil:
		case f[0] == "agent":
			found.agent = n
		case f[0] == "postmaster":
			found.postmaster = n
		}
	}
	if found.agent == 0 || found.postmaster == 0 {
		return found, fmt.Errorf("the agent and its PostgreSQL were not found in container %s: process 1 must be an init such as tini, and the agent its child", c.called())
	}
	return found, nil
}

func (r *reach) signal(c container, sig string, pid int) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := r.engine.run(ctx, c.ID, command{Cmd: []string{"sh", "-c", fmt.Sprintf("kill -%s %d", sig, pid)}})
		return err
	}
}

// pause stops a process, and has a process in the container that lets it go on
// when the time is over, whatever becomes of us.
func (r *reach) pause(c container, pid int, within time.Duration) func(context.Context) error {
	script := fmt.Sprintf("kill -STOP %d; sleep %d; kill -CONT %d", pid, int(within.Seconds()), pid)
	return func(ctx context.Context) error {
		if _, err := r.engine.run(ctx, c.ID, command{Cmd: []string{"sh", "-c", script}, Detach: true}); err != nil {
			return err
		}
		// It was sent off; that it has happened is to be seen.
		_, err := r.engine.run(ctx, c.ID, command{Cmd: []string{"sh", "-c",
			fmt.Sprintf(`for i in 1 2 3 4 5 6 7 8 9 10; do read -r l </proc/%d/stat; case "${l##*) }" in T*) exit 0;; esac; sleep 0.2; done; echo it was not stopped; exit 1`, pid)}})
		return err
	}
}

// isolate cuts the container's network off from the store's addresses, as its
// own configuration has them, and leaves all other ways open. The kernel ends
// the cut when its time is over. That it can be done is tried before: a way back
// that does not work must not be needed.
func (r *reach) isolate(ctx context.Context, c container, m drill.Member, within time.Duration) ([]drill.Step, error) {
	cut := func(ctx context.Context, args ...string) error {
		_, err := r.engine.run(ctx, c.ID, command{Cmd: append([]string{"matriarch", "drill-cut"}, args...)})
		return err
	}
	if err := cut(ctx, "--check"); err != nil {
		return nil, fmt.Errorf("%w (the compose file grants the capability with cap_add: [NET_ADMIN])", err)
	}
	return []drill.Step{{
		Say:  fmt.Sprintf("cut the network of container %s of %s off from the store", c.called(), m.Name),
		Do:   func(ctx context.Context) error { return cut(ctx, "--for", within.String()) },
		Undo: &drill.Undo{Say: "connect " + m.Name + " with the store again", Kind: undoCut, Args: map[string]string{"id": c.ID}},
	}}, nil
}
