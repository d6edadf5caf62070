package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

// peerTimeout bounds one question to a peer; a race does not wait that long.
const peerTimeout = 2 * time.Second

// maxAnswer bounds a peer's answer in bytes.
const maxAnswer = 1 << 20

// peers asks other members for their word and keeps the latest.
type peers struct {
	opt  Options
	wake func()

	mu   sync.Mutex
	word map[string]ha.Peer

	clockTold map[string]bool // peers whose clock was told to be off
}

func newPeers(o Options, wake func()) *peers {
	return &peers{opt: o, wake: wake, word: map[string]ha.Peer{}, clockTold: map[string]bool{}}
}

// ask questions the members at once and returns; each answer wakes the loop.
func (p *peers) ask(ctx context.Context, members []cluster.Member) {
	for _, m := range members {
		sent := p.opt.Clock.Now()
		p.update(m.Name, func(w *ha.Peer) { w.Asked, w.Error, w.ServerSilent = sent, "", false })
		go func() {
			ctx, cancel := context.WithTimeout(ctx, peerTimeout)
			defer cancel()
			answer, err := p.both(ctx, m)
			p.update(m.Name, func(w *ha.Peer) { p.heard(w, sent, answer, err) })
			p.wake()
		}()
	}
}

// errServerSilent: an agent has no answer of its server's to pass on.
var errServerSilent = errors.New("its server did not answer it")

// heard notes the outcome of the question sent at that instant. An answer to an
// older question than one already answered is dropped.
func (p *peers) heard(w *ha.Peer, sent boot.Instant, answer ha.Peer, err error) {
	switch {
	case err != nil && w.Asked == sent:
		w.Error, w.Closed, w.ServerSilent = err.Error(), answer.Closed, errors.Is(err, errServerSilent)
	case err == nil && sent >= w.AnswerTo:
		answer.Name, answer.Asked, answer.Error = w.Name, w.Asked, ""
		answer.AnswerTo, answer.Answered = sent, p.opt.Clock.Now()
		*w = answer
	}
}

func (p *peers) update(name string, f func(*ha.Peer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.word[name]
	w.Name = name
	f(&w)
	p.word[name] = w
}

func (p *peers) words() []ha.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []ha.Peer
	for _, w := range p.word {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b ha.Peer) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// both asks a member for its word, and one that no guard stops also its server:
// the agent there may be dead and the server not. That it writes is heard whatever
// the agent says, or if it says nothing.
func (p *peers) both(ctx context.Context, m cluster.Member) (ha.Peer, error) {
	host, port := m.HostPort()
	if m.Guarded || p.opt.Writable == nil || host == "" {
		return p.question(ctx, m)
	}
	var writes bool
	var unknown error
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		writes, unknown = p.opt.Writable(ctx, host, port)
	}()
	answer, err := p.question(ctx, m)
	<-asked
	answer.Closed = unknown == nil && !writes
	if unknown == nil && writes {
		answer.AgentSilent = err != nil
		answer.InRecovery, answer.Position, err = false, wal.Position{}, nil
	}
	return answer, err
}

// question asks one member: one of ours for its vote, another program's for its
// status.
func (p *peers) question(ctx context.Context, m cluster.Member) (ha.Peer, error) {
	path, decode := "/vote", decodeVote
	if m.Matriarch == "" {
		path, decode = "/patroni", decodeStatus
	}
	return p.get(ctx, m.Name, strings.TrimSuffix(m.APIURL, "/patroni")+path, func(body []byte) (ha.Peer, error) { return decode(m.Name, body) })
}

func (p *peers) get(ctx context.Context, name, url string, decode func([]byte) (ha.Peer, error)) (ha.Peer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return ha.Peer{}, err
	}
	resp, err := p.opt.Peers.Do(req)
	if err != nil {
		return ha.Peer{}, err
	}
	defer resp.Body.Close()
	p.compareClock(name, resp.Header)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return ha.Peer{}, err
	}
	return decode(body)
}

