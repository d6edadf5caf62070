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
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
)

// standInHeader marks the answer of a member that listens on its peer port but
// has not started its server yet. Its value is standInFresh or standInBereft.
const (
	standInHeader = "X-Matriarch-Store"
	tokenHeader   = "X-Matriarch-Store-Members"
	standInFresh  = "fresh"
	standInBereft = "bereft"
	membersPath   = "/members" // etcd's own, answered by a started server without a majority too
)

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
	tr.DisableKeepAlives = true // the listener behind the port changes
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
	kind, err := classify(resp.StatusCode, resp.Header, body, a.cfg.initialToken())
	return answer{from: p, kind: kind, err: err}
}

// classify reads a partner's answer. What it does not understand counts as
// silence: nothing may be concluded from it.
func classify(status int, h http.Header, body []byte, token string) (answerKind, error) {
	if v := h.Get(standInHeader); v != "" {
		switch {
		case h.Get(tokenHeader) != token:
			return mismatched, nil
		case v == standInFresh:
			return fresh, nil
		}
		return bereft, nil
	}
	var members []struct {
		ClientURLs []string `json:"clientURLs"`
	}
	if status != http.StatusOK || h.Get("X-Etcd-Cluster-ID") == "" {
		return silent, fmt.Errorf("status %d and not a store's answer", status)
	}
	if err := json.Unmarshal(body, &members); err != nil || len(members) == 0 {
		return silent, fmt.Errorf("a list of members was expected")
	}
	for _, m := range members {
		if len(m.ClientURLs) > 0 {
			return founded, nil
		}
	}
	return unfounded, nil
}

// standIn listens on the peer port until the server takes it over, and tells
// partners that this member has no data.
type standIn struct {
	srv  *http.Server
	done chan struct{}
}

func newStandIn(c Config, l net.Listener, knows bool) (*standIn, error) {
	if c.TLS.enabled() {
		info := c.TLS.info()
		tl, err := transport.NewTLSListener(l, &info)
		if err != nil {
			return nil, fmt.Errorf("embedded store: TLS: %w", err)
		}
		l = tl
	}
	say := standInFresh
	if knows {
		say = standInBereft
	}
	h := http.NewServeMux()
	h.HandleFunc("GET "+membersPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(standInHeader, say)
		w.Header().Set(tokenHeader, c.initialToken())
		io.WriteString(w, "[]")
	})
	s := &standIn{srv: &http.Server{Handler: h, ReadHeaderTimeout: askTimeout}, done: make(chan struct{})}
	s.srv.SetKeepAlivesEnabled(false)
	go func() { defer close(s.done); s.srv.Serve(l) }()
	return s, nil
}

func (s *standIn) close() {
	if s == nil {
		return
	}
	s.srv.Close()
	<-s.done
}
