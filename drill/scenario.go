package drill

import (
	"fmt"
	"slices"
	"strings"
)

// Scenario is what is done to the leader.
type Scenario string

// The scenarios.
const (
	Switchover   Scenario = "switchover"
	StopAgent    Scenario = "stop-agent"
	KillPostgres Scenario = "kill-postgres"
	KillAgent    Scenario = "kill-agent"
	PauseAgent   Scenario = "pause-agent"
	Isolate      Scenario = "isolate-from-store"
	PowerOff     Scenario = "power-off"
	PauseHost    Scenario = "pause-host"
)

// Scenarios lists them from the gentlest on.
func Scenarios() []Scenario {
	return []Scenario{Switchover, StopAgent, KillPostgres, KillAgent, PauseAgent, PauseHost, Isolate, PowerOff}
}

// Names are the scenarios as words.
func Names() []string {
	var out []string
	for _, s := range Scenarios() {
		out = append(out, string(s))
	}
	return out
}

// ParseScenario reads a scenario's name.
func ParseScenario(text string) (Scenario, error) {
	if !slices.Contains(Names(), text) {
		return "", fmt.Errorf("%q is no scenario: write one of %s", text, strings.Join(Names(), ", "))
	}
	return Scenario(text), nil
}

// What says in one sentence what the scenario does to a member.
func (s Scenario) What(member string) string {
	switch s {
	case Switchover:
		return "the leadership is moved away from " + member + ", as planned work does"
	case StopAgent:
		return "the agent of " + member + " is asked to stop, and kept stopped until another member leads"
	case KillPostgres:
		return "PostgreSQL of " + member + " is killed (SIGKILL to its first process)"
	case KillAgent:
		return "the agent of " + member + " is killed (SIGKILL)"
	case PauseAgent:
		return "the agent of " + member + " is made to stand still (SIGSTOP) until another member leads"
	case PauseHost:
		return "all processes of " + member + " are frozen until another member leads, and thawed then"
	case Isolate:
		return member + " is cut off from the store until another member leads"
	case PowerOff:
		return "all processes of " + member + " are killed at once, and kept down until another member leads"
	}
	return ""
}

// Moves reports whether the leadership must end up with another member. A
// server or an agent that is killed alone may be started again where it is.
func (s Scenario) Moves() bool { return s != KillPostgres && s != KillAgent }
