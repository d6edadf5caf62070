package up

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/matriarch-ha/matriarch/dcs/etcdembed"
)

// storeConfig is a member's vote. It must be the same as what the member's
// agent makes of its file, in the same order, or the agent would take the
// running store for one with other settings.
func (p plan) storeConfig(m member) etcdembed.Config {
	c := etcdembed.Config{
		Name: m.name, Scope: p.Scope,
		ListenPeer: at(m.peer), ListenClient: at(m.client),
		DataDir: filepath.Join(m.state(), "store"), StateDir: m.state(),
		TLS: tlsFiles(p.dir), Keeper: etcdembed.KeptOutside,
	}
	for _, v := range p.members {
		c.Members = append(c.Members, etcdembed.Member{Name: v.name, Peer: at(v.peer), Client: at(v.client)})
	}
	slices.SortFunc(c.Members, func(a, b etcdembed.Member) int { return strings.Compare(a.Peer, b.Peer) })
	return c
}

// newStore makes the supervision of a member's vote; changed is told when its
// state changes.
func (p plan) newStore(m member, program string, changed func()) (*etcdembed.Supervisor, error) {
	return etcdembed.NewSupervisor(p.storeConfig(m), etcdembed.Options{
		Command: []string{program, "store"},
		HasData: func() bool { return hasData(m.data()) },
		Changed: func(etcdembed.State) { changed() },
		Held:    func() bool { return heldDown(m, true) != "" },
	})
}

// hasData: a database exists here, so a store must have existed too.
func hasData(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "PG_VERSION"))
	return err == nil
}

// storeRuns reports whether the process of a member's vote runs.
func storeRuns(m member) bool { return storeProcess(m).Alive() }

func storeProcess(m member) pidRecord {
	var s etcdembed.State
	if err := readJSON(m.runFile(), &s); err != nil {
		return pidRecord{}
	}
	return pidRecord{PID: s.PID, StartTime: s.StartTime, BootID: s.BootID}
}

// stopLeftStore stops a vote that an agent started while there was no `up`, and
// whose agent is gone: the supervision leaves it to its agent.
func stopLeftStore(ctx context.Context, m member) error {
	p, err := findRecord(storeProcess(m))
	if p == nil || err != nil {
		return err
	}
	return p.stop(ctx)
}
