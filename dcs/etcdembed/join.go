package etcdembed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

// majorityTimeout bounds one question that only a live majority answers.
const majorityTimeout = 3 * time.Second

// joinPatience is how long the majority may refuse a change of members (it does
// for 5 s after it lost sight of one of them) before the process gives up and
// is started again.
const joinPatience = time.Minute

// partnerClient reaches the partners that run this store.
func (s *server) partnerClient(of Identity, partners []answer) (*clientv3.Client, error) {
	a := s.cfg.Access()
	a.Members = slices.DeleteFunc(a.Members, func(e Endpoint) bool {
		return !slices.ContainsFunc(partners, func(p answer) bool { return p.from.Name == e.Name && p.kind == running && p.id == of })
	})
	return a.client()
}

// newestRunning is the newest store that a partner runs; zero if none does. Older
// ones are of no interest.
func newestRunning(partners []answer) Identity {
	var newest Identity
	for _, a := range partners {
		if a.kind == running && (newest == 0 || a.id.supersedes(newest)) {
			newest = a.id
		}
	}
	return newest
}

// majority asks a store's members a question that only a majority answers.
func (s *server) majority(ctx context.Context, of Identity, partners []answer) bool {
	cl, err := s.partnerClient(of, partners)
	if err != nil {
		return false
	}
	defer cl.Close()
	_, err = memberList(ctx, cl, of)
	return err == nil
}

// memberList reads the members linearizably: a single member's own view may be
// old. With an identity, only that store's word counts.
func memberList(ctx context.Context, cl *clientv3.Client, of Identity) ([]*etcdserverpb.Member, error) {
	ctx, cancel := context.WithTimeout(ctx, majorityTimeout)
	defer cancel()
	r, err := cl.MemberList(ctx)
	if err != nil {
		return nil, err
	}
	if id := Identity(r.Header.ClusterId); of != 0 && id != of {
		return nil, fmt.Errorf("store %s answered, not %s", id, of)
	}
	return r.Members, nil
}

// entry finds this member by its peer address; the name of one that was just
// added is empty.
func (s *server) entry(members []*etcdserverpb.Member) *etcdserverpb.Member {
	u := s.cfg.mustURL(s.cfg.advertisePeer())
	for _, m := range members {
		if slices.Contains(m.PeerURLs, u.String()) {
			return m
		}
	}
	return nil
}

// replaceSelf removes the entry of this member's lost predecessor, adds this
// one as a learner, which has no vote, and returns the members for etcd. Doing
// it again after a crash in the middle is right.
func (s *server) replaceSelf(ctx context.Context, of Identity) (string, error) {
	if err := setAside(s.cfg, "lost"); err != nil {
		return "", err
	}
	reached("aside")
	cl, err := s.partnerClient(of, s.ask.all(ctx))
	if err != nil {
		return "", err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, joinPatience)
	defer cancel()
	members, err := memberList(ctx, cl, of)
	if err != nil {
		return "", err
	}
	if old := s.entry(members); old != nil {
		err := s.persist(ctx, "removing the lost member's entry", func(ctx context.Context) error {
			_, err := cl.MemberRemove(ctx, old.ID)
			return err
		}, rpctypes.ErrMemberNotFound)
		if err != nil {
			return "", err
		}
	}
	reached("removed")
	u := s.cfg.mustURL(s.cfg.advertisePeer())
	err = s.persist(ctx, "adding this member as a learner", func(ctx context.Context) error {
		_, err := cl.MemberAddAsLearner(ctx, []string{u.String()})
		return err
	}, rpctypes.ErrPeerURLExist)
	if err != nil {
		return "", err
	}
	reached("added")
	if members, err = memberList(ctx, cl, of); err != nil {
		return "", err
	}
	return s.joinList(members), nil
}

// persist repeats a change of members until the majority accepts it. done is
// the error by which it says that an earlier, unanswered attempt has happened.
func (s *server) persist(ctx context.Context, what string, change func(context.Context) error, done error) error {
	for {
		tctx, cancel := context.WithTimeout(ctx, majorityTimeout)
		err := change(tctx)
		cancel()
		if err == nil || errors.Is(err, done) {
			return nil
		}
		s.update(func(st *State) { st.Phase, st.Message = Joining, what+": "+err.Error() })
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, err)
		case <-time.After(10 * lookPause):
		}
	}
}

// joinList is etcd's form of the list. Members that never said their name get
// one; etcd compares addresses only.
func (s *server) joinList(members []*etcdserverpb.Member) string {
	self := s.entry(members)
	var parts []string
	for _, m := range members {
		name := m.Name
		switch {
		case m == self:
			name = s.cfg.Name
		case name == "":
			name = "member-" + types.ID(m.ID).String()
		}
		for _, u := range m.PeerURLs {
			parts = append(parts, name+"="+u)
		}
	}
	return strings.Join(parts, ",")
}

// promote makes this member a voter once it has caught up, if it is a learner.
func (s *server) promote(ctx context.Context, e *embed.Etcd) error {
	for e.Server.IsLearner() {
		s.update(func(st *State) { st.Phase, st.Message = Joining, "catching up as a learner" })
		tctx, cancel := context.WithTimeout(ctx, majorityTimeout)
		_, err := e.Server.PromoteMember(tctx, uint64(e.Server.MemberID()))
		cancel()
		if err != nil && ctx.Err() == nil {
			s.update(func(st *State) { st.Message = "catching up as a learner: " + err.Error() })
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.Server.StopNotify():
			return errors.New("etcd's server ended by itself while catching up, see the store's log")
		case <-time.After(2 * lookPause):
		}
	}
	return nil
}

// removed asks the majority whether this member is still one of them.
func (s *server) removed(ctx context.Context, e *embed.Etcd) bool {
	id, own := e.Server.MemberID(), Identity(e.Server.Cluster().ID())
	cl, err := s.partnerClient(own, s.ask.all(ctx))
	if err != nil {
		return false
	}
	defer cl.Close()
	members, err := memberList(ctx, cl, own)
	return err == nil && !slices.ContainsFunc(members, func(m *etcdserverpb.Member) bool { return types.ID(m.ID) == id })
}
