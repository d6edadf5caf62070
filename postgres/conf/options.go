package conf

import (
	"fmt"
	"strings"
)

// Option is one long option of a PostgreSQL program, without the dashes. An
// empty Value means a flag.
type Option struct {
	Name  string
	Value string
}

// Args turns options into arguments. Options of the forbidden list are refused
// by name: they would undo what the caller relies on. A few are never options
// at all and are refused too (empty names, dashes).
func Args(program string, opts []Option, forbidden []string) ([]string, error) {
	var out []string
	for _, o := range opts {
		name := strings.TrimLeft(o.Name, "-")
		if name == "" || strings.ContainsAny(name, " =\t\n") {
			return nil, fmt.Errorf("%s: %q is no option name", program, o.Name)
		}
		if contains(forbidden, name) {
			return nil, fmt.Errorf("%s: option %q is not allowed here, remove it from the configuration", program, name)
		}
		if o.Value == "" {
			out = append(out, "--"+name)
		} else {
			out = append(out, "--"+name+"="+o.Value)
		}
	}
	return out, nil
}

// The options that the manager itself sets or depends on.
var (
	ForbiddenInitDB     = []string{"pgdata", "nosync", "no-sync", "pwfile", "sync-only", "version", "username", "help"}
	ForbiddenBaseBackup = []string{"pgdata", "format", "wal-method", "xlog-method", "gzip", "version", "dbname", "host", "port",
		"username", "password", "no-password", "progress", "help", "target", "write-recovery-conf"}
	ForbiddenRewind = []string{"target-pgdata", "source-pgdata", "source-server", "write-recovery-conf", "dry-run",
		"restore-target-wal", "config-file", "no-ensure-shutdown", "version", "help"}
)
