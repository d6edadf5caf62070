package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	said  map[string]bool // notes that were given already
	// resolve, if set, knows the addresses of members' hosts.
	resolve func(host string) string
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

// errNoCluster: nothing says which cluster is meant.
var errNoCluster = errors.New("no cluster is known: give --api http://HOST:8008 or a configuration file with -c FILE")

// connect prepares reaching the cluster; nothing is asked yet. scope empty means
// that of the configuration, or whichever the member at --api belongs to.
func (a *app) connect(cmd *cobra.Command, scope string) (*access, error) {
	if err := refuseGroup(cmd); err != nil {
		return nil, err
	}
	f, err := a.settings()
	if err != nil {
		return nil, err
	}
	x := &access{app: a, cmd: cmd, scope: scope, file: f, said: map[string]bool{}}
	if f != nil && x.scope == "" {
		x.scope = f.Scope
	}
	if x.rest, err = client.New(clientOptions(f, a.insecure)); err != nil {
		return nil, err
	}
	for _, base := range a.apis {
		if !strings.Contains(base, "://") {
			base = "http://" + base
		}
		x.bases = append(x.bases, client.Base(base))
	}
	if len(x.bases) > 0 {
		return x, nil
	}
	switch {
	case f == nil:
		return nil, errNoCluster
	case x.scope == f.Scope && ownMember(f) != "":
		x.bases = []string{ownMember(f)}
	case x.scope == "":
		return nil, errors.New("no cluster is named: give its name, or scope in the configuration file")
	}
	return x, nil
}

// look is connect and state together, for commands that need both.
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

// close gives connections back.
func (x *access) close() {
	x.rest.Close()
	if x.store != nil {
		x.store.Close()
	}
}

// note tells a person something beside the command's output, once.
func (x *access) note(format string, values ...any) {
	text := fmt.Sprintf(format, values...)
	if !x.said[text] {
		x.said[text] = true
		warn(x.cmd, "%s", text)
	}
}

// state asks the known members, then those that the store names; when none of
// them answers, what the store says is taken.
func (x *access) state(ctx context.Context) (state, error) {
	asked := x.bases
	s, ok, tried := x.fromKnown(ctx)
	if ok {
		return s, nil
	}
	stored, err := x.fromStore(ctx)
	if err != nil {
		return state{}, x.unreadable(tried, err)
	}
	x.learn(stored.doc, "")
	others := slices.DeleteFunc(slices.Clone(x.bases), func(b string) bool { return slices.Contains(asked, b) })
	if s, ok, _ := x.fromMembers(ctx, others); ok {
		for _, err := range tried {
			x.note("%s; asked the members that the store names", briefly(err))
		}
		return s, nil
	}
	if len(x.bases)+len(asked) > 0 {
		x.note("no member answered; read from the store")
	}
	return stored, nil
}

// fromKnown asks the members known so far. Where the store can name others, they
// get less time.
func (x *access) fromKnown(ctx context.Context) (state, bool, []error) {
	if x.file != nil && x.file.Store.Kind != "" && x.app.opts.OpenStore != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, x.app.opts.timing.known)
		defer cancel()
	}
	return x.fromMembers(ctx, x.bases)
}

// fromMembers takes the first answer of the members given. tried are the
// reasons why there is none.
func (x *access) fromMembers(ctx context.Context, bases []string) (s state, ok bool, tried []error) {
	scope := x.scope // those who answer late still compare with it when it is set below
	doc, base, ok, tried := first(ctx, bases, func(ctx context.Context, base string) (api.ClusterDoc, error) {
		doc, err := x.rest.Cluster(ctx, base)
		if err == nil && scope != "" && doc.Scope != scope {
			err = otherCluster(scope, base, doc)
		}
		return doc, err
	})
	if !ok {
		return state{}, false, tried
	}
	x.scope = doc.Scope
	x.learn(doc, base)
	s = state{doc: doc, asked: base, initialize: "uninitialized"}
	// The title wants the system identifier; a member that cannot say it now is
	// no reason to show nothing.
	if st, _, ok, _ := first(ctx, x.bases, x.identified); ok {
		s.initialize = st.SystemID
	}
	return s, true, nil
}

// identified is a member's status if it knows the cluster's identity.
func (x *access) identified(ctx context.Context, base string) (api.StatusDoc, error) {
	st, err := x.rest.Status(ctx, base)
	if err == nil && st.SystemID == "" {
		err = errors.New("no system identifier yet")
	}
	return st, err
}

// otherCluster says that a member was asked about a cluster that is not its own.
func otherCluster(scope, base string, doc api.ClusterDoc) error {
	for _, m := range doc.Members {
		if m.Name == scope {
			return fmt.Errorf("%s belongs to cluster %q; %q is a member of it: write %s %s", base, doc.Scope, scope, doc.Scope, scope)
		}
	}
	return fmt.Errorf("%s belongs to cluster %q, not %q", base, doc.Scope, scope)
}

// learn keeps the members' addresses: the leader first, since it acts at once,
// then who answered, then the rest.
func (x *access) learn(doc api.ClusterDoc, answered string) {
	var bases []string
	add := func(base string) {
		if base != "" && !slices.Contains(bases, base) {
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
		return nil, errNoStore
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

// errNoStore: only the members could tell, and they did not.
var errNoStore = errors.New("no store is configured to read from")

func (x *access) fromStore(ctx context.Context) (state, error) {
	v, err := x.storeView(ctx)
	if err != nil {
		return state{}, err
	}
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

// storeView reads the whole cluster from the store.
func (x *access) storeView(ctx context.Context) (cluster.View, error) {
	store, err := x.openStore(ctx)
	if err != nil {
		return cluster.View{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	snap, err := store.Load(ctx)
	if err != nil {
		return cluster.View{}, fmt.Errorf("read the store: %w", err)
	}
	return layout.Decode(snap), nil
}

// written is how a change ended that was tried on one member after the other.
type written struct {
	reply   client.Reply
	reached bool    // a member got the request
	err     error   // no answer from the member that got it, or the last failure
	skipped []error // members that certainly got nothing
}

// tryEach tries a change on one member after the other while it certainly had
// no effect.
func tryEach(bases []string, try func(base string) (client.Reply, error)) (w written) {
	for _, base := range bases {
		w.reply, w.err = try(base)
		if w.err == nil || client.Sent(w.err) {
			w.reached = true
			return w
		}
		w.skipped = append(w.skipped, w.err)
	}
	return w
}

// write is tryEach on all known members, with what failed said.
func (x *access) write(try func(base string) (client.Reply, error)) (r client.Reply, ok bool, err error) {
	w := tryEach(x.bases, try)
	for _, err := range w.skipped {
		warn(x.cmd, "%v", err)
	}
	return w.reply, w.reached, w.err
}
