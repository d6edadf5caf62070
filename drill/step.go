package drill

import (
	"context"
	"fmt"
	"time"
)

// Step is one thing that is done to a member.
type Step struct {
	// Say is what it does, for people: "kill the agent of n1 (process 123)".
	Say string
	Do  func(context.Context) error
	// Undo takes it back; nil: there is nothing to take back. It is written down
	// before Do begins, and harmless where Do never happened.
	Undo *Undo
}

// Undo is a way back as plain values: it is also handed to a second process,
// which goes it when this one cannot (see Watch). Carried out twice, or for what
// was never done, it must do no harm.
type Undo struct {
	Say  string            `json:"say"`
	Kind string            `json:"kind"`
	Args map[string]string `json:"args"`
}

// Undoer carries out one kind of Undo.
type Undoer func(ctx context.Context, args map[string]string) error

// Undoers are all kinds that a program knows.
type Undoers map[string]Undoer

// Do carries an undo out.
func (u Undoers) Do(ctx context.Context, way Undo) error {
	do, ok := u[way.Kind]
	if !ok {
		return fmt.Errorf("nothing here can undo %q", way.Kind)
	}
	return do(ctx, way.Args)
}

// Reach is a way to the processes of members.
type Reach interface {
	// Where says which way it is, for people.
	Where() string
	// Steps are what a scenario does to a member. The error says why it cannot be
	// done here and what to do about it; nothing was touched then. A fault that can
	// end by itself does so after within.
	Steps(ctx context.Context, s Scenario, member Member, within time.Duration) ([]Step, error)
	// Entrypoint is the connection string of the cluster's entrypoint, if known.
	Entrypoint() string
}

// Place is what is known of where a cluster runs.
type Place struct {
	Picture Picture
	// ConfigFile is the configuration that the command was given, empty for none.
	ConfigFile string
	// Asked is the way that a person asked for, empty for any.
	Asked string
}

// Finder looks whether the members of a cluster can be reached in its way. It
// returns nil where they cannot, and why where a person asked for this way.
type Finder func(context.Context, Place) (Reach, error)
