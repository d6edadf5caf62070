package etcdembed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

// lookPause is how long a member that cannot start yet waits before it asks its
// partners again; short, since all members of a new cluster come up together.
const lookPause = 50 * time.Millisecond

// lookSlow is the pause that this one grows to.
const lookSlow = time.Second

// comparePause is how often a running member looks for another store.
const comparePause = time.Second

// closePatience bounds the orderly end of the server.
const closePatience = 2500 * time.Millisecond

// Serve runs this node's member of the store in this process until ctx ends
// (then nil) or it cannot go on. What it is doing is written to the run file
// and, if tell is not nil, told there too, whenever that changes.
//
// It belongs into a process of its own, which ends when Serve returns: etcd's
// server changes process-wide settings, ends the process when its disk fails,
// and may still be closing.
func Serve(ctx context.Context, c Config, tell func(State)) error {
	c, err := c.absolute()
	if err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return err
	}
	if err := prepareDir(c); err != nil {
		return err
	}
	lock, err := lockDir(c)
	if err != nil {
		return err
	}
	defer lock.Close()
	s := &server{cfg: c, tell: tell}
	s.begin()
	err = s.run(ctx)
	if ctx.Err() != nil {
		err = nil
	}
	s.end(err)
	return err
}

// server is one member's life in this process. Its methods run one at a time
// but for update, which the fatal hook of the log may call from elsewhere.
type server struct {
	cfg      Config
	ask      *asker
	tell     func(State)
	stopping atomic.Bool  // what etcd says from now on is of no interest
	up       atomic.Int32 // members that answered last, this one included
	status
}

func (s *server) run(ctx context.Context) error {
	var err error
	if s.ask, err = newAsker(s.cfg); err != nil {
		return err
	}
	if err := finishRecovery(s.cfg); err != nil {
		return err
	}
	p, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	err = s.serve(ctx, p)
	if errors.Is(err, ErrRemoved) && ctx.Err() == nil {
		// A removed member's directory is useless; the next start comes back
		// as a new member, since this node is still configured as one.
		return errors.Join(err, setAside(s.cfg, "removed"))
	}
	return err
}