// vote is the answer of GET /vote.
type vote struct {
	Name           string          `json:"name"`
	InRecovery     *bool           `json:"in_recovery"`
	Timeline       wal.Timeline    `json:"timeline"`
	LSN            string          `json:"lsn"`   // as PostgreSQL writes it; empty: unknown
	Fresh          bool            `json:"fresh"` // the server answered for this question
	Voting         bool            `json:"voting"`
	Eligible       bool            `json:"eligible"`
	WatchdogFailed bool            `json:"watchdog_failed"`
	Tags           json.RawMessage `json:"tags"`
}

// decodeVote reads the vote of the named member: an address that moved to
// another member must not give that one two voices.
func decodeVote(name string, body []byte) (ha.Peer, error) {
	var v vote
	if err := json.Unmarshal(body, &v); err != nil {
		return ha.Peer{}, fmt.Errorf("understand the vote: %w", err)
	}
	if v.Name != name {
		return ha.Peer{}, fmt.Errorf("understand the vote: %q answers at the address of %q", v.Name, name)
	}
	if v.InRecovery == nil {
		return ha.Peer{}, errors.New("understand the vote: it does not say whether the server is in recovery")
	}
	if !v.Fresh {
		return ha.Peer{}, errServerSilent
	}
	p := ha.Peer{InRecovery: *v.InRecovery, Voting: v.Voting, EligibleKnown: true, Eligible: v.Eligible, WatchdogFailed: v.WatchdogFailed}
	var err error
	if v.LSN != "" && *v.InRecovery {
		p.Position.Timeline = v.Timeline
		if p.Position.LSN, err = wal.ParseLSN(v.LSN); err != nil {
			return ha.Peer{}, fmt.Errorf("understand the vote: %w", err)
		}
	}
	p.Tags, err = decodeTags(v.Tags)
	return p, err
}

// status is what a member of another program tells of itself.
type status struct {
	Role     string          `json:"role"`
	Timeline wal.Timeline    `json:"timeline"`
	Tags     json.RawMessage `json:"tags"`
	Failed   bool            `json:"watchdog_failed"`
	XLog     *xlog           `json:"xlog"`
	WAL      *xlog           `json:"wal"`
	Program  struct {
		Name string `json:"name"` // not told by old versions
	} `json:"patroni"`
}

type xlog struct {
	Location wal.LSN `json:"location"`
	Received wal.LSN `json:"received_location"`
	Replayed wal.LSN `json:"replayed_location"`
}

// decodeStatus reads the status of the named member. One that answers at two
// members' addresses, as after a change of its name, would wait for itself to
// lead.
func decodeStatus(name string, body []byte) (ha.Peer, error) {
	var s status
	if err := json.Unmarshal(body, &s); err != nil {
		return ha.Peer{}, fmt.Errorf("understand the status: %w", err)
	}
	if n := s.Program.Name; n != "" && n != name {
		return ha.Peer{}, fmt.Errorf("understand the status: %q answers at the address of %q", n, name)
	}
	x := s.XLog
	if x == nil {
		x = s.WAL
	}
	if x == nil {
		return ha.Peer{}, errServerSilent
	}
	tags, err := decodeTags(s.Tags)
	p := ha.Peer{Tags: tags, WatchdogFailed: s.Failed,
		InRecovery: x.Location == 0 && s.Role != "primary" && s.Role != "master"}
	if p.InRecovery {
		p.Position = wal.Position{Timeline: s.Timeline, LSN: max(x.Received, x.Replayed)}
	}
	return p, err
}

// decodeTags reads tags as the store's codec does, by wrapping them in a member.
func decodeTags(raw json.RawMessage) (cluster.Tags, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return cluster.Tags{}, nil
	}
	return layout.DecodeTags(raw)
}

// Question asks one member for its word, for those outside the loop.
func Question(ctx context.Context, c *http.Client, m cluster.Member) (ha.Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	return newPeers(Options{Peers: c}, nil).question(ctx, m)
}

// Alive reports whether the member's REST interface answers that it lives.
func Alive(ctx context.Context, c *http.Client, m cluster.Member) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(m.APIURL, "/patroni")+"/liveness", nil)
	if err != nil {
		return false
	}
	resp, err := c.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
