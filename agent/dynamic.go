package agent

import (
	"context"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/postgres"
)

// configState is the dynamic configuration in force.
type configState struct {
	applied  bool
	json     string
	role     string
	settings cluster.Settings
	postgres postgres.Config
	// rejected is a document that could not be understood; it is reported once.
	rejected string
	// unapplied: the server has not been told yet, because it was busy.
	unapplied bool
}

// applyDynamic brings the configuration up to date before a turn: when the
// document in the store changed, or the role did. A document that cannot be
// understood changes nothing; an absent one (a wiped key) neither.
func (a *Agent) applyDynamic(ctx context.Context) {
	c := &a.config
	view := a.viewer.current("").View
	json := c.json
	if view.Config.Present && view.Config.JSON != "" {
		json = view.Config.JSON
	} else if json == "" {
		json = a.opt.InitialConfig
	}
	role := "replica"
	if a.facts.last.Role == postgres.RolePrimary && a.facts.last.Process == postgres.ProcRunning {
		role = "primary"
	}
	if c.applied {
		a.guards.pause(ctx, c.settings.Paused)
	}
	if c.applied && json == c.json && role == c.role || json == c.rejected && role == c.role {
		if c.unapplied {
			a.reloadServer(ctx)
		}
		return
	}
	conf, err := a.opt.Configure(json, role)
	if err != nil {
		if json != c.rejected {
			a.log.Error("the dynamic configuration cannot be used; the former one stays in force", "error", err)
		}
		c.rejected = json
		// The former one, which says something else for another role; before there
		// was any, the built-in defaults.
		if json = c.json; json == "" {
			json = "{}"
		}
		if conf, err = a.opt.Configure(json, role); err != nil {
			return
		}
	} else {
		c.rejected = ""
	}
	for _, w := range conf.Warnings {
		if !a.warned[w] {
			a.warned[w] = true
			a.log.Warn(w)
		}
	}
	first := !c.applied
	c.applied, c.json, c.role = true, json, role
	c.settings, c.postgres = conf.Settings, conf.Postgres
	a.opt.Postgres.SetConfig(conf.Postgres)
	a.guards.pause(ctx, conf.Settings.Paused)
	if !first || a.facts.last.Process == postgres.ProcRunning {
		a.reloadServer(ctx)
	}
}

// reloadServer lets a running server use the configuration. It waits while a
// long action owns the server: that one writes the files itself.
func (a *Agent) reloadServer(ctx context.Context) {
	c := &a.config
	c.unapplied = true
	if a.task.current().Kind != "" || a.facts.last.Process != postgres.ProcRunning {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := a.opt.Postgres.ApplyConfig(ctx); err != nil {
		a.broken("configuration", "the server could not be told its new configuration; trying again", err)
		return
	}
	a.works("configuration", "the server was told its new configuration")
	c.unapplied = false
}

// Settings returns the settings in force, for the lease keeper's providers.
func (a *Agent) Settings() cluster.Settings {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.snap.Observation.Settings
}
