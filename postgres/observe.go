package postgres

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/postgres/conf"
	"github.com/matriarch-ha/matriarch/postgres/control"
	"github.com/matriarch-ha/matriarch/postgres/probe"
	"github.com/matriarch-ha/matriarch/wal"
)

// Observe collects the facts. It never fails: what could not be found out is
// unknown in the result, with the reason beside it.
func (s *Server) Observe(ctx context.Context) Facts {
	f := Facts{At: s.opt.Clock.Now()}
	s.seeDir(&f)
	s.trimLog()
	p := s.process()
	f.Process = s.procState(p)
	s.mu.Lock()
	f.LastStartErr = s.startErr
	f.Upstream = endpoint(s.recovery.conninfo, s.recovery.slot)
	s.mu.Unlock()
	if p != nil {
		f.PID, f.StartTicks = p.PID, p.StartTicks()
	}
	switch {
	case f.Process == ProcRunning || f.Process == ProcStopping && s.heartOpen():
		s.seeRunning(ctx, &f)
	case f.Process == ProcStopped && f.Dir == DirPresent:
		s.seeStopped(ctx, &f)
	case f.Dir == DirPresent:
		s.seeControl(ctx, &f)
		f.Role = s.roleByFiles()
		if f.Process == ProcStopping && f.Control.State == control.ShutDown {
			s.seeShutDown(ctx, &f)
		}
	case f.Dir == DirBootstrapping && f.Process == ProcStopped:
		// Without a control file, initdb did not even finish.
		if ctl, err := s.control(ctx); err == nil {
			f.Control, f.SystemID = ctl, ctl.SystemID
		}
	}
	if f.Position.Known() {
		f.Identity = s.Identity(f.Position.Timeline)
	}
	return f
}

func (s *Server) heartOpen() bool {
	s.probeMu.Lock()
	defer s.probeMu.Unlock()
	return s.heart != nil
}

func (s *Server) seeDir(f *Facts) {
	state, err := s.dirState()
	f.Dir, f.Major = state, s.dataMajor()
	if state == DirBootstrapping {
		f.Claim = s.bootstrapClaim()
	}
	if err != nil {
		f.DirError = err.Error()
	}
	f.Rewinding, _ = s.readRewindMark()
	f.SignalFile = exists(s.standbySignal()) || exists(s.recoverySignal())
	f.Kept = s.keptCopies()
	s.mu.Lock()
	f.WALHeld = s.forkWAL
	s.mu.Unlock()
}

func (s *Server) roleByFiles() ServerRole {
	if exists(s.standbySignal()) || exists(s.recoverySignal()) {
		return RoleStandby
	}
	return RolePrimary
}

// seeControl reads the control file.
func (s *Server) seeControl(ctx context.Context, f *Facts) {
	ctl, err := s.control(ctx)
	if err != nil {
		f.ControlError, f.Dir = err.Error(), DirBroken
		if !exists(s.dataPath("global", "pg_control")) && !exists(s.dataPath("PG_VERSION")) {
			f.ControlError = s.opt.DataDir + " holds files, but no database of PostgreSQL: empty it, or name another data_dir"
		}
		return
	}
	f.Control, f.SystemID = ctl, ctl.SystemID
}

func (s *Server) seeStopped(ctx context.Context, f *Facts) {
	s.seeControl(ctx, f)
	f.Role = s.roleByFiles()
	if f.ControlError != "" {
		return
	}
	pos, hist, err := s.stoppedPosition(ctx, f.Control)
	if err != nil {
		f.ControlError = err.Error()
		return
	}
	f.Position, f.History = pos, hist
}

// seeShutDown fills in where a server ended that is not gone yet. It still has
// the state it will have when it is stopped, unless its log cannot be read, or a
// foreign start would be a primary's.
func (s *Server) seeShutDown(ctx context.Context, f *Facts) {
	if pos, hist, err := s.stoppedPosition(ctx, f.Control); err == nil && f.SignalFile {
		f.ShutDown, f.Role, f.Position, f.History = true, RolePrimary, pos, hist
	}
}

