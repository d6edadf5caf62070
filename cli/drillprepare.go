package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/drill"
)

// preparing is a drill before it was confirmed: nothing is touched here.
type preparing struct {
	app     *app
	cmd     *cobra.Command
	x       *access
	opts    exercise
	members *drill.Members
	reach   drill.Reach
	noReach error // why none was found, where a finder said so
	table   *drill.Postgres
}

const (
	// healthTries and healthPause give a lag that passes by itself time to.
	healthTries = 4
	healthPause = time.Second
	// claimPatience bounds the connection and the questions before a drill.
	claimPatience = 20 * time.Second
)

// run makes the drill, or says why there can be none.
func (p *preparing) run() (*drill.Run, error) {
	ctx := p.cmd.Context()
	// Who they are comes first: how to reach them may depend on it.
	seen, err := p.members.Look(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.findReach(ctx, seen); err != nil {
		return nil, err
	}
	if err := p.resolve(); err != nil {
		return nil, err
	}
	before, err := p.healthy(ctx)
	if err != nil {
		return nil, err
	}
	timing := drill.UsualTiming(before.TTL)
	steps, err := p.steps(ctx, before, timing.Longest())
	if err != nil {
		return nil, p.refuse(err.Error())
	}
	if err := p.claim(ctx, before); err != nil {
		return nil, err
	}
	writer, err := drill.NewWriter(p.table, p.opts.clients, p.opts.every)
	if err != nil {
		return nil, usage(p.cmd, fmt.Errorf("--clients: %w", err))
	}
	r := &drill.Run{Scenario: p.opts.scenario, Objective: drill.Objective{RTO: p.opts.rto, RPO: p.opts.rpo}, Candidate: p.opts.candidate,
		Return: p.opts.back, Clients: p.opts.clients, Before: before, Steps: steps,
		Cluster: p.members, Table: p.table, Writing: writer, Undoers: p.app.opts.Drill.Undoers, Progress: newTeller(p.cmd), Timing: timing}
	if p.reach != nil {
		r.Where = p.reach.Where()
	}
	return r, nil
}

// refuse is the end of a drill that may not begin.
func (p *preparing) refuse(why ...string) error {
	return errors.New("no drill was begun, nothing was touched:\n  " + strings.Join(why, "\n  "))
}

// healthy looks at the cluster, more than once where it is not well.
func (p *preparing) healthy(ctx context.Context) (drill.Picture, error) {
	for try := 1; ; try++ {
		pic, err := p.members.Look(ctx)
		if err != nil {
			return pic, err
		}
		why := pic.Unfit(p.opts.candidate)
		if len(why) == 0 {
			return pic, nil
		}
		if try == healthTries {
			return pic, p.refuse(append([]string{"the cluster " + pic.Scope + " is not healthy:"}, why...)...)
		}
		select {
		case <-ctx.Done():
			return pic, aborted()
		case <-time.After(healthPause):
		}
	}
}

// findReach looks for a way to the members' processes. A switchover needs none.
func (p *preparing) findReach(ctx context.Context, before drill.Picture) error {
	place := drill.Place{Picture: before, ConfigFile: p.app.configFile, Asked: p.opts.reach}
	var why error
	for _, find := range p.app.opts.Drill.Finders {
		r, err := find(ctx, place)
		switch {
		case r != nil && (err == nil || p.opts.scenario == drill.Switchover):
			p.reach = r
			return nil
		case err != nil && why == nil:
			why = err
		}
	}
	switch {
	case p.opts.scenario == drill.Switchover && p.opts.reach == "":
		p.noReach = why
		return nil
	case why != nil:
		return p.refuse(why.Error())
	}
	return p.refuse("no way to the processes of the members is known: "+string(p.opts.scenario)+" needs one.",
		"It is found by itself for a cluster of `matriarch up` on this machine (give a member's file with -c), and for",
		"containers of this machine's Docker engine (run the drill as root or in the group docker).",
		"Members on hosts of their own are reached by a command: --reach 'ssh root@{host}'.",
		"switchover works everywhere.")
}

// resolver is a Reach that knows the members' addresses where this machine's
// resolver does not.
type resolver interface{ Resolve(host string) string }

// resolve lets the members be asked at the addresses that the reach knows.
func (p *preparing) resolve() error {
	r, ok := p.reach.(resolver)
	if !ok {
		return nil
	}
	o := clientOptions(p.x.file, p.app.insecure)
	o.Resolve = r.Resolve
	rest, err := client.New(o)
	if err != nil {
		return err
	}
	p.x.rest.Close()
	p.x.rest, p.x.resolve = rest, r.Resolve
	p.members = drill.NewMembers(rest, p.x.bases)
	return nil
}

func (p *preparing) steps(ctx context.Context, before drill.Picture, within time.Duration) ([]drill.Step, error) {
	l, _ := before.Leader()
	if p.opts.scenario != drill.Switchover {
		return p.reach.Steps(ctx, p.opts.scenario, l, within)
	}
	say := "ask for a switchover from " + l.Name
	if p.opts.candidate != "" {
		say += " to " + p.opts.candidate
	}
	return []drill.Step{{Say: say, Do: func(ctx context.Context) error { return p.members.Switchover(ctx, l.Name, p.opts.candidate) }}}, nil
}

// claim reaches the entrypoint and claims the cluster.
func (p *preparing) claim(ctx context.Context, before drill.Picture) error {
	dsn, err := p.entrypoint(before)
	if err != nil {
		return p.refuse(err.Error())
	}
	t, err := drill.Open(dsn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, claimPatience)
	defer cancel()
	notes, err := t.Claim(ctx, before.SystemID)
	if err != nil {
		return p.refuse(err.Error())
	}
	p.table = t
	for _, n := range notes {
		warn(p.cmd, "%s", n)
	}
	return nil
}

// entrypoint is the connection string to use: the one given, that of the
// deployment, or what the configuration file says of the entrypoints that run in
// the members.
func (p *preparing) entrypoint(before drill.Picture) (string, error) {
	f := p.x.file
	if p.opts.entrypoint != "" {
		return p.opts.entrypoint, nil
	}
	if p.reach != nil {
		if dsn := p.reach.Entrypoint(); strings.Contains(dsn, "://") {
			return dsn, nil // complete
		} else if dsn != "" {
			return dsn + p.login(f), nil
		}
	}
	switch {
	case p.noReach != nil && (f == nil || f.Proxy == nil):
		return "", fmt.Errorf("no entrypoint is known (%w); or name it with --entrypoint 'host=… port=5000 user=… dbname=…'", p.noReach)
	case f == nil || f.Proxy == nil:
		return "", errors.New("no entrypoint is known: name it with --entrypoint 'host=… port=5000 user=… dbname=…'")
	}
	_, port, err := net.SplitHostPort(f.Proxy.Listen)
	if err != nil {
		return "", fmt.Errorf("proxy.listen: %w", err)
	}
	if _, err := strconv.Atoi(port); err != nil {
		return "", fmt.Errorf("proxy.listen: %w", err)
	}
	// An entrypoint that runs in an agent ends with it: clients know all of them.
	var hosts, ports []string
	for _, m := range before.Members {
		hosts, ports = append(hosts, m.Host), append(ports, port)
	}
	return "host=" + strings.Join(hosts, ",") + " port=" + strings.Join(ports, ",") + p.login(f), nil
}

// login is the superuser's of the file, unless the environment names a user.
func (p *preparing) login(f *config.File) string {
	if f == nil {
		return ""
	}
	s := f.Postgres.Superuser
	if getenv(p.app.opts.Env, "PGUSER") != "" || s.Username == "" {
		return ""
	}
	out := " user=" + quoted(s.Username)
	if pw := s.Password.Reveal(); pw != "" {
		out += " password=" + quoted(pw)
	}
	if getenv(p.app.opts.Env, "PGDATABASE") == "" {
		out += " dbname=postgres"
	}
	return out
}
