package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/journal/rest"
	"github.com/matriarch-ha/matriarch/route"
	"github.com/matriarch-ha/matriarch/wal"
)

// asker puts questions to a member's REST API.
type asker interface {
	// lease asks a leader how long it may be relied on.
	lease(ctx context.Context, m cluster.Member) (route.Word, error)
	// status asks any member how it is.
	status(ctx context.Context, m cluster.Member) (route.Word, error)
}

// maxAnswer bounds an answer; with many walsenders a status has some kB.
const maxAnswer = 1 << 20

type restAsker struct {
	http  *http.Client
	clock clock.Clock
	// announcement tells the members where this entrypoint's journal is.
	announcement rest.Announcement
}

// lease asks our own path first. Any other program answers it with an error,
// and is then asked for the primary's health check: its code says what such a
// leader believes of its lock, its body is the status.
func (a *restAsker) lease(ctx context.Context, m cluster.Member) (route.Word, error) {
	w, err := a.get(ctx, m, "/lease", parseLease)
	if err == nil && w.Leased {
		return w, nil
	}
	if err != nil && !errors.Is(err, errNotAnswer) {
		return w, err
	}
	return a.get(ctx, m, "/primary", a.parseStatus)
}

func (a *restAsker) status(ctx context.Context, m cluster.Member) (route.Word, error) {
	w, err := a.get(ctx, m, "/patroni", a.parseStatus)
	w.Locked = false // that path answers 200 to anybody
	return w, err
}

// errNotAnswer: something answered, but not to this question.
var errNotAnswer = errors.New("not an answer to the question")

func (a *restAsker) get(ctx context.Context, m cluster.Member, path string,
	parse func(code int, body []byte) (route.Word, error)) (route.Word, error) {
	u, err := url.Parse(m.APIURL)
	if err != nil || u.Host == "" {
		return route.Word{}, fmt.Errorf("ask %s: its api_url %q is not a URL", m.Name, m.APIURL)
	}
	u.Path, u.RawPath, u.RawQuery, u.Fragment = path, "", "", ""
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return route.Word{}, fmt.Errorf("ask %s: %w", m.Name, err)
	}
	a.announcement.Announce(req)
	// Before sending: whatever the question waits for, on the way there and
	// back, counts as time that the lease has run.
	asked := a.clock.Now()
	resp, err := a.http.Do(req)
	if err != nil {
		return route.Word{}, fmt.Errorf("ask %s: %w", m.Name, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return route.Word{}, fmt.Errorf("ask %s: read the answer to %s: %w", m.Name, path, err)
	}
	w, err := parse(resp.StatusCode, body)
	w.Member, w.Asked = m.Name, asked
	if err != nil {
		return w, fmt.Errorf("ask %s: GET %s answered %d: %w", m.Name, path, resp.StatusCode, err)
	}
	return w, nil
}

// millis is a duration on the wire, in milliseconds.
type millis float64

// duration refuses nonsense by making it zero, which allows nothing.
func (m millis) duration() time.Duration {
	if !(m > 0 && m < millis(math.MaxInt64/int64(time.Millisecond)/2)) {
		return 0
	}
	return time.Duration(float64(m) * float64(time.Millisecond))
}

func parseLease(code int, body []byte) (route.Word, error) {
	var v struct {
		Name      string  `json:"name"`
		Role      string  `json:"role"`
		Remaining *millis `json:"lease_remaining_ms"`
		Session   string  `json:"lease_session"`
		Timeline  uint32  `json:"timeline"`
		State     string  `json:"state"`
	}
	if err := json.Unmarshal(body, &v); err != nil || code != http.StatusOK || v.Remaining == nil {
		return route.Word{}, errNotAnswer
	}
	return route.Word{Name: v.Name, Role: role(v.Role), State: cluster.State(v.State), Timeline: wal.Timeline(v.Timeline),
		Leased: true, Remaining: v.Remaining.duration(), Session: v.Session}, nil
}

// timestampLayout is how members write times; a fraction of the second may follow it.
const timestampLayout = "2006-01-02 15:04:05-07:00"

// age is how long ago a member's time was; 0 when that cannot be read, or was not yet.
func age(at any, now time.Time) time.Duration {
	text, _ := at.(string)
	t, err := time.Parse(timestampLayout, text)
	if err != nil {
		return 0
	}
	return max(0, now.Sub(t))
}

func (a *restAsker) parseStatus(code int, body []byte) (route.Word, error) {
	var v struct {
		State       string                     `json:"state"`
		Role        string                     `json:"role"`
		Timeline    *uint32                    `json:"timeline"`
		Replication string                     `json:"replication_state"`
		Synchronous any                        `json:"sync_standby"`
		Tags        map[string]json.RawMessage `json:"tags"`
		XLog        struct {
			Received wal.LSN `json:"received_location"`
			Replayed wal.LSN `json:"replayed_location"`
			At       any     `json:"replayed_timestamp"`
		} `json:"xlog"`
		Patroni struct {
			Name string `json:"name"`
		} `json:"patroni"`
		Matriarch struct {
			Remaining *millis `json:"lease_remaining_ms"`
			Session   string  `json:"lease_session"`
		} `json:"matriarch"`
	}
	if err := json.Unmarshal(body, &v); err != nil || v.State == "" && v.Role == "" {
		return route.Word{}, errNotAnswer
	}
	w := route.Word{Name: v.Patroni.Name, Role: role(v.Role), State: cluster.State(v.State),
		Locked: code == http.StatusOK, ReplicationState: v.Replication,
		Received: v.XLog.Received, Replayed: v.XLog.Replayed, ReplayedAge: age(v.XLog.At, a.clock.Wall()),
		Synchronous: v.Synchronous == true, Zone: route.TagText(v.Tags[route.TagZone])}
	if v.Timeline != nil {
		w.Timeline = wal.Timeline(*v.Timeline)
	}
	w.NoLoadBalance = string(v.Tags["noloadbalance"]) == "true"
	if v.Matriarch.Remaining != nil {
		w.Leased, w.Remaining, w.Session = true, v.Matriarch.Remaining.duration(), v.Matriarch.Session
	}
	return w, nil
}

// role reads a published role; old versions said master.
func role(s string) cluster.Role {
	if s == "master" {
		return cluster.RolePrimary
	}
	return cluster.Role(s)
}