// seeRunning asks the server.
func (s *Server) seeRunning(ctx context.Context, f *Facts) {
	st, err := s.ask(ctx)
	if err != nil {
		s.seeSilent(ctx, f, err)
		return
	}
	f.ServerVersion, f.PostmasterStart = st.Version, unixTime(st.Start)
	f.SystemID = st.SystemID
	f.Role = RolePrimary
	f.Consistent = true
	f.SyncNames, f.SyncCommit, f.WeakCommits = st.SyncNames, st.SyncCommit, weakCommits(st.WeakCommits)
	f.Control = controlOf(st)
	f.Upstream = endpoint(st.Conninfo, st.Slot)
	if st.Recovery {
		f.Role = RoleStandby
		s.seeStandby(f, st)
	} else {
		f.Flushed = wal.LSN(st.Flush)
		f.Position = wal.Position{Timeline: wal.Timeline(st.Timeline), LSN: f.Flushed}
		f.History = s.history(f.Position.Timeline)
	}
	if a := st.Archiver; a != nil {
		f.Archive = ArchiveFailure{Failures: a.Failures, File: a.File, Since: unixTime(a.Since)}
	}
	f.WalSenders, f.Slots = senders(st.Senders), slotFacts(st.Slots)
	f.Pending = s.pending(st.Settings)
}

// seeSilent fills in what is known of a server that did not answer.
func (s *Server) seeSilent(ctx context.Context, f *Facts, err error) {
	f.SQLError = s.advised(probe.Message(err))
	switch code := probe.Code(err); {
	case code == "57P03" && f.Process == ProcRunning:
		f.Process = ProcStarting
		if strings.Contains(err.Error(), "shutting down") {
			f.Process = ProcStopping
		}
	case code == "57014", errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		f.SQLUnknown = true
	}
	s.seeControl(ctx, f)
	f.Role = s.roleByFiles()
}

func (s *Server) seeStandby(f *Facts, st probe.State) {
	f.Received, f.Replayed = wal.LSN(st.Receive), wal.LSN(st.Replay)
	f.ReplayPaused = st.Paused
	f.ReplayedAt = unixTime(st.ReplayedAt)
	f.ReplayDone = st.StartupWait == "RecoveryWalStream" || st.StartupWait == "RecoveryRetrieveRetryInterval"
	if r := st.Receiver; r != nil {
		f.Receiver = Receiver{Running: true, Status: r.Status, PID: r.PID, Timeline: wal.Timeline(r.Timeline),
			Endpoint: Endpoint{Host: r.Host, Port: portText(r.Port), Slot: r.Slot},
			Written:  wal.LSN(r.Written), Flushed: wal.LSN(r.Flushed), LatestEnd: wal.LSN(r.LatestEnd), LastMsg: unixTime(r.LastMsg)}
		f.Received = max(f.Received, f.Receiver.Flushed)
	}
	f.Position, f.History = s.standbyPosition(f, st)
	if f.Upstream.Host != "" && f.Receiver.Status != "streaming" {
		f.ReceiverError = s.whyNotStreaming()
	}
}

// standbyPosition says where a standby is. The timeline is the newest one that
// anything real vouches for (the receiver, the replayed file, the control
// file), and the ancestor of it that the position belongs to.
func (s *Server) standbyPosition(f *Facts, st probe.State) (wal.Position, wal.History) {
	tl := max(st.Checkpoint.Timeline, st.MinTimeline, startupTimeline(st.StartupPID), uint32(f.Receiver.Timeline))
	s.mu.Lock()
	if s.cache.bestPID == f.PID {
		tl = max(tl, uint32(s.cache.bestTL))
	}
	s.cache.bestPID, s.cache.bestTL = f.PID, wal.Timeline(tl)
	s.mu.Unlock()
	return descend(wal.Timeline(tl), s.history(wal.Timeline(tl)), max(f.Received, f.Replayed))
}

// descend returns the position of an LSN on the line that leads to tl.
func descend(tl wal.Timeline, h wal.History, at wal.LSN) (wal.Position, wal.History) {
	for len(h) > 0 && at < h[len(h)-1].LSN {
		tl, h = h[len(h)-1].Timeline, h[:len(h)-1]
	}
	return wal.Position{Timeline: tl, LSN: at}, h
}

