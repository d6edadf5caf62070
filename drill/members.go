package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/client"
)

// lookPatience bounds one look: a member that is paused accepts connections and
// never answers.
const lookPatience = 3 * time.Second

// Members is the Cluster as its members' REST interfaces show it.
type Members struct {
	rest *client.Client

	mu          sync.Mutex
	bases       []string // roots of the interfaces, of all members ever seen
	ttl         time.Duration
	maxLag      uint64
	synchronous bool
}

// NewMembers asks through rest, the members at bases first.
func NewMembers(rest *client.Client, bases []string) *Members {
	return &Members{rest: rest, bases: slices.Clone(bases), ttl: 30 * time.Second, maxLag: 1 << 20}
}

// Look implements Cluster.
func (m *Members) Look(ctx context.Context) (Picture, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	doc, base, err := m.first(ctx)
	if err != nil {
		return Picture{}, err
	}
	m.settings(ctx, base)
	p := Picture{Scope: doc.Scope, Paused: doc.Pause, Members: make([]Member, len(doc.Members))}
	if doc.Scheduled != nil {
		p.Scheduled = doc.Scheduled.At
	}
	var wg sync.WaitGroup
	ids := make([]string, len(doc.Members))
	for i, d := range doc.Members {
		p.Members[i] = published(d)
		wg.Go(func() { ids[i] = m.word(ctx, &p.Members[i]) })
	}
	wg.Wait()
	for _, id := range ids {
		if id != "" {
			p.SystemID = id
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range p.Members {
		if !slices.Contains(m.bases, x.Base) {
			m.bases = append(m.bases, x.Base)
		}
	}
	p.TTL, p.MaxLag, p.Synchronous = m.ttl, m.maxLag, m.synchronous
	return p, nil
}

// published is what the cluster's document says of a member.
func published(d api.MemberDoc) Member {
	x := Member{Name: d.Name, Base: client.Base(d.APIURL), Host: d.Host, Port: d.Port, Leads: d.Leads(), Standby: d.Role == "standby_leader"}
	// A standby's position is the larger of what it received and what it replayed,
	// so its lag is the smaller one.
	for _, lag := range []*api.Lag{d.ReceiveLag, d.ReplayLag, d.Lag} {
		if lag != nil && lag.Known && (!x.LagKnown || lag.Bytes < x.Lag) {
			x.Lag, x.LagKnown = lag.Bytes, true
		}
	}
	return x
}

// word completes a member by what it says of itself, and returns the identity
// of its database.
func (m *Members) word(ctx context.Context, x *Member) string {
	s, err := m.rest.Status(ctx, x.Base)
	switch {
	case err != nil:
		x.Silent = err.Error()
		return ""
	case s.Patroni.Name != x.Name:
		x.Silent = fmt.Sprintf("%s is the address of %q", x.Base, s.Patroni.Name)
		return ""
	}
	x.Answers, x.State, x.Primary, x.Streaming, x.Started = true, s.State, s.Role == "primary", s.ReplState == "streaming", s.PostmasterStart
	if s.Timeline != nil {
		x.Timeline = *s.Timeline
	}
	if s.Matriarch != nil {
		x.Eligible, x.WhyNot, x.Agent = s.Matriarch.Eligible, s.Matriarch.WhyNot, s.Matriarch.AgentStart
	} else if no, _ := s.Tags.Get("nofailover"); no != true { // a member that does not say
		x.Eligible = true
	}
	return s.SystemID
}

// first is the first answer of any member, who are asked at once.
func (m *Members) first(ctx context.Context) (api.ClusterDoc, string, error) {
	m.mu.Lock()
	bases := slices.Clone(m.bases)
	m.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type reply struct {
		doc  api.ClusterDoc
		base string
		err  error
	}
	replies := make(chan reply, len(bases))
	for _, b := range bases {
		go func() {
			doc, err := m.rest.Cluster(ctx, b)
			replies <- reply{doc, b, err}
		}()
	}
	var errs []error
	for range bases {
		r := <-replies
		if r.err == nil && len(r.doc.Members) > 0 {
			return r.doc, r.base, nil
		}
		errs = append(errs, r.err)
	}
	return api.ClusterDoc{}, "", fmt.Errorf("no member answers: %w", errors.Join(errs...))
}

// settings reads what of the dynamic configuration matters here; where no
// answer comes, what was known stays.
func (m *Members) settings(ctx context.Context, base string) {
	doc, _, err := m.rest.Config(ctx, base)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n, ok := number(doc, "ttl"); ok && n > 0 {
		m.ttl = time.Duration(n * float64(time.Second))
	}
	if n, ok := number(doc, "maximum_lag_on_failover"); ok && n >= 0 {
		m.maxLag = uint64(n)
	}
	v, _ := doc.Get("synchronous_mode")
	m.synchronous = v == true || v == "on" || v == "true" || v == "quorum"
}

func number(doc interface{ Get(string) (any, bool) }, key string) (float64, bool) {
	v, _ := doc.Get(key)
	switch v := v.(type) {
	case json.Number:
		n, err := v.Float64()
		return n, err == nil
	case float64:
		return v, true
	case string:
		n, err := strconv.ParseFloat(v, 64)
		return n, err == nil
	}
	return 0, false
}

// Switchover implements Cluster.
func (m *Members) Switchover(ctx context.Context, leader, candidate string) error {
	m.mu.Lock()
	bases := slices.Clone(m.bases)
	m.mu.Unlock()
	var last error
	for _, b := range bases {
		r, err := m.rest.Switchover(ctx, b, client.Move{Leader: leader, Candidate: candidate})
		switch {
		case err == nil && r.OK():
			return nil
		case err == nil:
			return fmt.Errorf("refused: %s", r.Text)
		case client.Sent(err):
			return nil // it may have been taken; whether it was shows
		}
		last = err
	}
	return fmt.Errorf("no member could be asked: %w", last)
}
