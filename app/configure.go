package app

import (
	"slices"

	"github.com/matriarch-ha/matriarch/agent"
	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/postgres"
)

// configurer returns how the agent understands a dynamic configuration: this
// member's file laid over it, for a role and the server's major version.
func configurer(f *config.File, major int) func(json, role string) (agent.Configured, error) {
	return func(json, role string) (agent.Configured, error) {
		d := config.DefaultDynamic()
		var warnings []config.Warning
		if json != "" {
			var err error
			if d, warnings, err = config.ParseDynamic(json); err != nil {
				return agent.Configured{}, err
			}
		}
		e := config.MakeEffective(f, d, role, major)
		c := agent.Configured{Settings: e.Settings, Postgres: serverConfig(e)}
		for _, w := range append(warnings, e.Warnings...) {
			if w.Harmless() {
				c.Notes = append(c.Notes, w.String())
			} else {
				c.Warnings = append(c.Warnings, w.String())
			}
		}
		return c, nil
	}
}

// serverConfig translates the effective configuration into the server's words.
func serverConfig(e config.Effective) postgres.Config {
	controlled := params(e.Controlled)
	c := postgres.Config{
		Controlled: controlled,
		HBA:        e.PgHBA, Ident: e.PgIdent, Recovery: params(e.RecoveryConf), CustomConf: e.CustomConf,
		UseSlots: e.Settings.UseSlots, StartTimeout: e.Postgres.PgCtlTimeout,
		BaseBackup: options(e.Postgres.BasebackupOptions), PgRewind: options(e.Postgres.RewindOptions),
	}
	for _, p := range params(e.Parameters) {
		if !slices.ContainsFunc(controlled, func(o postgres.Param) bool { return o.Name == p.Name }) {
			c.Parameters = append(c.Parameters, p)
		}
	}
	return c
}

func params(in []config.Param) []postgres.Param {
	var out []postgres.Param
	for _, p := range in {
		out = append(out, postgres.Param{Name: p.Name, Value: p.Value})
	}
	return out
}

func options(in []config.Option) []postgres.Option {
	var out []postgres.Option
	for _, o := range in {
		out = append(out, postgres.Option{Name: o.Name, Value: o.Value})
	}
	return out
}

func credentials(c config.Credentials) postgres.Credentials {
	return postgres.Credentials{
		Username: c.Username, Password: postgres.Secret(c.Password.Reveal()),
		SSLMode: c.Option("sslmode"), SSLCert: c.Option("sslcert"), SSLKey: c.Option("sslkey"),
		SSLPassword: postgres.Secret(c.SSLPassword.Reveal()),
		SSLRootCert: c.Option("sslrootcert"), SSLCRL: c.Option("sslcrl"), SSLCRLDir: c.Option("sslcrldir"),
		GSSEncMode: c.Option("gssencmode"), ChannelBinding: c.Option("channel_binding"), SSLNegotiation: c.Option("sslnegotiation"),
	}
}

func roles(f *config.File) postgres.Roles {
	p := f.Postgres
	return postgres.Roles{Superuser: credentials(p.Superuser), Replication: credentials(p.Replication), Rewind: credentials(p.Rewind)}
}

// serverOptions are the parts of the configuration that need a restart of the
// agent to change.
func serverOptions(f *config.File) postgres.Options {
	p := f.Postgres
	if f.Origin("postgresql.pgpass") == "default" {
		// The reference's ~/pgpass is not readable for the server's user when the
		// agent runs as root; the state directory always is.
		p.PgPass = ""
	}
	return postgres.Options{
		Name: f.Name, Scope: f.Scope,
		DataDir: p.DataDir, ConfigDir: p.ConfigDir, BinDir: p.BinDir, BinName: p.BinName,
		ListenHosts: p.ListenAddresses, Port: p.Port,
		Roles:  roles(f),
		PgPass: p.PgPass, Database: p.Database, UseUnixSocket: p.UseUnixSocket,
		ConfigBaseName: p.ConfigBaseName, KrbSrvName: p.KrbSrvName,
		StateDir: f.Matriarch.StateDir,
	}
}
