package postgres

import (
	"context"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// CheckBinaries verifies that every program is there and that the majors agree.
func (s *Server) CheckBinaries(ctx context.Context) error { panic("todo") }

// ApplyConfig writes the files that changed and reloads a running server.
func (s *Server) ApplyConfig(ctx context.Context) ([]cluster.SettingChange, error) { panic("todo") }

// Observe collects the facts.
func (s *Server) Observe(ctx context.Context) Facts { panic("todo") }

// Identity returns what is known of a timeline's identity.
func (s *Server) Identity(tl wal.Timeline) cluster.TimelineIdentity { panic("todo") }

// SetIdentity records an identity learned elsewhere.
func (s *Server) SetIdentity(tl wal.Timeline, id cluster.TimelineIdentity) error { panic("todo") }

// Bootstrap founds a new cluster.
func (s *Server) Bootstrap(ctx context.Context, o BootstrapOptions) error { panic("todo") }

// Clone copies a server.
func (s *Server) Clone(ctx context.Context, src Source, p Progress) error { panic("todo") }

// StartStandby starts in recovery.
func (s *Server) StartStandby(ctx context.Context, up *Upstream, wait bool) error { panic("todo") }

// StartPrimary starts for writing.
func (s *Server) StartPrimary(ctx context.Context, timeout time.Duration) error { panic("todo") }

// Follow changes the upstream.
func (s *Server) Follow(ctx context.Context, up *Upstream) error { panic("todo") }

// StopReceiver ends the WAL receiver.
func (s *Server) StopReceiver(ctx context.Context) (wal.Position, error) { panic("todo") }

// SetSyncNames sets synchronous_standby_names.
func (s *Server) SetSyncNames(ctx context.Context, names []string) error { panic("todo") }

// SetSyncText sets synchronous_standby_names to a text.
func (s *Server) SetSyncText(ctx context.Context, text string) error { panic("todo") }

// ReleaseSyncNames gives the setting back to the user's configuration.
func (s *Server) ReleaseSyncNames(ctx context.Context) error { panic("todo") }

// Checkpoint runs CHECKPOINT.
func (s *Server) Checkpoint(ctx context.Context) error { panic("todo") }

// ResumeReplay resumes a paused replay.
func (s *Server) ResumeReplay(ctx context.Context) error { panic("todo") }

// Promote promotes to exactly want.
func (s *Server) Promote(ctx context.Context, want wal.Timeline) (Promotion, error) { panic("todo") }

// Stop stops the server.
func (s *Server) Stop(ctx context.Context, mode StopMode, o StopOptions) (StopReport, error) {
	panic("todo")
}

// Restart stops fast and starts in the same role.
func (s *Server) Restart(ctx context.Context, timeout time.Duration, p Progress) error { panic("todo") }

// Reload makes the server read its files again.
func (s *Server) Reload(ctx context.Context) error { panic("todo") }

// MarkStandby puts standby.signal in place.
func (s *Server) MarkStandby() error { panic("todo") }

// Rewind repairs a diverged directory.
func (s *Server) Rewind(ctx context.Context, src Source, p Progress) error { panic("todo") }

// RewindDone removes the marker after consistency.
func (s *Server) RewindDone() error { panic("todo") }

// SyncSlots creates, advances and drops physical slots.
func (s *Server) SyncSlots(ctx context.Context, want []Slot) error { panic("todo") }

// ReplicationCheck tries to connect for replication.
func (s *Server) ReplicationCheck(ctx context.Context, src Source) error { panic("todo") }

func (s *Server) loadIdentities() {}
func (s *Server) adoptFiles()     {}
func (s *Server) process()        {}
func (s *Server) dropHeart()      {}
