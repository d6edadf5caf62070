package agent

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/journal"
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
	// stale: the member's own configuration changed since.
	stale bool
	// remembered is the document that was kept last.
	remembered string
	// refused is what was said last about rules that the server refuses.
	refused string
}

// Reconfigure replaces what may change while the agent runs, from the next turn
// on. An error says that the configuration in force cannot be understood in the
// new way: then nothing changes.
func (a *Agent) Reconfigure(r Reloadable) error {
	json := a.Snapshot().ConfigJSON
	for _, role := range []string{"primary", "replica"} {
		if _, err := r.Configure(json, role); err != nil {
			return err
		}
	}
	a.mu.Lock()
	a.next = &r
	a.mu.Unlock()
	a.Wake()
	return nil
}

// takeNext puts what Reconfigure left into force.
func (a *Agent) takeNext() {
	a.mu.Lock()
	next := a.next
	a.next = nil
	a.mu.Unlock()
	if next == nil {
		return
	}
	if next.APIURL != a.opt.APIURL {
		// What is stored has the old address: it is not another's.
		a.published = publishedState{}
	}
	a.opt.Reloadable, a.config.stale = *next, true
}

// applyDynamic brings the configuration up to date before a turn: when the
// document in the store changed, or the role did. A document that cannot be
// understood changes nothing; an absent one (a wiped key) neither.
func (a *Agent) applyDynamic(ctx context.Context) {
	a.takeNext()
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
	if !c.stale && (c.applied && json == c.json && role == c.role || json == c.rejected && role == c.role) {
		if c.unapplied {
			a.reloadServer(ctx)
		}
		a.remember()
		return
	}
	c.stale = false
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
	a.once(slog.LevelWarn, conf.Warnings)
	a.once(slog.LevelInfo, conf.Notes)
	c.applied, c.json, c.role = true, json, role
	c.settings, c.postgres = conf.Settings, conf.Postgres
	a.opt.Postgres.SetConfig(conf.Postgres)
	a.guards.pause(ctx, conf.Settings.Paused)
	// Also at the first time: a server that ran before this agent did has the
	// configuration of another time.
	a.reloadServer(ctx)
}

// once tells what was not told before.
func (a *Agent) once(level slog.Level, lines []string) {
	for _, l := range lines {
		if !a.warned[l] {
			a.warned[l] = true
			a.log.Log(context.Background(), level, l)
		}
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
	_, err := a.opt.Postgres.ApplyConfig(ctx)
	var refused *postgres.RefusedRules
	if err != nil && !errors.As(err, &refused) {
		a.broken("configuration", "the server could not be told its new configuration; trying again", err)
		return
	}
	a.works("configuration", "the server was told its new configuration")
	c.unapplied = false
	a.tellRefused(err)
}

// tellRefused reports rules that the server refuses: once, until they change.
func (a *Agent) tellRefused(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == a.config.refused {
		return
	}
	if a.config.refused = text; text == "" {
		return
	}
	a.log.Error("the server refuses its new access rules", "error", text)
	if a.opt.Journal != nil {
		a.opt.Journal.Append(journal.OfEvent(a.opt.Clock.Wall(), a.opt.Name, "rules-refused", text))
	}
}

// remember keeps the configuration in force beside the data.
func (a *Agent) remember() {
	c := &a.config
	if a.opt.Remember == nil || c.json == c.remembered || a.facts.last.Dir != postgres.DirPresent || a.task.current().Kind != "" {
		return
	}
	c.remembered = c.json
	if err := a.opt.Remember(c.json); err != nil {
		a.log.Warn("the dynamic configuration could not be kept beside the data", "error", err)
	}
}

// Settings returns the settings in force, for the lease keeper's providers.
func (a *Agent) Settings() cluster.Settings {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.snap.Observation.Settings
}
