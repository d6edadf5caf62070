package etcdembed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// The tuning of a store that holds some dozens of small keys.
const (
	heartbeat = 100 * time.Millisecond
	// election is the base of etcd's randomized timeout (one to two times it).
	// The shortest lease that etcd grants follows from it: 1.5 times, rounded
	// up to 2 s. After a change of etcd's leader every lease lives anew for its
	// whole length plus this timeout.
	election         = time.Second
	snapshotEntries  = 2000
	catchUpEntries   = 500
	quota            = 128 << 20
	logSegment       = 8 << 20 // etcd preallocates 64 MB, twice
	compactionPeriod = "1h"
)

func (s *server) etcdConfig() *embed.Config {
	c := s.cfg
	ec := tuned()
	ec.Name, ec.Dir = c.Name, c.DataDir
	ec.ListenPeerUrls = []url.URL{c.mustURL(c.ListenPeer)}
	ec.ListenClientUrls = []url.URL{c.mustURL(c.ListenClient)}
	ec.AdvertisePeerUrls = []url.URL{c.mustURL(c.advertisePeer())}
	ec.AdvertiseClientUrls = []url.URL{c.mustURL(c.advertiseClient())}
	ec.InitialCluster = clusterOf(c, c.Members) // read only at the first start
	ec.PeerTLSInfo, ec.ClientTLSInfo = c.TLS.info(), c.TLS.info()
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(s.logger())
	return ec
}

// tuned are the settings that do not depend on the member.
func tuned() *embed.Config {
	ec := embed.NewConfig()
	ec.TickMs, ec.ElectionMs = uint(heartbeat.Milliseconds()), uint(election.Milliseconds())
	ec.SnapshotCount, ec.SnapshotCatchUpEntries = snapshotEntries, catchUpEntries
	ec.MaxSnapFiles, ec.MaxWalFiles = 2, 2
	ec.QuotaBackendBytes = quota
	ec.AutoCompactionMode, ec.AutoCompactionRetention = embed.CompactorModePeriodic, compactionPeriod
	ec.BootstrapDefragThresholdMegabytes = 16 // at a start, give back what compaction has freed
	ec.PreVote, ec.StrictReconfigCheck = true, true
	ec.EnableGRPCGateway = false
	// A client whose keep-alives are frequent (a watch through a partition must
	// be noticed) is not an attacker.
	ec.GRPCKeepAliveMinTime = time.Second
	wal.SegmentSizeBytes = logSegment
	return ec
}

// logger writes warnings and worse as lines for people.
func (s *server) logger() *zap.Logger {
	w := s.cfg.Log
	if w == nil {
		w = io.Discard
	}
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.ISO8601TimeEncoder
	enc.EncodeLevel = zapcore.CapitalLevelEncoder
	enc.CallerKey, enc.StacktraceKey = "", ""
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(enc), zapcore.Lock(zapcore.AddSync(w)), zapcore.WarnLevel)
	return zap.New(quiet{core, s}, zap.WithFatalHook(fatal{s}), zap.WithPanicHook(fatal{s}))
}

// quiet leaves out what etcd always says at a start, and all that it says while
// it is being stopped (every listener's end is an error to it).
type quiet struct {
	zapcore.Core
	s *server
}

func (q quiet) With(f []zapcore.Field) zapcore.Core { return quiet{q.Core.With(f), q.s} }

func (q quiet) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	usual := strings.HasPrefix(e.Message, "Running http and grpc server on single port") ||
		strings.HasPrefix(e.Message, "simple token is not cryptographically signed")
	if usual || q.s.stopping.Load() && e.Level < zapcore.PanicLevel {
		return ce
	}
	return q.Core.Check(e, ce)
}

// fatal replaces the abrupt end of the process that etcd's log makes (of a
// damaged log, a failing disk) and its panics in other goroutines by one that leaves word of the reason.
type fatal struct{ s *server }

// OnWrite is called after the message was logged; it may not return.
func (f fatal) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	msg := e.Message
	for _, fl := range fields {
		if err, ok := fl.Interface.(error); ok {
			msg += ": " + err.Error()
		}
	}
	f.s.end(damaged(f.s.cfg, errors.New(msg)))
	os.Exit(1)
}

func damaged(c Config, err error) error {
	return fmt.Errorf("%w: %w; directory %s: if the disk is sound, move it away, and the member comes back from its partners", ErrDamaged, err, c.DataDir)
}

// start starts etcd; it panics on some kinds of damage to its files.
func (s *server) start(ec *embed.Config) (e *embed.Etcd, err error) {
	defer func() {
		if r := recover(); r != nil {
			if s.cfg.Log != nil {
				fmt.Fprintf(s.cfg.Log, "%v\n%s", r, debug.Stack())
			}
			err = damaged(s.cfg, fmt.Errorf("%v", r))
		}
	}()
	e, err = embed.StartEtcd(ec)
	if err != nil {
		return nil, fmt.Errorf("start the embedded store: %w", err)
	}
	return e, nil
}

// becomeReady waits until this member is part of a working majority and a voter.
func (s *server) becomeReady(ctx context.Context, e *embed.Etcd) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case <-e.Server.ReadyNotify():
			waiting = false
		case err := <-e.Err():
			return err
		case <-e.Server.StopNotify():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			s.countPartners(ctx)
		}
	}
	if err := s.promote(ctx, e); err != nil {
		return err
	}
	if err := forgetFounding(s.cfg); err != nil {
		return err
	}
	s.update(func(st *State) {
		st.Phase, st.Message, st.Up = Ready, "ready", 0
		st.ClusterID, st.MemberID = e.Server.Cluster().ID().String(), e.Server.MemberID().String()
	})
	return nil
}

// countPartners says who is missing while there is no majority.
func (s *server) countPartners(ctx context.Context) {
	answers := s.ask.all(ctx)
	up := 1
	for _, a := range answers {
		if a.kind != silent {
			up++
		}
	}
	msg := fmt.Sprintf("waiting for a majority: %d of %d members are up%s", up, len(answers)+1, missing(answers))
	s.update(func(st *State) { st.Phase, st.Message, st.Up = Waiting, msg, up })
}
