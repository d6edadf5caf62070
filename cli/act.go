package cli

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/client"
)

// acting is a command that does something to members of a cluster: the cluster
// reached, and whom it was narrowed to.
type acting struct {
	app     *app
	cmd     *cobra.Command
	x       *access
	state   state
	members []api.MemberDoc
	prompt  *prompter
	force   bool
}

// choosing says which members a command is for.
type choosing struct {
	action string // in questions: "restart", "reload", "reinitialize", "flush"
	role   string // of the members that may be chosen, empty: any
	names  []string
	force  bool
	oneOf  bool // asks for one when none is named
}

// choose reaches the cluster, shows it, and settles the members.
func (a *app) choose(c *cobra.Command, name string, o choosing) (*acting, error) {
	x, s, err := a.look(c, name)
	if err != nil {
		return nil, err
	}
	t := &acting{app: a, cmd: c, x: x, state: s, prompt: newPrompter(c), force: o.force}
	if err := t.settle(o); err != nil {
		x.close()
		return nil, err
	}
	return t, nil
}

func (t *acting) settle(o choosing) error {
	role := o.role
	if role == "" {
		role = "any"
	}
	t.members = withRole(t.state.doc.Members, role)
	if len(t.members) == 0 && len(o.names) == 0 {
		if len(t.state.doc.Members) > 0 {
			return fmt.Errorf("%s cluster doesn't have any members with role %s", t.state.doc.Scope, role)
		}
		return fmt.Errorf("%s cluster doesn't have any members", t.state.doc.Scope)
	}
	if !o.force {
		if err := t.app.printMembers(t.cmd, t.state); err != nil {
			return err
		}
	}
	if o.oneOf && len(o.names) == 0 {
		if o.force {
			return errors.New("name the members: without a question none is chosen")
		}
		name, err := t.prompt.ask(fmt.Sprintf("Which member do you want to %s [%s]?", o.action, listed(t.members)), "")
		if err != nil {
			return err
		}
		o.names = []string{name}
	}
	if len(o.names) == 0 {
		return nil
	}
	var err error
	t.members, err = named(t.members, t.state.doc.Members, o.names, role)
	return err
}

// sure asks before anything is done.
func (t *acting) sure(action, at string) error {
	if t.force {
		return nil
	}
	question, refusal := fmt.Sprintf("Are you sure you want to %s members %s?", action, listed(t.members)), "Aborted "+action
	if at != "" {
		question = fmt.Sprintf("Are you sure you want to schedule %s of members %s at %s?", action, listed(t.members), at)
		refusal = "Aborted scheduled " + action
	}
	yes, err := t.prompt.confirm(question)
	if err == nil && !yes {
		return errors.New(refusal)
	}
	return err
}

// answer is what one member made of a request.
type answer struct {
	member api.MemberDoc
	reply  client.Reply
	err    error
	said   bool // a person was told already
}

// askEach sends a request to all chosen members at once.
func (t *acting) askEach(members []api.MemberDoc, ask func(base string) (client.Reply, error)) []answer {
	return each(members, func(m api.MemberDoc) answer {
		r, err := ask(client.Base(m.APIURL))
		return answer{member: m, reply: r, err: err}
	})
}

// failed tells what went wrong with one member.
func (t *acting) failed(action string, an answer) {
	switch {
	case an.err == nil:
		say(t.cmd, "Failed: %s for member %s, status code=%d, (%s)", action, an.member.Name, an.reply.Code, an.reply.Text)
	case client.Sent(an.err):
		say(t.cmd, "Failed: %s for member %s, the request was sent but no answer came: %s", action, an.member.Name, briefly(an.err))
	default:
		say(t.cmd, "Failed: %s for member %s, it could not be asked: %s", action, an.member.Name, briefly(an.err))
	}
}

// outcome is the exit of a command that was done for several members. A member
// that could not be asked is a failure under the old name too.
type outcome struct {
	refused, unreached, running int
}

func (o *outcome) count(an answer) {
	switch {
	case an.err != nil:
		o.unreached++
	case !an.reply.OK():
		o.refused++
	}
}

func (o outcome) exit(a *app) error {
	switch {
	case o.unreached > 0:
		return &exitError{code: exitFailed}
	case o.refused > 0:
		return a.refused()
	case o.running > 0:
		return a.stillRunning()
	}
	return nil
}

// clusterAndMembers splits the arguments. The reference wants the cluster's name
// always; here the configured one is the default.
func (a *app) clusterAndMembers(c *cobra.Command, names []string) (cluster string, members []string, err error) {
	switch {
	case len(names) > 0:
		return names[0], slices.Compact(slices.Sorted(slices.Values(names[1:]))), nil
	case a.opts.Patronictl:
		return "", nil, usage(c, errors.New("Missing argument 'CLUSTER_NAME'.")) //nolint:staticcheck // the reference's text
	}
	return "", nil, nil
}
