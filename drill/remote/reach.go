package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/drill"
	"github.com/matriarch-ha/matriarch/drill/hand"
)

// FindReach is the drill's way to members' hosts by a command. It is never found
// by itself.
func FindReach(_ context.Context, p drill.Place) (drill.Reach, error) {
	for _, other := range []string{"up:", "docker:"} {
		if strings.HasPrefix(p.Asked, other) {
			return nil, nil
		}
	}
	if !strings.ContainsAny(strings.TrimSpace(p.Asked), " {") {
		return nil, nil
	}
	t, err := parse(p.Asked)
	if err != nil {
		return nil, err
	}
	return &reach{t, p.Picture.SystemID}, nil
}

// reach is the way to the members' hosts.
type reach struct {
	command  template
	systemID string
}

// Where implements drill.Reach.
func (r *reach) Where() string { return "the command " + strings.Join(r.command, " ") }

// Entrypoint implements drill.Reach: no command leads to it.
func (r *reach) Entrypoint() string { return "" }

// undoKind is the one kind of undoing: a verb of the hand on a host.
const undoKind = "remote-hand"

// Undoers undo what drills do on members' hosts.
func Undoers() drill.Undoers { return drill.Undoers{undoKind: undo} }

func undo(ctx context.Context, args map[string]string) error {
	var command []string
	var request hand.Request
	if json.Unmarshal([]byte(args["command"]), &command) != nil || len(command) == 0 || json.Unmarshal([]byte(args["request"]), &request) != nil {
		return errors.New("the way back cannot be read") // it may hold secrets
	}
	if verb := args["verb"]; verb != hand.Start && verb != hand.Continue {
		return fmt.Errorf("%q is no way back", verb)
	}
	_, err := ask(ctx, command, args["verb"], request)
	return err
}

// member is one of them with the way to it.
type member struct {
	name    string
	host    string
	port    int
	command []string
	found   hand.Found
}

// possible are the scenarios that need nothing but signals to processes.
var possible = []drill.Scenario{drill.StopAgent, drill.KillPostgres, drill.KillAgent, drill.PauseAgent}

// Steps implements drill.Reach.
func (r *reach) Steps(ctx context.Context, s drill.Scenario, x drill.Member, within time.Duration) ([]drill.Step, error) {
	if !slices.Contains(possible, s) {
		return nil, fmt.Errorf("%s cannot be done by a command of --reach: it needs containers, where hosts can be frozen, cut off and started from outside; "+
			"by a command can be done: stop-agent, kill-postgres, kill-agent, pause-agent", s)
	}
	m := member{name: x.Name}
	var err error
	if m.host, m.port, err = address(x); err != nil {
		return nil, err
	}
	if m.command, err = r.command.with(m.host); err != nil {
		return nil, err
	}
	if m.found, err = ask(ctx, m.command, hand.Look, hand.Request{Port: m.port, SystemID: r.systemID}); err != nil {
		return nil, fmt.Errorf("%s on %s: %w", x.Name, m.host, err)
	}
	if why := m.found.Again.WhyNot; why != "" && (s == drill.StopAgent || s == drill.KillAgent) {
		return nil, fmt.Errorf("%s on %s: %s", x.Name, m.host, harmless(why))
	}
	return m.steps(s, within)
}

func (m member) steps(s drill.Scenario, within time.Duration) ([]drill.Step, error) {
	agent, server, again := m.found.Agent, m.found.Postmaster, m.found.Again
	called := fmt.Sprintf("the agent of %s on %s (process %d%s)", m.name, m.host, agent.PID, ofUnit(again))
	switch s {
	case drill.KillPostgres:
		return []drill.Step{{Say: fmt.Sprintf("kill PostgreSQL of %s on %s (process %d)", m.name, m.host, server.PID),
			Do: m.doing(hand.Kill, hand.Request{Target: server})}}, nil
	case drill.PauseAgent:
		back, err := m.undo("let "+called+" go on", hand.Continue, hand.Request{Target: agent})
		return []drill.Step{{Say: "make " + called + " stand still", Undo: back,
			Do: m.doing(hand.Pause, hand.Request{Target: agent, Seconds: int(within.Seconds())})}}, err
	}
	verb, say := hand.Stop, "stop "
	if s == drill.KillAgent {
		verb, say = hand.Kill, "kill "
	}
	back, err := m.undo("start "+called+" again", hand.Start, hand.Request{Port: m.port, Target: agent, Again: again})
	return []drill.Step{{Say: say + called, Undo: back, Do: m.doing(verb, hand.Request{Target: agent, Again: again})}}, err
}

func ofUnit(a hand.Again) string {
	if a.Unit == "" {
		return ""
	}
	return " of " + harmless(a.Unit)
}

func (m member) doing(verb string, r hand.Request) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := ask(ctx, m.command, verb, r)
		return err
	}
}

func (m member) undo(say, verb string, r hand.Request) (*drill.Undo, error) {
	command, err := json.Marshal(m.command)
	if err != nil {
		return nil, err
	}
	request, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return &drill.Undo{Say: say, Kind: undoKind, Args: map[string]string{"command": string(command), "verb": verb, "request": string(request)}}, nil
}
