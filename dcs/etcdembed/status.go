package etcdembed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Endpoint is where one member's clients connect.
type Endpoint struct{ Name, URL string }

// Access is what a client needs to reach the store.
type Access struct {
	Members []Endpoint
	TLS     TLS
}

// URLs lists the endpoints' addresses.
func (a Access) URLs() []string {
	var urls []string
	for _, m := range a.Members {
		urls = append(urls, m.URL)
	}
	return urls
}

func (a Access) client() (*clientv3.Client, error) {
	cc := clientv3.Config{Endpoints: a.URLs(), DialTimeout: majorityTimeout, Logger: zap.NewNop()}
	if len(cc.Endpoints) == 0 {
		return nil, errors.New("the embedded store has no other member")
	}
	if a.TLS.enabled() {
		info := a.TLS.info()
		conf, err := info.ClientConfig()
		if err != nil {
			return nil, fmt.Errorf("embedded store: TLS: %w", err)
		}
		cc.TLS = conf
	}
	return clientv3.New(cc)
}

// MemberStatus is what is known of one member.
type MemberStatus struct {
	Name    string
	ID      string // empty when no member named it
	Client  string
	Up      bool  // it answered
	Err     error // why it did not
	Leader  bool  // the raft leader, by its own word
	Learner bool
	DBSize  int64 // bytes
	Version string
	id      uint64
	applied uint64
	term    uint64
}

// Status is the store's condition as seen from here.
type Status struct {
	Members  []MemberStatus
	Leader   string // name; empty when nobody leads
	Majority bool   // a linearizable question was answered
	Alarms   []string
}

// Up counts the members that answer.
func (s Status) Up() int {
	n := 0
	for _, m := range s.Members {
		if m.Up {
			n++
		}
	}
	return n
}

// String is one sentence for people.
func (s Status) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d store members are reachable", s.Up(), len(s.Members))
	var missing []string
	for _, m := range s.Members {
		if !m.Up {
			missing = append(missing, m.Name)
		}
	}
	if len(missing) > 0 {
		fmt.Fprintf(&b, " (missing %s)", strings.Join(missing, ", "))
	}
	switch {
	case !s.Majority:
		b.WriteString(", no majority")
	case s.Leader != "":
		fmt.Fprintf(&b, ", %s leads", s.Leader)
	}
	if len(s.Alarms) > 0 {
		fmt.Fprintf(&b, ", alarm: %s", strings.Join(s.Alarms, ", "))
	}
	return b.String()
}

// Inspect asks every member for its condition. Members that do not answer are
// part of the result; the error is for settings that cannot work at all.
// Without a deadline in ctx it takes three seconds at the most.
func Inspect(ctx context.Context, a Access) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, majorityTimeout)
	defer cancel()
	cl, err := a.client()
	if err != nil {
		return Status{}, err
	}
	defer cl.Close()
	return inspect(ctx, cl, a), nil
}

func inspect(ctx context.Context, cl *clientv3.Client, a Access) Status {
	st := Status{Members: make([]MemberStatus, len(a.Members))}
	var listed []*etcdserverpb.Member
	var alarms []string
	var wg sync.WaitGroup
	for i, ep := range a.Members {
		wg.Go(func() { st.Members[i] = memberStatus(ctx, cl, ep) })
	}
	wg.Go(func() { listed, _ = memberList(ctx, cl, 0); st.Majority = listed != nil })
	wg.Go(func() { alarms = alarmList(ctx, cl) })
	wg.Wait()
	st.addListed(listed)
	// Two may claim to lead for a moment; the higher term is right.
	var term uint64
	for _, m := range st.Members {
		if m.Leader && m.term >= term {
			st.Leader, term = m.Name, m.term
		}
	}
	st.Alarms = alarms
	return st
}

// addListed appends members that the store has and the configuration lacks.
func (s *Status) addListed(listed []*etcdserverpb.Member) {
	for _, l := range listed {
		known := slices.ContainsFunc(s.Members, func(m MemberStatus) bool {
			return m.id == l.ID || slices.Contains(l.ClientURLs, m.Client) || m.Name == l.Name
		})
		if !known {
			s.Members = append(s.Members, MemberStatus{Name: l.Name, ID: types.ID(l.ID).String(), Learner: l.IsLearner,
				Err: errors.New("the store lists it, the configuration does not"), id: l.ID})
		}
	}
}

// statusTimeout bounds the question to one member, which answers from memory.
const statusTimeout = time.Second

func memberStatus(ctx context.Context, cl *clientv3.Client, ep Endpoint) MemberStatus {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	m := MemberStatus{Name: ep.Name, Client: ep.URL}
	r, err := cl.Status(ctx, ep.URL)
	if err != nil {
		m.Err = err
		return m
	}
	m.Up, m.id, m.applied, m.term = true, r.Header.MemberId, r.RaftAppliedIndex, r.RaftTerm
	m.ID, m.Leader, m.Learner = types.ID(m.id).String(), r.Leader == m.id, r.IsLearner
	m.DBSize, m.Version = r.DbSize, r.Version
	return m
}

func alarmList(ctx context.Context, cl *clientv3.Client) []string {
	r, err := cl.AlarmList(ctx)
	if err != nil {
		return nil
	}
	var list []string
	for _, a := range r.Alarms {
		list = append(list, fmt.Sprintf("%s at member %s", a.Alarm, types.ID(a.MemberID)))
	}
	return list
}

// maxLag is how many entries behind a member may be to be given the leadership:
// it must catch up first, and meanwhile nobody can write.
const maxLag = 100

// MoveLeaderAway gives the store's leadership to another started voter if the
// member selfName leads, and returns the name of the new leader; otherwise it
// does nothing and returns "". The host that carries the primary should not
// carry the store's leader too: their common loss costs two elections and makes
// every lease live anew.
func MoveLeaderAway(ctx context.Context, a Access, selfName string) (string, error) {
	i := slices.IndexFunc(a.Members, func(e Endpoint) bool { return e.Name == selfName })
	if i < 0 {
		return "", fmt.Errorf("move the store's leadership: %q is not a member", selfName)
	}
	own, err := Access{Members: a.Members[i : i+1], TLS: a.TLS}.client()
	if err != nil {
		return "", err
	}
	defer own.Close()
	// The local member alone is asked first: the common case costs one request.
	self := memberStatus(ctx, own, a.Members[i])
	if self.Err != nil {
		return "", fmt.Errorf("move the store's leadership: ask the local member: %w", self.Err)
	}
	if !self.Leader {
		return "", nil
	}
	tctx, cancel := context.WithTimeout(ctx, majorityTimeout)
	st := inspect(tctx, own, a)
	cancel()
	to, err := successor(st, selfName)
	if err != nil {
		return "", err
	}
	ctx, cancel = context.WithTimeout(ctx, majorityTimeout+time.Second)
	defer cancel()
	if _, err := own.MoveLeader(ctx, to.id); err != nil {
		return "", fmt.Errorf("move the store's leadership to %s: %w", to.Name, err)
	}
	return to.Name, nil
}

// successor is the voter that has applied most, never one that lags.
func successor(st Status, selfName string) (MemberStatus, error) {
	var best, self MemberStatus
	for _, m := range st.Members {
		switch {
		case m.Name == selfName:
			self = m
		case m.Up && !m.Learner && m.applied > best.applied:
			best = m
		}
	}
	if best.applied == 0 || best.applied+maxLag < self.applied {
		return best, fmt.Errorf("the store's leadership stays here: no other voter is up and caught up: %s", st)
	}
	return best, nil
}
