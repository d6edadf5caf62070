package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/httpclock"
	"github.com/matriarch-ha/matriarch/journal"
)

// Reading is what an answer says of the clocks of whoever gave it: read at some
// moment between Sent and Received, which are this program's wall clock.
type Reading struct {
	Sent, Received time.Time
	Wall           time.Time
	Boot           boot.Instant // zero: not told
	// Coarse is how far Wall is rounded down; a second where it is the Date.
	Coarse time.Duration
}

// Clock asks for any answer and reads the clock in it. The answer itself does not
// matter, also one that refuses.
func (c *Client) Clock(ctx context.Context, base, path string) (Reading, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	var r Reading
	// Opening the connection does not count: the clock is read after it.
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:              func(httptrace.GotConnInfo) { r.Sent = time.Now() },
		GotFirstResponseByte: func() { r.Received = time.Now() },
	})
	op := "GET " + base + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return r, &Error{Op: op, Err: err}
	}
	c.authenticate(req)
	resp, err := c.http.Do(req)
	if err != nil {
		return r, &Error{Op: op, Err: plainError(err)}
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // so that the connection is used again
	if wall, at, err := httpclock.Parse(resp.Header.Get(httpclock.Header)); err == nil && wall.Unix() > 0 && at > 0 {
		r.Wall, r.Boot = wall.UTC(), at
		return r, nil
	}
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return r, &Error{Op: op, Err: errors.New("the answer does not tell the time"), Sent: true, Code: resp.StatusCode}
	}
	r.Wall, r.Coarse = date, time.Second
	return r, nil
}

// plainError is the cause under the error of an HTTP client, which repeats what
// Error.Op says.
func plainError(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (c *Client) authenticate(req *http.Request) {
	if c.opts.Username != "" {
		req.SetBasicAuth(c.opts.Username, c.opts.Password)
	}
}

// Records is Journal for whoever must do with what can be read: records that
// cannot be understood are counted and left out.
func (c *Client) Records(ctx context.Context, base, since string, limit int) (out []journal.Record, unreadable int, err error) {
	q := url.Values{"limit": {fmt.Sprint(limit)}}
	if since != "" {
		q.Set("since", since)
	}
	var raw []json.RawMessage
	if _, err := c.get(ctx, base, "/journal?"+q.Encode(), &raw); err != nil {
		return nil, 0, err
	}
	for _, text := range raw {
		var r journal.Record
		if json.Unmarshal(text, &r) != nil || r.Seq == 0 {
			unreadable++
			continue
		}
		out = append(out, r)
	}
	return out, unreadable, nil
}

// Entrypoint is an entrypoint that asked a member lately.
type Entrypoint struct {
	URL  string    `json:"url"` // of its statistics, which serve its journal too
	Seen time.Time `json:"seen"`
}

// Entrypoints asks a member which entrypoints it knows. One that does not know
// the question knows none.
func (c *Client) Entrypoints(ctx context.Context, base string) (out []Entrypoint, err error) {
	_, err = c.get(ctx, base, "/entrypoints", &out)
	if code := Code(err); code == http.StatusNotFound || code == http.StatusNotImplemented {
		return nil, nil
	}
	return out, err
}