func controlOf(st probe.State) control.Data {
	d := control.Data{
		SystemID: st.SystemID, State: control.InProduction,
		Checkpoint: wal.LSN(st.Checkpoint.LSN), Redo: wal.LSN(st.Checkpoint.Redo),
		Timeline: wal.Timeline(st.Checkpoint.Timeline), PrevTimeline: wal.Timeline(st.Checkpoint.Prev),
		MinRecovery: wal.LSN(st.MinRecovery), MinRecoveryTL: wal.Timeline(st.MinTimeline),
		WALLogHints: st.WALLogHints == "on", Checksums: st.Checksums == "on",
	}
	d.SegmentSize, _ = strconv.ParseInt(st.SegmentBytes, 10, 64)
	if st.Recovery {
		d.State = control.InArchiveRecovery
	}
	return d
}

func weakCommits(in []probe.Commit) []WeakCommit {
	var out []WeakCommit
	for _, c := range in {
		out = append(out, WeakCommit(c))
	}
	return out
}

func senders(in []probe.Sender) []WalSender {
	var out []WalSender
	for _, r := range in {
		out = append(out, WalSender{PID: r.PID, User: r.User, Application: r.App, Addr: r.Addr, State: r.State, SyncState: r.Sync, SyncPriority: r.Priority,
			Sent: wal.LSN(r.Sent), Write: wal.LSN(r.Write), Flush: wal.LSN(r.Flush), Replay: wal.LSN(r.Replay), ReplayLag: since(r.Lag), ReplyAge: since(r.ReplyAge)})
	}
	return out
}

// since turns seconds into a duration; -1 for what is not known.
func since(seconds *float64) time.Duration {
	if seconds == nil {
		return -1
	}
	return max(0, time.Duration(*seconds*float64(time.Second)))
}

func slotFacts(in []probe.Slot) []SlotFact {
	var out []SlotFact
	for _, r := range in {
		out = append(out, SlotFact{Name: r.Name, Type: r.Type, Active: r.Active, Restart: wal.LSN(r.Restart), Confirmed: wal.LSN(r.Confirmed),
			Database: r.Database, Plugin: r.Plugin, Temporary: r.Temporary, Xmin: r.Xmin, WALStatus: r.WALStatus})
	}
	return out
}

// pending lists the settings that a restart would change.
func (s *Server) pending(have []probe.GUC) []SettingDelta {
	want := append([]Param{
		{Name: "listen_addresses", Value: strings.Join(s.opt.ListenHosts, ",")},
		{Name: "port", Value: strconv.Itoa(s.opt.Port)}, {Name: "cluster_name", Value: s.opt.Scope},
	}, s.config().Controlled...)
	params := s.config().Parameters
	var out []SettingDelta
	for _, g := range have {
		v, ok := conf.Lookup(want, g.Name)
		if g.Name == "cluster_name" && !keptAsWritten(v) {
			continue
		}
		if ok && !conf.SameValue(v, g.Value, g.Unit) {
			out = append(out, SettingDelta{Name: g.Name, Old: g.Value, New: v})
		} else if !ok && g.Pending {
			v, ok := conf.Lookup(params, g.Name)
			if !ok {
				v = s.afterRestart(g.Name)
			}
			out = append(out, SettingDelta{Name: g.Name, Old: conf.Pretty(g.Value, g.Unit), New: conf.Pretty(v, g.Unit)})
		}
	}
	return out
}

// keptAsWritten: of a cluster's name the server replaces what is not ASCII, and
// cuts what is longer than an identifier.
func keptAsWritten(name string) bool {
	return len(name) < 64 && strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// unknownValue stands for a value that cannot be found out.
const unknownValue = "?"

// afterRestart is what a setting that is not configured will be.
func (s *Server) afterRestart(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.atStart[name]; ok {
		return v
	}
	return unknownValue
}

// endpoint reads where a connection string leads.
func endpoint(conninfo, slot string) Endpoint {
	params, err := conf.ParseConninfo(conninfo)
	if err != nil || conninfo == "" {
		return Endpoint{}
	}
	host, _ := conf.Lookup(params, "host")
	port, _ := conf.Lookup(params, "port")
	return Endpoint{Host: host, Port: port, Slot: slot}
}

func portText(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func unixTime(sec float64) time.Time {
	if sec == 0 {
		return time.Time{}
	}
	whole, frac := math.Modf(sec)
	return time.Unix(int64(whole), int64(frac*1e9))
}
