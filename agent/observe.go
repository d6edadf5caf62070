package agent

import (
	"context"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/lease"
	"github.com/matriarch-ha/matriarch/postgres"
	"github.com/matriarch-ha/matriarch/postgres/control"
	"github.com/matriarch-ha/matriarch/wal"
)

// probeTimeout bounds the questions to the local server in one turn: it is
// longer than the statement timeout, so that the server's own answer is heard.
const probeTimeout = 3 * time.Second

// factsMemory is what observing needs from the turn before.
type factsMemory struct {
	last  postgres.Facts
	since boot.Instant // since when process and role are what they are
	// upstreamEnd is what the receiver heard last of the end of the upstream's log
	upstreamEnd wal.LSN
	// role that the running postmaster (pid) was last known to have
	pid  int
	role postgres.ServerRole
}

// observe gathers what this member knows. It is bounded: the store's view, the
// lease and the peers come from memory, only the local server is asked.
func (a *Agent) observe(ctx context.Context) ha.Observation {
	a.applyDynamic(ctx)
	// Before the server is asked: a stop that ends in between would otherwise be
	// over while the server still seems to run, which is a stop that failed.
	task := a.task.current()
	f := a.probe(ctx)
	// The lease and the view are read after the slow part, so that they are
	// what is known at Now.
	st := a.opt.Keeper.State()
	store := a.viewer.current(st.LastError)
	if st.GuardError != "" {
		a.guards.replaceMute(st)
	}
	a.guards.unbar(ctx, f.Process == postgres.ProcRunning && f.Role == postgres.RoleStandby)
	o := ha.Observation{
		Now: a.opt.Clock.Now(), Wall: a.opt.Clock.Wall(),
		Self:     ha.Self{Name: a.opt.Name, Tags: a.opt.Tags, CanBootstrap: a.opt.CanBootstrap, Namesake: a.sibling.address()},
		Settings: a.config.settings,
		Server:   a.server(f),
		Task:     task,
		Lease:    leaseOf(st),
		Guard:    a.guards.state(st),
		Store:    store,
		Peers:    a.peers.words(),
		Failsafe: a.failsafeState(),
		Requests: a.requests.current(),
		Stopping: a.stop.Err() != nil,
	}
	a.proof(f, &o.Server)
	if a.opt.MaxIdle > 0 {
		o.Settings.LoopWait = a.opt.MaxIdle
	}
	return o
}

// probe asks the local server and keeps what was known where it cannot say: a
// server whose role is not known must not be taken for one that does not write.
func (a *Agent) probe(ctx context.Context) postgres.Facts {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	f := a.opt.Postgres.Observe(ctx)
	m := &a.facts
	if f.Process == postgres.ProcRunning && f.Role == "" {
		if f.PID == m.pid && m.role != "" {
			f.Role = m.role
		} else if !f.SignalFile {
			f.Role = postgres.RolePrimary
		} else {
			f.Role = postgres.RoleStandby
		}
	}
	switch {
	case f.Process != postgres.ProcStopped:
		if f.PID != m.pid {
			a.ends.runs()
		}
		m.pid, m.role = f.PID, f.Role
	case m.last.Process != "" && m.last.Process != postgres.ProcStopped:
		a.ends.await(ctx, m.pid) // how it ended belongs to what is decided on it
	}
	switch {
	case f.Role == postgres.RolePrimary:
		m.upstreamEnd = 0
	case f.Receiver.LatestEnd != 0:
		m.upstreamEnd = f.Receiver.LatestEnd
	}
	if f.Process != m.last.Process || f.Role != m.last.Role || m.since.IsZero() {
		m.since = a.opt.Clock.Now()
	}
	m.last = f
	return f
}

func leaseOf(st lease.State) ha.Lease {
	return ha.Lease{Session: st.Session, Held: st.Held, Deadlines: st.Until(), Adrift: st.Adrift, ByWord: st.ByWord(),
		Granted: st.Granted, LastError: st.LastError}
}

