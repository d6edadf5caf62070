package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/internal/keypair"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
	"github.com/matriarch-ha/matriarch/journal"
)

// Limits of one call.
const (
	defaultTimeout = 10 * time.Second
	// dialTimeout is shorter: a dead host should not hold up asking the next one.
	dialTimeout = 3 * time.Second
	// outcomeTimeout: some requests are answered by their outcome only. Whoever
	// wants to wait less ends the context.
	outcomeTimeout = 30 * time.Minute
	maxAnswer      = 32 << 20
)

// Options say how members are called.
type Options struct {
	Username, Password string // empty: no authentication
	// CAFile holds who signs the members' certificates; empty: the system's.
	CAFile string
	// CertFile and KeyFile are this client's certificate.
	CertFile, KeyFile string
	KeyPassword       string // opens KeyFile; empty for a key that is not encrypted
	// Resolve, if set, gives the address to connect to for a host that a URL names;
	// certificates are still compared with the name.
	Resolve func(host string) string
	// Insecure does not verify the members' certificates.
	Insecure bool
	// Timeout bounds every call but those that are answered by their outcome (a
	// move of the leadership, a restart); 0 means 10 s.
	Timeout time.Duration
}

// Client calls members. It may be used by several goroutines.
type Client struct {
	opts Options
	http *http.Client
}

