package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

func (a *app) pauseCommand() *cobra.Command {
	return a.pausing(&cobra.Command{
		Use:   "pause [CLUSTER]",
		Short: "Stop managing the cluster: nobody fails over, nothing is started or stopped",
		Long: "Puts the cluster into maintenance mode: PostgreSQL goes on as it is, and there is no automatic\n" +
			"failover until resume.",
		Example: a.examples("{} pause", "{} pause --wait"),
	}, true)
}

func (a *app) resumeCommand() *cobra.Command {
	return a.pausing(&cobra.Command{
		Use:     "resume [CLUSTER]",
		Short:   "Manage the cluster again",
		Long:    "Ends the maintenance mode that pause began.",
		Example: a.examples("{} resume", "{} resume --wait"),
	}, false)
}

func (a *app) pausing(c *cobra.Command, on bool) *cobra.Command {
	var wait bool
	c.Args = args(cobra.MaximumNArgs(1))
	c.RunE = func(c *cobra.Command, names []string) error { return a.setPause(c, clusterArg(names), on, wait) }
	c.Flags().BoolVar(&wait, "wait", false, "wait until all members know it")
	groupFlag(c)
	c.ValidArgsFunction = a.completeCluster
	return c
}

func (a *app) setPause(c *cobra.Command, name string, on, wait bool) error {
	x, s, err := a.look(c, name)
	if err != nil {
		return err
	}
	defer x.close()
	word, patch := "resumed", pyjson.Object{{Key: "pause", Value: nil}}
	if on {
		word, patch = "paused", pyjson.Object{{Key: "pause", Value: true}}
	}
	switch {
	case on && s.doc.Pause:
		return errors.New("Cluster is already paused") //nolint:staticcheck // the reference's text
	case !on && !s.doc.Pause:
		return errors.New("Cluster is not paused") //nolint:staticcheck // the reference's text
	}
	r, reached, err := x.write(func(base string) (client.Reply, error) {
		return x.rest.PatchConfig(c.Context(), base, patch, "")
	})
	switch {
	case !reached && !a.opts.Patronictl && x.file != nil && x.file.Store.Kind != "":
		if err := x.patchStored(c.Context(), patch); err != nil {
			return err
		}
	case !reached:
		return errors.New("Can not find accessible cluster member") //nolint:staticcheck // the reference's text
	case err != nil:
		return fmt.Errorf("the request was sent, but no answer came; look with list whether it took effect: %w", err)
	case !r.OK():
		say(c, "Failed: %s cluster management status code=%d, (%s)", strings.TrimSuffix(word, "d"), r.Code, r.Text)
		return a.refused()
	}
	if wait {
		if err := a.awaitPause(c, x, s, on); err != nil {
			return err
		}
	}
	say(c, "Success: cluster management is %s", word)
	return nil
}

// awaitPause asks the members until each has seen the change, a little longer
// than their loop takes.
func (a *app) awaitPause(c *cobra.Command, x *access, s state, on bool) error {
	word := "resume"
	if on {
		word = "pause"
	}
	say(c, "'%s' request sent, waiting until it is recognized by all nodes", word)
	limit := x.loopWait(c.Context()) + time.Second
	deadline := time.Now().Add(limit)
	missing := make(map[string]string)
	for _, m := range s.doc.Members {
		missing[m.Name] = client.Base(m.APIURL)
	}
	for {
		names := sortedKeys(missing)
		for i, knows := range each(names, func(name string) bool {
			ctx, cancel := context.WithTimeout(c.Context(), statusTimeout)
			defer cancel()
			st, err := x.rest.Status(ctx, missing[name])
			return err == nil && st.Pause == on
		}) {
			if knows {
				delete(missing, names[i])
			}
		}
		if len(missing) == 0 {
			return nil
		}
		if time.Now().After(deadline) || c.Context().Err() != nil {
			break
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-c.Context().Done():
		}
	}
	say(c, "%s members didn't recognized %s state after %.0f seconds", strings.Join(sortedKeys(missing), ", "), word, limit.Seconds())
	return a.stillRunning()
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// loopWait is the configured loop_wait, or its default.
func (x *access) loopWait(ctx context.Context) time.Duration {
	conf, err := x.config(ctx)
	if err == nil {
		if v, ok := conf.doc.Get("loop_wait"); ok {
			if d, err := time.ParseDuration(fmt.Sprint(v) + "s"); err == nil && d > 0 {
				return d
			}
		}
	}
	return 10 * time.Second
}

// synchronous reports whether commits wait for standbys, as far as the
// configuration says.
func (x *access) synchronous(ctx context.Context) bool {
	conf, err := x.config(ctx)
	if err != nil {
		return false
	}
	v, _ := conf.doc.Get("synchronous_mode")
	text := strings.ToLower(fmt.Sprint(v))
	return slices.Contains([]string{"true", "on", "yes", "1", "quorum"}, text)
}