// server translates the facts into the words of decisions.
func (a *Agent) server(f postgres.Facts) ha.Server {
	s := ha.Server{
		Dir: dirOf(f), Process: ha.Process(f.Process), Role: ha.ServerRole(f.Role), RoleSince: a.facts.since,
		SystemID: f.SystemID, Position: f.Position, Replayed: f.Replayed,
		ReplayDone:  f.ReplayDone || f.Role == postgres.RolePrimary,
		UpstreamEnd: a.facts.upstreamEnd,
		Heard:       a.heard(f),
		Receiver:    f.Receiver.Running, Streaming: f.Receiver.Status == "streaming",
		Identity: f.Identity, History: f.History,
		Clean:     (f.Process == postgres.ProcStopped || f.ShutDown) && f.Control.Clean(),
		ShutDown:  f.ShutDown,
		Rewinding: f.Dir == postgres.DirRewinding, RewindUnproven: f.Rewinding.Present() && f.Dir != postgres.DirRewinding,
		Claim:              cluster.Version(f.Claim),
		CanRewind:          f.Control.WALLogHints || f.Control.Checksums,
		CheckpointTimeline: f.Control.Timeline,
		SyncNames:          syncNames(f.SyncNames),
		Ended:              a.ended(f),
		LastError:          firstOf(f.DirError, f.LastStartErr, f.SQLError, f.ControlError),
	}
	if s.Process == ha.ProcessStopped && s.Dir == ha.DirPresent {
		s.Role = lastRole(f.Control.State)
	}
	if f.Upstream.Host != "" {
		s.Upstream = f.Upstream.Host + ":" + f.Upstream.Port
	}
	for _, w := range f.WalSenders {
		s.Replication = append(s.Replication, ha.Walsender{Name: w.Application, State: w.State, SyncState: w.SyncState,
			SyncPriority: w.SyncPriority, Write: w.Write, Flush: w.Flush, Replay: w.Replay})
	}
	for _, sl := range f.Slots {
		if sl.Type == "physical" && !sl.Temporary {
			s.Slots = append(s.Slots, cluster.SlotState{Name: sl.Name, LSN: sl.Restart})
		}
	}
	s.Pending = append(s.Pending, f.Pending...)
	s.Version, s.PostmasterStart = f.ServerVersion, f.PostmasterStart
	return s
}

// heard puts the time of the upstream's last message on the boot clock: the server
// tells it by the wall clock, which both read on this host.
func (a *Agent) heard(f postgres.Facts) boot.Instant {
	if !f.Receiver.Running || f.Receiver.LastMsg.IsZero() {
		return 0
	}
	return a.opt.Clock.Now().Add(-max(0, a.opt.Clock.Wall().Sub(f.Receiver.LastMsg)))
}

// ended is how the server ended that is down, if nobody here had told it to.
func (a *Agent) ended(f postgres.Facts) string {
	if f.Process != postgres.ProcStopped {
		return ""
	}
	return a.ends.of()
}

func dirOf(f postgres.Facts) ha.Dir {
	switch f.Dir {
	case postgres.DirMissing, postgres.DirEmpty:
		return ha.DirEmpty
	case postgres.DirPresent, postgres.DirRewinding:
		return ha.DirPresent
	case postgres.DirBootstrapping:
		return ha.DirUnfinished
	default:
		return ha.DirInaccessible
	}
}

// syncNames reads the names out of synchronous_standby_names: one name, a list,
// or a list in parentheses after its method and number. Names may be quoted.
func syncNames(text string) []string {
	var out []string
	for text != "" {
		switch {
		case text[0] == '(':
			out, text = nil, text[1:] // what stood before were no names
		case strings.IndexByte(",) \t\r\n", text[0]) >= 0:
			text = text[1:]
		case text[0] == '"':
			var name string
			name, text = quoted(text[1:])
			out = append(out, name)
		default:
			end := strings.IndexAny(text, "(,) \t\r\n\"")
			if end < 0 {
				end = len(text)
			}
			out, text = append(out, text[:end]), text[end:]
		}
	}
	return out
}

// quoted reads a quoted name after its opening quote.
func quoted(text string) (name, rest string) {
	var b strings.Builder
	for {
		part, after, closed := strings.Cut(text, `"`)
		b.WriteString(part)
		if !closed || !strings.HasPrefix(after, `"`) {
			return b.String(), after
		}
		b.WriteByte('"')
		text = after[1:]
	}
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// lastRole is what a stopped server was: its signal files say only how it would
// start, and standby.signal is always there.
func lastRole(s control.State) ha.ServerRole {
	switch s {
	case control.InProduction, control.ShutDown, control.ShuttingDown, control.InCrashRecovery:
		return ha.ServerPrimary
	case "":
		return ha.ServerUnknown
	}
	return ha.ServerStandby
}
