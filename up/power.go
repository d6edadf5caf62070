package up

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/internal/proc"
)

// cutPower kills every process of a member, as close to at once as this can be
// done: what the killed ones have started meanwhile is found in the next round.
// The member is held down, so none of them comes back.
func cutPower(ctx context.Context, m member) error {
	var agent pidRecord
	_ = readJSON(filepath.Join(m.dir, "agent.pid"), &agent) // none: no agent to kill
	children := proc.Descendants(agent)                     // a guard, and the programs that it runs
	for round := 0; ; round++ {
		var left []pidRecord
		for _, p := range append([]pidRecord{agent, storeProcess(m)}, append(children, proc.InServer(m.data())...)...) {
			if p.Alive() {
				left = append(left, p)
			}
		}
		if len(left) == 0 {
			return nil
		}
		if round > 100 {
			return fmt.Errorf("process %d does not end", left[0].PID)
		}
		for _, p := range left {
			if err := p.Send(unix.SIGKILL); err != nil && p.Alive() {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
