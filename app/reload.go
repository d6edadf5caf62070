package app

import (
	"context"
	"errors"
	"time"

	"github.com/matriarch-ha/matriarch/agent"
	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/postgres"
)

// hearHangups reloads at every SIGHUP until ctx ends.
func (m *member) hearHangups(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.program.Hangups:
			m.log.Info("SIGHUP: reading the configuration again")
			_ = m.Reload() // an error was logged
		}
	}
}

// Reload reads the configuration again and puts into force what may change while
// the agent runs. What is wrong with it is found before anything is changed:
// then the error names it and all stays as it was.
//
// Certificates are read again although the file that names them is the same, and
// the server's files are written and read again whatever changed.
func (m *member) Reload() error {
	m.reload.Lock()
	defer m.reload.Unlock()
	r, err := m.reread()
	if err == nil {
		err = m.change(r.File)
	}
	if err != nil {
		m.log.Error("the configuration cannot be used; nothing was changed", "error", err)
		return err
	}
	for _, k := range r.Kept {
		m.log.Warn("changed, but needs a restart of the agent; the old value stays", "setting", k.Path, "place", k.Place)
	}
	if r.Same() {
		m.log.Info("no setting was changed; certificates and the server's files are read again")
	} else if len(r.Changed) > 0 {
		m.log.Info("the changed configuration is in force", "settings", config.Paths(r.Changed))
	}
	return nil
}

// reread compares the configuration as it is now with the one in force.
func (m *member) reread() (config.Reloaded, error) {
	next, warnings, err := m.program.Read()
	if err != nil {
		return config.Reloaded{}, err
	}
	if err := next.Check(config.ForAgent); err != nil {
		return config.Reloaded{}, err
	}
	r, err := config.Reload(m.source.file.Load(), next)
	if err == nil && !r.Same() {
		for _, w := range warnings {
			m.log.Warn(w.String())
		}
	}
	return r, err
}

// change puts a configuration into force: first all that can fail, then the
// rest.
func (m *member) change(f *config.File) error {
	transport, err := peerTransport(f)
	if err != nil {
		return err
	}
	old := m.source.file.Load()
	if err := m.rest.change(accessPolicy(f), f.RestAPI.Listen); err != nil {
		return err
	}
	// Before the agent's turn that has the server use them.
	m.server.SetRoles(roles(f))
	if err := m.agent.Reconfigure(m.reloadable(f)); err != nil {
		m.server.SetRoles(roles(old))
		return errors.Join(err, m.rest.change(accessPolicy(old), old.RestAPI.Listen))
	}
	m.transport.replace(transport)
	m.logs.Reconfigure(f.Log)
	m.watch.configure(f)
	m.source.file.Store(f)
	m.agent.Wake()
	return nil
}

// reloadable is what the agent lets change while it runs.
func (m *member) reloadable(f *config.File) agent.Reloadable {
	r := agent.Reloadable{
		Tags: f.Tags, ConnURL: connURL(f), APIURL: apiURL(f),
		CanBootstrap: m.canBootstrap(f), InitialConfig: m.initialConfig(f),
		Configure: configurer(f, m.major), MaxIdle: f.Matriarch.TurnInterval, KeepReplaced: keepReplaced(f),
		PeerUser: f.Ctl.Username, PeerPassword: f.Ctl.Password.Reveal(),
	}
	if b := f.Bootstrap; b != nil {
		r.Bootstrap = postgres.BootstrapOptions{InitDB: options(b.InitDB), HBA: b.PgHBA, PostInit: b.PostInit}
	}
	return r
}

// keepReplaced is for how long a copy must serve before what it replaced goes.
func keepReplaced(f *config.File) time.Duration {
	if f.Matriarch.KeepReplaced {
		return agent.ReplacedProof
	}
	return 0
}

// initialConfig is the dynamic configuration to begin with when the store has
// none: the last one seen, which is kept beside the data, else the file's.
func (m *member) initialConfig(f *config.File) string {
	kept, err := m.server.KeptDynamic()
	if err == nil && kept != "" {
		if _, _, err = config.ParseDynamic(kept); err == nil {
			return kept
		}
	}
	if err != nil {
		m.log.Warn("the copy of the dynamic configuration beside the data cannot be used", "error", err)
	}
	return f.BootstrapDCS()
}
