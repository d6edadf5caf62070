package etcdembed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
)

// The answer of a member that listens on its peer port but has not started its
// server.
const (
	standInHeader  = "X-Matriarch-Store" // one of standInWords
	settingsHeader = "X-Matriarch-Store-Members"
	idHeader       = "X-Matriarch-Store-Id"
	tokenHeader    = "X-Matriarch-Store-Token"
	etcdIDHeader   = "X-Etcd-Cluster-ID"
	membersPath    = "/members" // etcd's own, answered by a started server without a majority too
)

var standInWords = map[string]answerKind{"fresh": fresh, "bereft": bereft, "pledged": pledged, "agreed": agreed, "holding": holding}

func (k answerKind) word() string {
	for w, kind := range standInWords {
		if kind == k {
			return w
		}
	}
	return ""
}

// askTimeout bounds one question to one partner.
const askTimeout = time.Second

// asker asks partners on their peer ports.
type asker struct {
	cfg  Config
	http *http.Client
}

func newAsker(c Config) (*asker, error) {
	tr, err := transport.NewTransport(c.TLS.info(), askTimeout)
	if err != nil {
		return nil, fmt.Errorf("embedded store: TLS: %w", err)
	}
	return &asker{cfg: c, http: &http.Client{Transport: tr, Timeout: askTimeout}}, nil
}

// all asks every partner at once.
func (a *asker) all(ctx context.Context) []answer {
	partners := a.cfg.partners()
	answers := make([]answer, len(partners))
	var wg sync.WaitGroup
	for i, p := range partners {
		wg.Go(func() { answers[i] = a.one(ctx, p) })
	}
	wg.Wait()
	return answers
}

func (a *asker) one(ctx context.Context, p Member) answer {
	u := a.cfg.mustURL(p.Peer)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String()+membersPath, nil)
	if err != nil {
		return answer{from: p, err: err}
	}
	resp, err := a.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL: the message names it already
		}
		return answer{from: p, err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return answer{from: p, err: err}
	}
	ans := classify(resp.StatusCode, resp.Header, body, a.cfg.settingsToken(), u.String())
	ans.from = p
	return ans
}

// classify reads the answer of the partner at peer. What it does not understand
// counts as silence: nothing may be concluded from it.
func classify(status int, h http.Header, body []byte, settings, peer string) answer {
	if v := h.Get(standInHeader); v != "" {
		return classifyStandIn(v, h, settings)
	}
	if status != http.StatusOK {
		return answer{err: fmt.Errorf("status %d and not a store's answer", status)}
	}
	id, err := parseIdentity(h.Get(etcdIDHeader))
	if err != nil {
		return answer{err: fmt.Errorf("not a store's answer: %w", err)}
	}
	var members []struct {
		PeerURLs []string `json:"peerURLs"`
	}
	if err := json.Unmarshal(body, &members); err != nil {
		return answer{err: fmt.Errorf("a list of members was expected: %w", err)}
	}
	for _, m := range members {
		if slices.Contains(m.PeerURLs, peer) {
			return answer{kind: running, id: id}
		}
	}
	return answer{err: fmt.Errorf("an etcd answers there that does not list %s among its members", peer)}
}

func classifyStandIn(word string, h http.Header, settings string) answer {
	kind, ok := standInWords[word]
	if !ok {
		return answer{err: fmt.Errorf("its state %q is not known here: is it of another release?", word)}
	}
	ans := answer{kind: kind, token: h.Get(tokenHeader)}
	if text := h.Get(idHeader); text != "" {
		var err error
		if ans.id, err = parseIdentity(text); err != nil {
			return answer{err: err}
		}
	}
	if h.Get(settingsHeader) != settings {
		ans.kind = mismatched
	}
	if ans.id == 0 && (ans.kind.votes() || ans.kind == pledged) || ans.kind == pledged && ans.token == "" {
		return answer{err: fmt.Errorf("it says %q and does not name its store", word)}
	}
	return ans
}

// standIn listens on the peer port until the server takes it over, and tells
// partners what this member knows.
type standIn struct {
	srv  *http.Server
	now  atomic.Pointer[ground]
	done chan struct{}
}

func newStandIn(c Config, l net.Listener, g ground) (*standIn, error) {
	if c.TLS.enabled() {
		info := c.TLS.info()
		tl, err := transport.NewTLSListener(l, &info)
		if err != nil {
			return nil, fmt.Errorf("embedded store: TLS: %w", err)
		}
		l = tl
	}
	s := &standIn{done: make(chan struct{})}
	s.say(g)
	h := http.NewServeMux()
	h.HandleFunc("GET "+membersPath, func(w http.ResponseWriter, _ *http.Request) {
		kind, id, token := s.now.Load().words()
		w.Header().Set(standInHeader, kind.word())
		w.Header().Set(settingsHeader, c.settingsToken())
		if id != 0 {
			w.Header().Set(idHeader, id.text())
		}
		if token != "" {
			w.Header().Set(tokenHeader, token)
		}
		io.WriteString(w, "[]")
	})
	s.srv = &http.Server{Handler: h, ReadHeaderTimeout: askTimeout}
	s.srv.SetKeepAlivesEnabled(false) // the listener behind the port changes
	go func() { defer close(s.done); s.srv.Serve(l) }()
	return s, nil
}

// say changes what partners are told, once it is on disk.
func (s *standIn) say(g ground) { s.now.Store(&g) }

func (s *standIn) close() {
	if s == nil {
		return
	}
	s.srv.Close()
	<-s.done
}
