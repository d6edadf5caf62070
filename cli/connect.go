package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
)

// storeTimeout bounds one use of the store.
const storeTimeout = 15 * time.Second

// access is one cluster as a command reaches it.
type access struct {
	app   *app
	cmd   *cobra.Command
	file  *config.File // nil without a configuration file
	scope string       // empty until a member told it
	rest  *client.Client
	bases []string // roots of members' interfaces, in the order to ask them
	store dcs.Store
}

// state is what a command knows of the cluster.
type state struct {
	doc api.ClusterDoc
	// initialize is the system identifier, or a word for what it lacks.
	initialize string
	// asked is the member that told it; empty: the store did.
	asked string
	// view is what the store said; only without asked.
	view cluster.View
}

// connect prepares reaching the cluster; nothing is asked yet. scope empty means
// that of the configuration, or whichever the member at --api belongs to.
func (a *app) connect(cmd *cobra.Command, scope string) (*access, error) {
	x := &access{app: a, cmd: cmd, scope: scope}
	if err := x.load(); err != nil {
		return nil, err
	}
	opts := client.Options{Insecure: a.insecure}
	if f := x.file; f != nil {
		if x.scope == "" {
			x.scope = f.Scope
		}
		opts = clientOptions(f, a.insecure)
	}
	rest, err := client.New(opts)
	if err != nil {
		return nil, err
	}
	x.rest = rest
	for _, base := range a.apis {
		if !strings.Contains(base, "://") {
			base = "http://" + base
		}
		x.bases = append(x.bases, client.Base(base))
	}
	if len(x.bases) == 0 && x.file != nil && x.file.RestAPI.ConnectAddress != "" && x.scope == x.file.Scope {
		scheme := "http"
		if x.file.RestAPI.CertFile != "" {
			scheme = "https"
		}
		x.bases = []string{scheme + "://" + x.file.RestAPI.ConnectAddress}
	}
	if len(x.bases) == 0 && x.file == nil {
		return nil, fmt.Errorf("no cluster is known: give --api http://HOST:8008 or a configuration file with -c FILE")
	}
	return x, nil
}

// look connects to the cluster and reads how it is. The caller closes the access.
func (a *app) look(cmd *cobra.Command, scope string) (*access, state, error) {
	x, err := a.connect(cmd, scope)
	if err != nil {
		return nil, state{}, err
	}
	s, err := x.state(cmd.Context())
	if err != nil {
		x.close()
		return nil, state{}, err
	}
	return x, s, nil
}

func clientOptions(f *config.File, insecure bool) client.Options {
	o := client.Options{
		Username: f.Ctl.Username, Password: f.Ctl.Password.Reveal(),
		CAFile: f.Ctl.CACert, CertFile: f.Ctl.CertFile, KeyFile: f.Ctl.KeyFile,
		Insecure: insecure || f.Ctl.Insecure,
	}
	if o.Username == "" {
		o.Username, o.Password = f.RestAPI.Username, f.RestAPI.Password.Reveal()
	}
	if o.CAFile == "" {
		o.CAFile = f.RestAPI.CAFile
	}
	return o
}

// load reads the configuration file: -c, the environment's, or the usual one,
// which alone may be missing.
func (x *access) load() error {
	env := x.app.opts.Env
	path := x.app.configFile
	for _, name := range []string{"MATRIARCH_CONFIG_FILE", "PATRONICTL_CONFIG_FILE"} {
		if path == "" {
			path = getenv(env, name)
		}
	}
	if path == "" {
		path = usualFile(env)
		if _, err := os.Stat(path); err != nil {
			path = ""
		}
	}
	if path == "" && !configured(env) {
		return nil
	}
	f, _, err := config.Load(path, env)
	if err != nil {
		return err
	}
	x.file = f
	return nil
}

