package etcdembed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

// lookPause is how long a member that cannot start yet waits before it asks its
// partners again; short, since all members of a new cluster come up together.
const lookPause = 50 * time.Millisecond

// yieldLooks bounds for how many looks a founding member lets another go first.
const yieldLooks = 30

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
	stopping atomic.Bool // what etcd says from now on is of no interest
	status
}

func (s *server) run(ctx context.Context) error {
	var err error
	if s.ask, err = newAsker(s.cfg); err != nil {
		return err
	}
	p, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	err = s.serve(ctx, p.step)
	if errors.Is(err, ErrRemoved) && ctx.Err() == nil {
		// A removed member's directory is useless; the next start comes back
		// as a new member, since this node is still configured as one.
		return errors.Join(err, setAside(s.cfg, "removed"))
	}
	return err
}

// prepare settles how this member starts, waiting for partners where it must.
// While it waits it answers them on the peer port.
func (s *server) prepare(ctx context.Context) (plan, error) {
	if err := portFree("embedded.listen_client", s.cfg, s.cfg.ListenClient); err != nil {
		return plan{}, err
	}
	l, err := listen("embedded.listen_peer", s.cfg, s.cfg.ListenPeer)
	if err != nil {
		return plan{}, err
	}
	defer l.Close()
	marker, err := readMarker(s.cfg)
	if err != nil {
		return plan{}, err
	}
	f := facts{
		hasLog: logExists(s.cfg),
		knows:  !s.cfg.Found && (marker != nil || s.cfg.HasData),
		quorum: s.cfg.quorum(),
	}
	if f.hasLog {
		return decide(f), nil
	}
	si, err := newStandIn(s.cfg, l, f.knows)
	if err != nil {
		return plan{}, err
	}
	defer si.close()
	for yielded := 0; ; {
		f.partners, f.place = s.ask.all(ctx), unknown
		if f.has(founded) {
			f.place = s.place(ctx)
		}
		p := decide(f)
		switch {
		case p.step == lookAgain || p.step == refuse:
			s.waiting(p, f)
		case p.step == found && yielded < yieldLooks && s.yields(f):
			yielded++ // the first one will have started its server soon
		default:
			return p, nil
		}
		select {
		case <-ctx.Done():
			return plan{}, ctx.Err()
		case <-time.After(lookPause):
		}
	}
}

// yields reports whether another member should start its server first. etcd's
// own bootstrap asks the partners, and two that do so at the same moment, their
// ports open but not yet served, wait a whole second for each other. So the
// member with the smallest address, which etcd asks first, goes ahead. This is
// for speed alone, and therefore bounded.
func (s *server) yields(f facts) bool {
	own := s.cfg.mustURL(s.cfg.advertisePeer())
	for _, a := range f.partners {
		if a.kind == unfounded || a.kind == founded {
			return false
		}
	}
	for _, a := range f.partners {
		u := s.cfg.mustURL(a.from.Peer)
		if a.kind == fresh && u.String() < own.String() {
			return true
		}
	}
	return false
}

// waiting tells why this member does not start yet.
func (s *server) waiting(p plan, f facts) {
	phase := Waiting
	if p.step == refuse {
		phase = Refused
	}
	up := 1
	for _, a := range f.partners {
		if a.kind != silent {
			up++
		}
	}
	s.update(func(st *State) { st.Phase, st.Message, st.Up = phase, p.why, up })
}

// serve starts etcd as the plan says and runs it to its end.
func (s *server) serve(ctx context.Context, how step) error {
	ec := s.etcdConfig()
	if how == join {
		s.update(func(st *State) { st.Phase, st.Message = Joining, "taking the place of this member's lost directory" })
		cluster, err := s.replaceSelf(ctx)
		if err != nil {
			return fmt.Errorf("rejoin the store: %w", err)
		}
		ec.InitialCluster, ec.ClusterState = cluster, embed.ClusterStateFlagExisting
	}
	s.stopping.Store(false)
	s.update(func(st *State) { st.Phase, st.Message = Starting, "starting the server" })
	e, err := s.start(ec)
	if err != nil {
		return err
	}
	defer s.close(e)
	if err := s.becomeReady(ctx, e); err != nil {
		return s.explain(ctx, e, err)
	}
	select {
	case <-ctx.Done():
		return nil
	case err = <-e.Err():
	case <-e.Server.StopNotify():
	}
	return s.explain(ctx, e, err)
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
func logExists(c Config) bool { return wal.Exist(filepath.Join(c.DataDir, "member", "wal")) }

// forget removes the run file of a process that ended as it was told.
func forget(c Config) { os.Remove(c.beside(".run")) }