// New makes a client; it fails when certificates cannot be read.
func New(o Options) (*Client, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.Insecure}
	if o.CAFile != "" {
		text, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("certificate authority: %s holds no certificate", o.CAFile)
		}
	}
	if o.CertFile != "" {
		pair, err := keypair.Load("ctl", o.CertFile, o.KeyFile, o.KeyPassword)
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return &Client{opts: o, http: &http.Client{
		Transport: &http.Transport{
			DialContext:         o.dial,
			TLSHandshakeTimeout: o.Timeout,
			TLSClientConfig:     conf,
			MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (o Options) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if host, port, err := net.SplitHostPort(address); err == nil && o.Resolve != nil {
		address = net.JoinHostPort(o.Resolve(host), port)
	}
	return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Base returns the root of the member's interface from its api_url.
func Base(apiURL string) string {
	u, err := url.Parse(apiURL)
	if err != nil || u.Host == "" {
		return apiURL
	}
	return u.Scheme + "://" + u.Host
}

// Reply is a member's answer in words: Code is the HTTP status.
type Reply struct {
	Code int
	Text string
	Tag  string // entity tag, with its quotes; empty when there was none
	body []byte
}

// OK reports whether the member did or accepted what was asked.
func (r Reply) OK() bool { return r.Code >= 200 && r.Code < 300 }

// Error is a call without a usable answer.
type Error struct {
	Op  string // "GET http://10.0.0.1:8008/cluster"
	Err error
	// Sent: the request may have reached the member, so it may have had an
	// effect. False: it certainly had none.
	Sent bool
	// Code is the HTTP status when the member answered; 0 otherwise.
	Code int
}

func (e *Error) Error() string { return e.Op + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Sent reports whether the request behind err may have had an effect.
func Sent(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Sent
}

// Code returns the HTTP status behind err, 0 when there was no answer.
func Code(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// do sends one request and reads the answer.
func (c *Client) do(ctx context.Context, method, base, path string, body []byte, match string) (Reply, error) {
	op := method + " " + base + path
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return Reply{}, &Error{Op: op, Err: err}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if match != "" {
		req.Header.Set("If-Match", match)
	}
	c.authenticate(req)
	resp, err := c.http.Do(req)
	if err != nil {
		return Reply{}, &Error{Op: op, Err: plainError(err), Sent: sent.Load()}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return Reply{}, &Error{Op: op, Err: fmt.Errorf("read the answer: %w", err), Sent: true, Code: resp.StatusCode}
	}
	return Reply{Code: resp.StatusCode, Text: plain(answer, resp.StatusCode), Tag: resp.Header.Get("ETag"), body: answer}, nil
}

// plain is the answer for people: an HTML page shrinks to the code's name.
func plain(body []byte, code int) string {
	text := strings.TrimSpace(string(body))
	if strings.HasPrefix(text, "<") {
		return http.StatusText(code)
	}
	// Whoever answers may be a stranger: nothing that a terminal obeys.
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// outcome sends a request that is answered by its outcome.
func (c *Client) outcome(ctx context.Context, base, path string, doc any) (Reply, error) {
	body, err := json.Marshal(doc)
	if err != nil {
		return Reply{}, &Error{Op: "POST " + base + path, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, outcomeTimeout)
	defer cancel()
	return c.do(ctx, http.MethodPost, base, path, body, "")
}

// call is do with the usual deadline.
func (c *Client) call(ctx context.Context, method, base, path string, body []byte, match string) (Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	return c.do(ctx, method, base, path, body, match)
}

// get reads a document.
func (c *Client) get(ctx context.Context, base, path string, doc any) (Reply, error) {
	r, err := c.call(ctx, http.MethodGet, base, path, nil, "")
	if err != nil {
		return r, err
	}
	op := "GET " + base + path
	if !r.OK() {
		return r, &Error{Op: op, Err: fmt.Errorf("answered %d %s", r.Code, r.Text), Sent: true, Code: r.Code}
	}
	if err := json.Unmarshal(r.body, doc); err != nil {
		return r, &Error{Op: op, Err: fmt.Errorf("answer is not what was expected: %w", err), Sent: true, Code: r.Code}
	}
	return r, nil
}

// Status asks a member for its status.
func (c *Client) Status(ctx context.Context, base string) (d api.StatusDoc, err error) {
	_, err = c.get(ctx, base, "/patroni", &d)
	return d, err
}

// Health asks a member for its status and whether its server runs.
func (c *Client) Health(ctx context.Context, base string) (d api.StatusDoc, runs bool, err error) {
	r, err := c.call(ctx, http.MethodGet, base, "/health", nil, "")
	if err != nil {
		return d, false, err
	}
	if err := json.Unmarshal(r.body, &d); err != nil {
		return d, false, &Error{Op: "GET " + base + "/health", Err: fmt.Errorf("answer is not what was expected: %w", err), Sent: true, Code: r.Code}
	}
	return d, r.OK(), nil
}

// Cluster asks a member for the cluster.
func (c *Client) Cluster(ctx context.Context, base string) (d api.ClusterDoc, err error) {
	_, err = c.get(ctx, base, "/cluster", &d)
	return d, err
}

// Lease asks a member how long it may still write. The answer's time counts
// from before the call.
func (c *Client) Lease(ctx context.Context, base string) (d api.LeaseDoc, err error) {
	_, err = c.get(ctx, base, "/lease", &d)
	return d, err
}

// Vote asks a member for its word in a race.
func (c *Client) Vote(ctx context.Context, base string) (d api.VoteDoc, err error) {
	_, err = c.get(ctx, base, "/vote", &d)
	return d, err
}

// History asks a member for the timeline history; numbers are json.Number.
func (c *Client) History(ctx context.Context, base string) ([]api.HistoryLine, error) {
	var raw json.RawMessage
	if _, err := c.get(ctx, base, "/history", &raw); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var lines []api.HistoryLine
	if err := dec.Decode(&lines); err != nil {
		return nil, &Error{Op: "GET " + base + "/history", Err: err, Sent: true}
	}
	return lines, nil
}

// Journal asks a member for its journal: records after since (a number or an
// RFC 3339 time, empty for the newest), at most limit.
func (c *Client) Journal(ctx context.Context, base, since string, limit int) (out []journal.Record, err error) {
	q := url.Values{"limit": {fmt.Sprint(limit)}}
	if since != "" {
		q.Set("since", since)
	}
	_, err = c.get(ctx, base, "/journal?"+q.Encode(), &out)
	return out, err
}

// Config asks a member for the dynamic configuration and its entity tag (empty
// when the member gives none).
func (c *Client) Config(ctx context.Context, base string) (doc pyjson.Object, tag string, err error) {
	r, err := c.get(ctx, base, "/config", &doc)
	return doc, r.Tag, err
}

// PatchConfig merges an object into the configuration; a tag makes it fail with
// code 409 when the configuration is another by now.
func (c *Client) PatchConfig(ctx context.Context, base string, patch pyjson.Object, tag string) (Reply, error) {
	return c.send(ctx, http.MethodPatch, base, "/config", patch, tag)
}

// PutConfig replaces the configuration; tag as for PatchConfig.
func (c *Client) PutConfig(ctx context.Context, base string, doc pyjson.Object, tag string) (Reply, error) {
	return c.send(ctx, http.MethodPut, base, "/config", doc, tag)
}

func (c *Client) send(ctx context.Context, method, base, path string, doc any, tag string) (Reply, error) {
	body, err := json.Marshal(doc)
	if err != nil {
		return Reply{}, &Error{Op: method + " " + base + path, Err: err}
	}
	return c.call(ctx, method, base, path, body, tag)
}
