package etcdembed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"go.etcd.io/etcd/server/v3/storage/wal"
)

// ground is what this node's own files say about the store.
type ground struct {
	dir     held
	own     Identity // of what the directory holds
	marker  Identity // recorded beside it
	hasData bool
	pledge  founding // of aPledge and anAgreement
}

// survey reads the files.
func survey(c Config) (ground, error) {
	g := ground{hasData: c.HasData}
	var err error
	if g.marker, err = recorded(c); err != nil {
		return g, err
	}
	if logExists(c) {
		w, v, err := readVotes(c.walDir(), wal.OpenForRead)
		if err != nil {
			return g, damaged(c, fmt.Errorf("read its log: %w", err))
		}
		w.Close() // a log that was only read complains that it has nothing to close
		if v.begun || !exists(c.foundingPath()) {
			g.dir, g.own = aLog, v.store
			return g, forgetFounding(c)
		}
		// The server ended before it wrote anything: it begins again.
		if err := os.RemoveAll(c.memberDir()); err != nil {
			return g, err
		}
	}
	g.pledge, g.own, err = readFounding(c)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return g, nil
	case err != nil:
		return g, fmt.Errorf("the record of the store's founding: %w", err)
	case g.pledge.Agreed:
		g.dir = anAgreement
	default:
		g.dir = aPledge
	}
	return g, nil
}

// words is what partners are told.
func (g ground) words() (kind answerKind, id Identity, token string) {
	switch g.dir {
	case aLog:
		return holding, g.own, ""
	case anAgreement:
		return agreed, g.own, g.pledge.Token
	case aPledge:
		return pledged, g.own, g.pledge.Token
	}
	if g.marker != 0 || g.hasData {
		return bereft, g.marker, ""
	}
	return fresh, 0, ""
}

// carryOut records a step of the founding, durably, before anybody is told.
func (g ground) carryOut(c Config, p plan) (ground, error) {
	f, err := g.pledge, error(nil)
	switch p.step {
	case offer:
		f, err = newFounding(c, 1, false)
	case pledge:
		f = founding{Token: p.token, ID: p.id.text()}
		var id Identity
		if id, err = f.identity(c); err == nil && id != p.id {
			err = fmt.Errorf("the founding that was offered is said to be of store %s, but %s follows from its token", p.id, id)
		}
	case agree:
		f.Agreed = true
	}
	if err != nil {
		return g, err
	}
	if err := writeFounding(c, f); err != nil {
		return g, fmt.Errorf("record the store's founding: %w", err)
	}
	return survey(c)
}

// writeFounding makes the place where the log will be durable, too: the record
// must not outlive it.
func writeFounding(c Config, f founding) error {
	if err := os.MkdirAll(c.memberDir(), 0o700); err != nil {
		return err
	}
	return writeJSON(c.foundingPath(), f, true)
}

// forgetFounding removes the record once there is a log: if that is lost, this
// member has forgotten its votes and must not find the record.
func forgetFounding(c Config) error {
	if err := os.Remove(c.foundingPath()); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return syncDir(c.DataDir)
}

// reached is called between any two steps that change something durable. Tests
// replace it by one that ends the process there.
var reached = func(point string) {}
