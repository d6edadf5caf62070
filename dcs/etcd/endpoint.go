package etcd

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/stats"

	"github.com/matriarch-ha/matriarch/boot"
)

// endpoint is the connection to one server, and the login there.
type endpoint struct {
	addr string
	conn *grpc.ClientConn

	kv    pb.KVClient
	lease pb.LeaseClient
	watch pb.WatchClient

	username, password string
	mu                 sync.Mutex
	token              string

	answered atomic.Int64 // boot.Instant of the last answer
}

// dial prepares a connection; gRPC opens it with the first call.
func dial(ep string, cfg Config) (*endpoint, error) {
	addr, useTLS, err := splitEndpoint(ep, cfg.TLS != nil)
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if useTLS {
		conf := &tls.Config{MinVersion: tls.VersionTLS12}
		if cfg.TLS != nil {
			conf = cfg.TLS.Clone()
		}
		creds = credentials.NewTLS(conf)
	}
	e := &endpoint{addr: addr, username: cfg.Username, password: cfg.Password}
	e.conn, err = grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(creds),
		grpc.WithPerRPCCredentials(tokenSource{e}),
		grpc.WithStatsHandler(connHandler{e}),
		grpc.WithNoProxy(),
		// Reconnect quickly: a lease is running out meanwhile.
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second,
			Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second}}),
		// The timeout also becomes TCP_USER_TIMEOUT: a connection to a host that
		// is gone ends then, not after the kernel's quarter of an hour.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
	)
	if err != nil {
		return nil, fmt.Errorf("etcd: endpoint %s: %w", addr, err)
	}
	e.kv, e.lease, e.watch = pb.NewKVClient(e.conn), pb.NewLeaseClient(e.conn), pb.NewWatchClient(e.conn)
	return e, nil
}

// answeredAt records an answer of the server.
func (e *endpoint) answeredAt(now boot.Instant) { e.answered.Store(int64(now)) }

// alive reports whether the server answered a moment ago.
func (e *endpoint) alive(now boot.Instant) bool {
	at := boot.Instant(e.answered.Load())
	return !at.IsZero() && now.Sub(at) < aliveFor
}

// do makes a call with a login where one is needed, and once more with a fresh
// login where the server says that the old one is no good: it looks at the
// login before anything else, so the first call had no effect.
func (e *endpoint) do(ctx context.Context, call func(context.Context) error) error {
	if err := e.login(ctx, ""); err != nil {
		return err
	}
	token := e.currentToken()
	err := call(ctx)
	if err == nil || e.username == "" || !badLogin(err) {
		return err
	}
	if err := e.login(ctx, token); err != nil {
		return err
	}
	return call(ctx)
}

// login asks for a token unless there is one other than stale.
func (e *endpoint) login(ctx context.Context, stale string) error {
	if e.username == "" {
		return nil
	}
	if token := e.currentToken(); token != "" && token != stale {
		return nil
	}
	e.setToken("")
	resp, err := pb.NewAuthClient(e.conn).Authenticate(withSent(ctx, nil), &pb.AuthenticateRequest{Name: e.username, Password: e.password})
	if rpctypes.ErrorDesc(err) == rpctypes.ErrorDesc(rpctypes.ErrGRPCAuthNotEnabled) {
		return nil
	}
	if err != nil {
		return loginError{err}
	}
	e.setToken(resp.Token)
	return nil
}

func (e *endpoint) currentToken() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.token
}

func (e *endpoint) setToken(token string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.token = token
}

// tokenSource adds the login to every call.
type tokenSource struct{ e *endpoint }

func (t tokenSource) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if token := t.e.currentToken(); token != "" {
		return map[string]string{rpctypes.TokenFieldNameGRPC: token}, nil
	}
	return nil, nil
}

// RequireTransportSecurity allows what etcd allows: a login without TLS.
func (tokenSource) RequireTransportSecurity() bool { return false }

// sentKey marks the flag in a call's context that tells whether the request
// may have left this host.
type sentKey struct{}

func withSent(ctx context.Context, flag *atomic.Bool) context.Context {
	return context.WithValue(ctx, sentKey{}, flag)
}

// connHandler watches one endpoint's connection.
type connHandler struct{ e *endpoint }

func (connHandler) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC sets the flag as soon as the first frame of a call is handed to the
// connection. What fails before that certainly had no effect.
func (connHandler) HandleRPC(ctx context.Context, s stats.RPCStats) {
	switch s.(type) {
	case *stats.OutHeader, *stats.OutPayload:
		if flag, _ := ctx.Value(sentKey{}).(*atomic.Bool); flag != nil {
			flag.Store(true)
		}
	}
}

func (connHandler) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn: at the other end of a new connection there may be a server of
// another store. It must answer a read before it is sent a write, which would
// raise the revision of a store that has gone back and so hide it.
func (h connHandler) HandleConn(context.Context, stats.ConnStats) { h.e.answeredAt(0) }
