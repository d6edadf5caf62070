package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/dcs/layout"
)

// What a person has to type, so that nothing is removed by a slip.
const (
	awarePhrase = "Yes I am aware"
	alivePhrase = "Yes remove it while members are alive"
)

func (a *app) removeCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "remove CLUSTER",
		Short: "Remove all that the store holds about a cluster",
		Long: "Removes all keys of a cluster from the store: its configuration, its history, its identity. The\n" +
			"data of the servers stay. Stop the members first: while they live they lose their lease, and\n" +
			"found the cluster anew. The store must be known, from a configuration file or --dcs-url.",
		Example: a.examples("{} -c /etc/patroni.yml remove demo"),
		Args:    args(cobra.ExactArgs(1)),
		RunE:    func(c *cobra.Command, names []string) error { return a.remove(c, names[0], format) },
	}
	formatFlag(c, &format, "f", formatPretty)
	groupFlag(c)
	c.ValidArgsFunction = a.completeCluster
	return c
}

func (a *app) remove(c *cobra.Command, name, format string) error {
	x, err := a.connect(c, name)
	if err != nil {
		return err
	}
	defer x.close()
	// What is removed is what the store holds, whatever members say.
	s, err := x.fromStore(c.Context())
	switch {
	case errors.Is(err, errNoStore):
		return errors.New("remove needs the store: give a configuration file with its section, or --dcs-url")
	case err != nil:
		return err
	}
	if err := x.noneBelow(c.Context()); err != nil {
		return err
	}
	text, err := a.render(c, s, listOptions{format: format})
	if err != nil {
		return err
	}
	fmt.Fprint(c.OutOrStdout(), text)
	if err := a.awareOf(c, x, s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), storeTimeout)
	defer cancel()
	if err := x.store.DeleteAll(ctx); err != nil {
		return fmt.Errorf("remove the keys of %s from the store: %w", name, err)
	}
	if !a.opts.Patronictl {
		say(c, "Removed: the store holds nothing about cluster %s any more", name)
	}
	return nil
}

// noneBelow refuses a name that stands for the place of more than one cluster,
// such as /, which is the whole namespace: all would be removed.
func (x *access) noneBelow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	snap, err := x.store.Load(ctx)
	if err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	for _, kv := range snap.Keys {
		if other, ok := layout.ClusterBelow(kv.Key); ok {
			return fmt.Errorf("refused: below %q in the store lies another cluster, %s, which would be removed too: give the name of one cluster", x.scope, other)
		}
	}
	return nil
}

// awareOf asks for what only a person who means it types.
func (a *app) awareOf(c *cobra.Command, x *access, s state) error {
	p := newPrompter(c)
	name := s.doc.Scope
	if err := p.exactly("Please confirm the cluster name to remove", name, "Cluster names specified do not match"); err != nil {
		return err
	}
	question := fmt.Sprintf("You are about to remove all information in DCS for %s, please type: %q", name, awarePhrase)
	if err := p.exactly(question, awarePhrase, fmt.Sprintf("You did not exactly type %q", awarePhrase)); err != nil {
		return err
	}
	if s.view.Leader.Held() {
		question := "This cluster currently is healthy. Please specify the leader name to continue"
		if err := p.exactly(question, s.view.Leader.Name, "You did not specify the current leader of the cluster"); err != nil {
			return err
		}
	}
	if a.opts.Patronictl {
		return nil
	}
	alive := x.alive(c.Context(), s)
	if len(alive) == 0 {
		return nil
	}
	question = fmt.Sprintf("Members are alive: %s. Removing the cluster under them ends their lease, and they found it anew.\n"+
		"Stop them first, or type: %q", listed(alive), alivePhrase)
	return p.exactly(question, alivePhrase, "Refused: members are alive")
}

// exactly asks for a text and refuses any other.
func (p *prompter) exactly(question, want, otherwise string) error {
	got, err := p.require(question)
	if err == nil && got != want {
		return errors.New(otherwise)
	}
	return err
}

// alive returns the members whose keys still live in the store, or that answer.
func (x *access) alive(ctx context.Context, s state) []api.MemberDoc {
	var out []api.MemberDoc
	answers := each(s.doc.Members, func(m api.MemberDoc) bool {
		ctx, cancel := context.WithTimeout(ctx, statusTimeout)
		defer cancel()
		_, err := x.rest.Status(ctx, client.Base(m.APIURL))
		return err == nil
	})
	for i, m := range s.doc.Members {
		if answers[i] || m.State == "running" || m.State == "streaming" {
			out = append(out, m)
		}
	}
	return out
}
