package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

func (a *app) showConfigCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "show-config [CLUSTER]",
		Short:   "Show the dynamic configuration",
		Long:    "Shows the configuration that all members share, as YAML.",
		Example: a.examples("{} show-config"),
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, names []string) error {
			x, err := a.connect(c, clusterArg(names))
			if err != nil {
				return err
			}
			defer x.close()
			conf, err := x.config(c.Context())
			if errors.Is(err, errNoConfig) {
				return nil
			}
			if err != nil {
				return err
			}
			fmt.Fprint(c.OutOrStdout(), toYAML(conf.doc))
			return nil
		},
	}
	groupFlag(c)
	c.ValidArgsFunction = a.completeCluster
	return c
}

// errNoConfig: the cluster has no dynamic configuration (yet).
var errNoConfig = errors.New("the cluster has no dynamic configuration yet")

// dynamic is the dynamic configuration and what is needed to replace it.
type dynamic struct {
	doc     pyjson.Object
	base    string // who told it; empty: the store
	tag     string // entity tag of that answer
	version cluster.Version
}

// config asks the members, then the store.
func (x *access) config(ctx context.Context) (dynamic, error) {
	s, err := x.state(ctx)
	if err != nil {
		return dynamic{}, err
	}
	if s.asked == "" {
		return configOf(s.view)
	}
	conf, _, ok, errs := first(ctx, x.bases, func(ctx context.Context, base string) (dynamic, error) {
		doc, tag, err := x.rest.Config(ctx, base)
		if client.Code(err) == http.StatusBadGateway {
			return dynamic{}, nil // the member's word that there is none
		}
		return dynamic{doc: doc, base: base, tag: tag}, err
	})
	switch {
	case !ok:
		return dynamic{}, errors.Join(errs...)
	case conf.base == "":
		return dynamic{}, errNoConfig
	}
	return conf, nil
}

func configOf(v cluster.View) (dynamic, error) {
	if !v.Config.Present {
		return dynamic{}, errNoConfig
	}
	doc, err := pyjson.Parse([]byte(v.Config.JSON))
	o, ok := doc.(pyjson.Object)
	if err != nil || !ok {
		return dynamic{}, errors.New("the config key in the store is no JSON object")
	}
	return dynamic{doc: o, version: v.Config.Version}, nil
}

// errConcurrent: the configuration is another than the one that was edited.
var errConcurrent = errors.New("Config modification aborted due to concurrent changes") //nolint:staticcheck // the reference's text

// replaceConfig writes the edited document where the old one came from, if that
// is unchanged.
func (x *access) replaceConfig(ctx context.Context, old dynamic, doc pyjson.Object) error {
	if old.base == "" {
		return x.storeConfig(ctx, old, doc)
	}
	r, _, err := x.write(func(base string) (client.Reply, error) {
		if old.tag != "" {
			return x.rest.PutConfig(ctx, base, doc, old.tag)
		}
		// A member that gives no tag cannot compare; the difference at least
		// leaves alone what another person changed elsewhere.
		return x.rest.PatchConfig(ctx, base, difference(old.doc, doc), "")
	})
	switch {
	case err != nil && client.Sent(err):
		return fmt.Errorf("the change was sent, but no answer came; look with show-config whether it was made: %w", err)
	case err != nil:
		return fmt.Errorf("no member could be reached, nothing was changed: %w", err)
	case r.Code == http.StatusConflict:
		return errConcurrent
	case !r.OK():
		return fmt.Errorf("configuration refused: %d, %s", r.Code, r.Text)
	}
	return nil
}

func (x *access) storeConfig(ctx context.Context, old dynamic, doc pyjson.Object) error {
	store, err := x.openStore(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	text, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	// No member is there to refuse it.
	if _, _, err := config.ParseDynamic(string(text)); err != nil {
		return fmt.Errorf("configuration refused: %w", err)
	}
	_, err = store.Put(ctx, layout.KeyConfig, string(text), dcs.Unchanged(old.version))
	if errors.Is(err, dcs.ErrConflict) {
		return errConcurrent
	}
	if err != nil {
		return fmt.Errorf("write the configuration to the store: %w", err)
	}
	warn(x.cmd, "written to the store: no member answered")
	return nil
}

// patchStored merges a patch into the configuration in the store.
func (x *access) patchStored(ctx context.Context, patch pyjson.Object) error {
	v, err := x.storeView(ctx)
	if err != nil {
		return err
	}
	old, err := configOf(v)
	if err != nil {
		return err
	}
	doc, _ := pyjson.Merge(old.doc, patch)
	return x.storeConfig(ctx, old, doc)
}

// difference is the patch that turns one document into another.
func difference(old, now pyjson.Object) pyjson.Object {
	patch := pyjson.Object{}
	for _, f := range old {
		if _, kept := now.Get(f.Key); !kept {
			patch = patch.Set(f.Key, nil)
		}
	}
	for _, f := range now {
		was, had := old.Get(f.Key)
		if had && pyjson.Equal(was, f.Value) {
			continue
		}
		wasObject, ok1 := was.(pyjson.Object)
		isObject, ok2 := f.Value.(pyjson.Object)
		if ok1 && ok2 {
			patch = patch.Set(f.Key, difference(wasObject, isObject))
		} else {
			patch = patch.Set(f.Key, f.Value)
		}
	}
	return patch
}
