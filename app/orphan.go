package app

import (
	"context"
	"fmt"
	"time"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/guard"
	"github.com/matriarch-ha/matriarch/postgres"
)

// orphanLook bounds the look at a server that may have lost its guard.
const orphanLook = 3 * time.Second

// fenceOrphan is called when the store did not answer an agent that starts. Where
// guard and agent died together, their primary still runs, and nothing stops it at
// the end of a lease that may be over by now. Outside a pause such a server would be
// killed as soon as the store answers; it is not left to write until then. The pause
// is the one of the configuration kept beside the data, which the agent before had
// seen last. Without one nothing is known, and the server is left alone.
func (m *member) fenceOrphan(ctx context.Context) error {
	if m.inherited != nil || m.orphanSeen {
		return nil // it has a guard, whose deadline holds; or it was looked at
	}
	look, cancel := context.WithTimeout(ctx, orphanLook)
	f := m.server.Observe(look)
	cancel()
	if f.Dir != postgres.DirPresent || f.Process == postgres.ProcStopped || f.Role == postgres.RoleStandby {
		return nil
	}
	m.orphanSeen = true
	switch paused, known := m.keptPause(); {
	case !known:
		m.log.Warn("a primary runs here without a guard, the store does not answer, and it is not known whether the cluster is paused: the server is left as it is until the store answers",
			"postmaster", f.PID)
		return nil
	case paused:
		m.log.Info("a primary runs here without a guard, as the cluster was paused when it was seen last; the server is left as it is until the store answers", "postmaster", f.PID)
		return nil
	}
	m.log.Warn("a primary runs here without a guard, and without the store no lease for it can be proven: killing it", "postmaster", f.PID)
	kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWait)
	defer cancel()
	if _, err := guard.Kill(kill, m.file.Postgres.DataDir, m.clock); err != nil {
		m.orphanSeen = false
		return fmt.Errorf("kill the primary that runs without a guard: %w", err)
	}
	if err := m.server.MarkStandby(); err != nil {
		m.log.Warn("the next start of the server might not be a standby's", "error", err)
	}
	return nil
}

// keptPause says whether the cluster was paused when it was seen last.
func (m *member) keptPause() (paused, known bool) {
	json, err := m.server.KeptDynamic()
	if err != nil || json == "" {
		return false, false
	}
	if _, _, err := config.ParseDynamic(json); err != nil {
		return false, false
	}
	c, err := configurer(m.file, m.major)(json, "replica")
	return c.Settings.Paused, err == nil
}