func getenv(env []string, name string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

func usualFile(env []string) string {
	dir := getenv(env, "XDG_CONFIG_HOME")
	if dir == "" {
		dir = filepath.Join(getenv(env, "HOME"), ".config")
	}
	return filepath.Join(dir, "patroni", "patronictl.yaml")
}

// configured reports whether the environment alone says which cluster is meant.
func configured(env []string) bool {
	for _, name := range []string{"PATRONI_SCOPE", "MATRIARCH_SCOPE", "PATRONI_CONFIGURATION", "MATRIARCH_CONFIGURATION"} {
		if getenv(env, name) != "" {
			return true
		}
	}
	return false
}

// close gives connections back.
func (x *access) close() {
	x.rest.Close()
	if x.store != nil {
		x.store.Close()
	}
}

// state asks the members in turn, then the store.
func (x *access) state(ctx context.Context) (state, error) {
	var tried []error
	for _, base := range x.bases {
		doc, err := x.rest.Cluster(ctx, base)
		if err == nil && x.scope != "" && doc.Scope != x.scope {
			err = fmt.Errorf("%s belongs to cluster %q, not %q", base, doc.Scope, x.scope)
		}
		if err != nil {
			tried = append(tried, err)
			continue
		}
		x.scope = doc.Scope
		x.learn(doc, base)
		s := state{doc: doc, asked: base, initialize: "uninitialized"}
		// The title wants the system identifier; a member that cannot say it now
		// is no reason to show nothing.
		if st, err := x.rest.Status(ctx, base); err == nil && st.SystemID != "" {
			s.initialize = st.SystemID
		}
		return s, nil
	}
	s, err := x.fromStore(ctx)
	if err != nil {
		return state{}, x.unreadable(tried, err)
	}
	if len(tried) > 0 {
		warn(x.cmd, "no member answered; read from the store")
	}
	x.learn(s.doc, "")
	return s, nil
}

// learn keeps the members' addresses: the leader first, since it acts at once,
// then who answered, then the rest.
func (x *access) learn(doc api.ClusterDoc, answered string) {
	var bases []string
	add := func(base string) {
		for _, have := range bases {
			if have == base {
				return
			}
		}
		if base != "" {
			bases = append(bases, base)
		}
	}
	if l, ok := doc.Leader(); ok {
		add(client.Base(l.APIURL))
	}
	add(answered)
	for _, m := range doc.Members {
		add(client.Base(m.APIURL))
	}
	if len(bases) > 0 {
		x.bases = bases
	}
}

// openStore connects to the store, once.
func (x *access) openStore(ctx context.Context) (dcs.Store, error) {
	switch {
	case x.store != nil:
		return x.store, nil
	case x.file == nil || x.file.Store.Kind == "" || x.app.opts.OpenStore == nil:
		return nil, errors.New("no store is configured to read from")
	}
	f := *x.file
	f.Scope = x.scope
	store, err := x.app.opts.OpenStore(ctx, &f)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	x.store = store
	return store, nil
}

func (x *access) fromStore(ctx context.Context) (state, error) {
	store, err := x.openStore(ctx)
	if err != nil {
		return state{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	snap, err := store.Load(ctx)
	if err != nil {
		return state{}, fmt.Errorf("read the store: %w", err)
	}
	v := layout.Decode(snap)
	s := state{view: v, doc: api.Cluster(x.scope, v, api.SettingsOf(v, cluster.DefaultSettings()))}
	switch {
	case !v.Initialize.Present:
		s.initialize = "uninitialized"
	case v.Initialize.SystemID == "":
		s.initialize = "initializing"
	default:
		s.initialize = v.Initialize.SystemID
	}
	return s, nil
}

// write tries a change on one member after the other while it certainly had no
// effect. ok is false when no member could be reached at all.
func (x *access) write(try func(base string) (client.Reply, error)) (r client.Reply, ok bool, err error) {
	for _, base := range x.bases {
		r, err = try(base)
		if err == nil {
			return r, true, nil
		}
		if client.Sent(err) {
			return r, true, err
		}
		warn(x.cmd, "%v", err)
	}
	return r, false, err
}
