package ha

import "github.com/matriarch-ha/matriarch/cluster"

// OpenWrite tells of a key that a leader writes by compare-and-set whether an earlier
// write of it may arrive yet: its answer was lost, or the agent that made it. What is
// read meanwhile is not what the key will say. The next write takes its place, since
// only one finds the version.
type OpenWrite struct {
	// Version is what the last write under Session demanded, or what was found when
	// that began to lead: the agent before may have left a write.
	Session string          `json:"session,omitempty"`
	Version cluster.Version `json:"version,omitempty"`
}

// may reports whether one may arrive at the key as it was read, which has the version.
// A key that is absent is only ever created as everybody would.
func (w *OpenWrite) may(session string, version cluster.Version) bool {
	if w.Session != session {
		*w = OpenWrite{session, version}
	}
	return version != "" && version == w.Version
}
