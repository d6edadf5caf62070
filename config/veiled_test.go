package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecretsWithinValues: what is shown of a configuration hides also the
// secrets that are only a part of a value.
func TestSecretsWithinValues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.yml")
	text := `
scope: demo
name: n1
restapi: {listen: 127.0.0.1:8008, connect_address: 127.0.0.1:8008}
etcd3:
  hosts: [127.0.0.1:2379]
  proxy: http://me:hidden-one@proxy:3128
postgresql:
  listen: 127.0.0.1:5432
  connect_address: 127.0.0.1:5432
  data_dir: /nowhere
  parameters: {archive_command: 'curl -u x https://me:hidden-two@host/%f'}
  pg_hba:
  - host all all all ldap ldapserver=l ldapbinddn="cn=a" ldapbindpasswd="hidden three" ldapbasedn=x
  - host all all all radius radiusservers=r radiussecrets=hidden-four
  authentication: {superuser: {username: a}, replication: {username: b}}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, _, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := f.Raw.YAML(false) + f.Raw.JSON(false)
	for _, l := range f.Raw.Leaves() {
		all += l.Value
	}
	for _, s := range Explain(f, DefaultDynamic(), true, "replica") {
		all += s.Value + "\n"
	}
	if strings.Contains(all, "hidden") || !strings.Contains(all, "ldapbasedn=x") {
		t.Errorf("shown:\n%s", all)
	}
	if f.Postgres.PgHBA[1] != "host all all all radius radiusservers=r radiussecrets=hidden-four" {
		t.Errorf("used: %q", f.Postgres.PgHBA)
	}
}
