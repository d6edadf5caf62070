package zookeeper

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// bufferSize is the largest message; ZooKeeper's own limit is a little less.
const bufferSize = 1 << 20

// link is one library client on one connection, from connect to its end.
type link struct {
	addr string
	conn *zk.Conn
	wire *wire
	clk  clock.Clock
	stop sync.Once

	mu       sync.Mutex
	watchers map[*watcher]bool
	answered boot.Instant // when the last answer came
	trips    []trip       // round trips that may prove something yet, oldest first
	proved   boot.Instant // the newest request that certainly reached the ensemble's leader
}

// trip is one transaction, from its request to its answer.
type trip struct{ sent, answered boot.Instant }

// open connects to one server and presents the session, or makes a new one.
func open(ctx context.Context, addr string, cfg Config, clk clock.Clock, timeout time.Duration, inherit *Identity, quiet bool) (*link, error) {
	c, err := dial(ctx, addr, cfg)
	if err != nil {
		return nil, err
	}
	w := newWire(c, clk, inherit, quiet)
	l := &link{addr: addr, wire: w, clk: clk, watchers: map[*watcher]bool{}}
	given := make(chan net.Conn, 1)
	given <- w
	l.conn, _, err = zk.Connect([]string{addr}, timeout,
		zk.WithHostProvider(&oneHost{addr: addr}),
		zk.WithDialer(func(string, string, time.Duration) (net.Conn, error) {
			select {
			case c := <-given:
				return c, nil
			default:
				return nil, errors.New("a client gets one connection only")
			}
		}),
		zk.WithLogger(silent{}), zk.WithLogInfo(false), zk.WithEventCallback(l.event),
		zk.WithMaxConnBufferSize(bufferSize+4096), zk.WithMaxBufferSize(bufferSize+4096))
	if err != nil {
		w.Close()
		return nil, err
	}
	if err := l.awaitConnect(ctx); err != nil {
		l.kill()
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	for _, a := range cfg.Auth {
		if _, err := do(ctx, l, func(c *zk.Conn) (struct{}, error) { return struct{}{}, c.AddAuth(a.Scheme, []byte(a.Credential)) }); err != nil {
			l.kill()
			return nil, fmt.Errorf("%s: log in with scheme %s: %w", addr, a.Scheme, err)
		}
	}
	return l, nil
}

func dial(ctx context.Context, addr string, cfg Config) (net.Conn, error) {
	d := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 3}}
	if cfg.TLS == nil {
		return d.DialContext(ctx, "tcp", addr)
	}
	return (&tls.Dialer{NetDialer: d, Config: cfg.TLS}).DialContext(ctx, "tcp", addr)
}

func (l *link) awaitConnect(ctx context.Context) error {
	select {
	case <-l.wire.connected:
	case <-l.wire.ended:
		// The reply may have come together with the end of the connection.
		if !l.wire.isConnected() {
			return errors.New("the server ended the connection instead of accepting it")
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	l.wire.mu.Lock()
	err, sent := l.wire.err, l.wire.sent
	l.wire.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proved, l.answered = sent, l.clk.Now()
	return err
}

// alive reports whether the connection still stands, as far as is known.
func (l *link) alive() bool {
	select {
	case <-l.wire.ended:
		return false
	default:
		return true
	}
}

// kill ends the connection and the library client. Nothing that is queued there
// can be sent any more. The library takes up to a few seconds for its own end,
// in which nothing depends on it.
func (l *link) kill() {
	l.stop.Do(func() {
		l.wire.Close()
		go l.conn.Close()
	})
}

// do makes one call of the library; when the context ends first, the connection
// is ended, so that the call cannot have its effect later.
func do[T any](ctx context.Context, l *link, call func(*zk.Conn) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, notSent{err}
	}
	if !l.alive() {
		return none, notSent{zk.ErrConnectionClosed}
	}
	done := make(chan result, 1)
	go func() {
		v, err := call(l.conn)
		done <- result{v, err}
	}()
	var r result
	select {
	case r = <-done:
	case <-l.wire.ended:
		l.kill() // releases calls that wait for a connection
		r = <-done
	case <-ctx.Done():
		l.kill()
		if r = <-done; r.err != nil {
			r.err = errors.Join(r.err, ctx.Err())
		}
	}
	if errors.Is(r.err, zk.ErrSessionExpired) {
		l.kill() // good for nothing any more
	} else if r.err == nil || answer(r.err) {
		l.heard()
	}
	return r.value, r.err
}

func (l *link) heard() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answered = l.clk.Now()
}

// fresh reports whether the server answered a moment ago.
func (l *link) fresh() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clk.Now().Sub(l.answered) < aliveFor
}

// confirm records a transaction that a quorum acknowledged, and returns the
// newest request that it proves: the connect request, or one whose answer came at
// least a tick before this one was sent. Only then did the server certainly
// report to the leader in between, however long either request was on its way.
func (l *link) confirm(sent, answered boot.Instant, tick time.Duration) boot.Instant {
	l.mu.Lock()
	defer l.mu.Unlock()
	older := 0
	for _, r := range l.trips {
		if sent.Sub(r.answered) < tick {
			break
		}
		l.proved = max(l.proved, r.sent)
		older++
	}
	l.trips = append(l.trips[older:], trip{sent, answered})
	return l.proved
}

// oneHost keeps the library from choosing, resolving and shuffling servers.
type oneHost struct {
	addr  string
	asked bool
}

func (*oneHost) Init([]string) error { return nil }
func (*oneHost) Len() int            { return 1 }
func (*oneHost) Connected()          {}

// Next makes the library pause before every attempt but the first, which all
// fail, until it is closed.
func (h *oneHost) Next() (addr string, pause bool) {
	pause, h.asked = h.asked, true
	return h.addr, pause
}

// silent drops the library's log: what matters comes back as an error.
type silent struct{}

func (silent) Printf(string, ...any) {}