// prepare settles how this member starts, waiting for partners where it must.
// While it waits it answers them on the peer port, and it asks them only once it
// does: of two members that start at the same time, one hears of the other.
func (s *server) prepare(ctx context.Context) (plan, error) {
	if err := portFree("embedded.listen_client", s.cfg, s.cfg.ListenClient); err != nil {
		return plan{}, err
	}
	l, err := listen("embedded.listen_peer", s.cfg, s.cfg.ListenPeer)
	if err != nil {
		return plan{}, err
	}
	defer l.Close()
	g, err := survey(s.cfg)
	if err != nil {
		return plan{}, err
	}
	si, err := newStandIn(s.cfg, l, g)
	if err != nil {
		return plan{}, err
	}
	defer si.close()
	for pause := lookPause; ; pause = min(pause+lookPause/20, lookSlow) {
		p := decide(s.facts(ctx, g))
		switch p.step {
		case lookAgain, refuse:
			s.waiting(p)
		case offer, pledge, agree:
			if g, err = g.carryOut(s.cfg, p); err != nil {
				return plan{}, err
			}
			reached(p.step.String())
			si.say(g)
			continue
		default:
			return p, nil
		}
		select {
		case <-ctx.Done():
			return plan{}, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// facts asks the partners.
func (s *server) facts(ctx context.Context, g ground) facts {
	f := facts{name: s.cfg.Name, dir: g.dir, own: g.own, marker: g.marker, hasData: g.hasData, first: s.cfg.first(), partners: s.ask.all(ctx)}
	s.up.Store(int32(1 + f.some(func(k answerKind) bool { return k != silent })))
	if newest := newestRunning(f.partners); f.dir != aLog && newest != f.own && s.majority(ctx, newest, f.partners) {
		f.live = newest
	}
	return f
}

// waiting tells why this member does not start yet.
func (s *server) waiting(p plan) {
	phase := Waiting
	if p.step == refuse {
		phase = Refused
	}
	s.update(func(st *State) { st.Phase, st.Message, st.Up = phase, p.why, int(s.up.Load()) })
}

// serve starts etcd as the plan says and runs it to its end.
func (s *server) serve(ctx context.Context, p plan) error {
	ec := s.etcdConfig()
	switch p.step {
	case found:
		f, _, err := readFounding(s.cfg)
		if err != nil {
			return err
		}
		ec.InitialCluster, ec.InitialClusterToken = f.cluster(s.cfg), f.etcdToken(s.cfg)
	case join:
		s.update(func(st *State) { st.Phase, st.Message = Joining, "taking the place of this member's lost directory" })
		cluster, err := s.replaceSelf(ctx, p.id)
		if err != nil {
			return fmt.Errorf("rejoin the store: %w", err)
		}
		ec.InitialCluster, ec.ClusterState = cluster, embed.ClusterStateFlagExisting
	}
	// Before the first vote: a member that has voted must know it for ever.
	if err := record(s.cfg, p.id); err != nil {
		return fmt.Errorf("record which store this is: %w", err)
	}
	reached("recorded")
	s.stopping.Store(false)
	s.update(func(st *State) { st.Phase, st.Message = Starting, "starting the server" })
	e, err := s.start(ec)
	if err != nil {
		return err
	}
	defer s.close(e)
	reached("started")
	if id := Identity(e.Server.Cluster().ID()); id != p.id {
		return fmt.Errorf("the server came up as a member of store %s, not of %s", id, p.id)
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	go s.compare(ctx, p.id, end)
	go boundPeerSockets(ctx, s.cfg.peerPorts(), s.logger())
	err = s.becomeReady(ctx, e)
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-e.Err():
		case <-e.Server.StopNotify():
		}
	}
	if cause := context.Cause(ctx); errors.Is(cause, ErrSuperseded) {
		return cause
	}
	return s.explain(ctx, e, err)
}

// compare goes on comparing this store with those that the partners belong to,
// since one that did not answer before the start may answer now.
func (s *server) compare(ctx context.Context, id Identity, end context.CancelCauseFunc) {
	for sleep(ctx, comparePause) {
		if a, over := s.replacedBy(ctx, id, s.ask.all(ctx)); over {
			end(fmt.Errorf("%w: this is store %s, and %s is of store %s", ErrSuperseded, id, a.from.Name, a.id))
			return
		}
	}
}

// replacedBy looks for a partner of a later store, or of another one of the same
// generation, if that one works: a member that is alone with a foreign directory
// does not end a store.
func (s *server) replacedBy(ctx context.Context, id Identity, partners []answer) (answer, bool) {
	for _, a := range partners {
		if a.id.supersedes(id) {
			return a, true
		}
		if a.kind == running && a.id != id && a.id.Generation() == id.Generation() && s.majority(ctx, a.id, partners) {
			return a, true
		}
	}
	return answer{}, false
}

// close stops the server, which first hands its leadership over. Where the
// others stop at the same moment that takes seven seconds for nothing, so it is
// bounded: what was confirmed is on disk already, and the process ends now.
func (s *server) close(e *embed.Etcd) {
	s.stopping.Store(true)
	closed := make(chan struct{})
	go func() { defer close(closed); e.Close() }()
	select {
	case <-closed:
	case <-time.After(closePatience):
	}
}

// explain finds out why etcd ended by itself.
func (s *server) explain(ctx context.Context, e *embed.Etcd, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if s.removed(ctx, e) {
		return fmt.Errorf("%w (member %s)", ErrRemoved, e.Server.MemberID())
	}
	if err == nil {
		err = errors.New("etcd's server ended by itself, see the store's log")
	}
	return err
}

// listen opens a port with a message that names the setting.
func listen(setting string, c Config, addr string) (net.Listener, error) {
	u := c.mustURL(addr)
	l, err := net.Listen("tcp", u.Host)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%w: %s: %s is taken by another process; end it or choose another port", ErrPortTaken, setting, u.Host)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s: %s is not an address of this host", setting, u.Host)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return l, nil
}

func portFree(setting string, c Config, addr string) error {
	l, err := listen(setting, c, addr)
	if err != nil {
		return err
	}
	return l.Close()
}

// logExists reports whether the directory holds a write-ahead log, which etcd
// makes in one step before it votes for the first time.
func logExists(c Config) bool { return wal.Exist(c.walDir()) }

// forget removes the run file of a process that ended as it was told.
func forget(c Config) { os.Remove(c.beside(".run")) }
