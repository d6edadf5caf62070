package postmaster

import (
	"fmt"
	"os/exec"
)

// Launch starts a prepared server program and watches it. The command must
// have its own session, so that the server survives the agent.
func Launch(cmd *exec.Cmd) (*Process, error) {
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return launched(cmd), nil
}
