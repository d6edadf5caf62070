package probe

import (
	"context"
	"net"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/matriarch-ha/matriarch/postgres/conf"
)

// Dial says whom to connect to and how.
type Dial struct {
	Host, Port, DBName string
	Credentials        conf.Credentials
	Application        string
	// Settings are sent in the startup packet.
	Settings map[string]string
	// Replication asks for a replication session, which knows IDENTIFY_SYSTEM
	// and TIMELINE_HISTORY instead of SQL.
	Replication bool
	// Timeout bounds the connecting alone; 0: 3 s.
	Timeout time.Duration
	// PeerUID is the user to appear as on a Unix socket, for "peer"
	// authentication when we are root; 0: ourselves.
	PeerUID int
}

// Connect opens one session.
func Connect(ctx context.Context, d Dial) (*pgconn.PgConn, error) {
	cfg, err := pgconn.ParseConfig(d.dsn())
	if err != nil {
		return nil, err
	}
	cfg.Password = d.Credentials.Password.Reveal()
	cfg.ConnectTimeout = d.Timeout
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 3 * time.Second
	}
	cfg.RuntimeParams = map[string]string{"application_name": d.Application}
	for k, v := range d.Settings {
		cfg.RuntimeParams[k] = v
	}
	if d.Replication {
		cfg.RuntimeParams["replication"] = "true"
	}
	if d.PeerUID != 0 {
		cfg.DialFunc = dialAs(d.PeerUID, cfg.DialFunc)
	}
	return pgconn.ConnectConfig(ctx, cfg)
}

// dsn writes what the parser must see; every value that the environment could
// otherwise supply is named.
func (d Dial) dsn() string {
	c := d.Credentials
	mode := c.SSLMode
	if mode == "" {
		mode = "prefer"
	}
	var b strings.Builder
	for _, kv := range [][2]string{
		{"host", d.Host}, {"port", d.Port}, {"dbname", d.DBName}, {"user", c.Username}, {"sslmode", mode},
		{"sslcert", c.SSLCert}, {"sslkey", c.SSLKey}, {"sslpassword", c.SSLPassword.Reveal()}, {"sslrootcert", c.SSLRootCert},
		{"sslnegotiation", c.SSLNegotiation}, {"channel_binding", c.ChannelBinding}, {"target_session_attrs", "any"},
	} {
		if kv[1] != "" {
			b.WriteString(kv[0] + "='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(kv[1]) + "' ")
		}
	}
	return b.String()
}

// dialAs makes the connect system call with another effective user, so that
// the server sees that user as its peer. Only this thread changes, and only for
// the call; for a Unix socket the kernel records the peer in it.
func dialAs(uid int, next pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if network != "unix" {
			return next(ctx, network, addr)
		}
		runtime.LockOSThread()
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); e != 0 {
			runtime.UnlockOSThread()
			return next(ctx, network, addr)
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), 0, ^uintptr(0)); e != 0 {
			// The thread stays locked and dies with its goroutine rather than
			// serve others with the wrong identity.
			return conn, err
		}
		runtime.UnlockOSThread()
		return conn, err
	}
}
