package config

import (
	"os"
	"path/filepath"
	"testing"
)

// read loads a text as a file.
func read(t *testing.T, text string) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "member.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, _, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestReload(t *testing.T) {
	const base = "name: n1\nscope: s\nembedded: {}\npostgresql: {data_dir: /d}\n"
	for _, c := range []struct {
		name, old, next, changed, kept string
	}{
		{"nothing", base, "# a comment\n" + base, "", ""},
		{"tags", base, base + "tags: {nosync: true, zone: a}\n", "tags", ""},
		{"one tag", base + "tags: {nosync: true, zone: a}\n", base + "tags: {zone: b, nosync: true}\n", "tags.zone", ""},
		{"name and store", base, "name: n2\nscope: s\netcd3: {hosts: 'a:1'}\npostgresql: {data_dir: /d}\n", "", "name, etcd3, embedded"},
		{"places", base, base + "proxy: {listen: '0.0.0.0:6000'}\nmatriarch: {state_dir: /x, turn_interval: 3}\n", "matriarch.turn_interval", "proxy, matriarch.state_dir"},
		{"removed again", base + "proxy: {listen: '0.0.0.0:6000'}\n", base, "", "proxy"},
		{"proxy's port", base + "proxy: {listen: '0.0.0.0:6000', hold_limit: 3}\n", base + "proxy: {listen: '0.0.0.0:6001', hold_limit: 3}\n", "", "proxy.listen"},
		{"server", "name: n1\nscope: s\nembedded: {}\npostgresql: {data_dir: /d, listen: 'a:1', parameters: {work_mem: 4MB, a.b: 1}, pg_hba: [local all all peer]}\n",
			"name: n1\nscope: s\nembedded: {}\npostgresql: {data_dir: /e, listen: 'a:2', parameters: {work_mem: 8MB}, pg_hba: [local all all trust]}\n",
			"postgresql.parameters.work_mem, postgresql.parameters.a.b, postgresql.pg_hba", "postgresql.listen, postgresql.data_dir"},
		{"bootstrap", base, base + "bootstrap: {dcs: {ttl: 40}}\n", "bootstrap.dcs.ttl", ""},
		{"password", base + "restapi: {authentication: {username: u, password: a}}\n", base + "restapi: {authentication: {username: u, password: b}}\n", "restapi.authentication.password", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := read(t, c.old)
			r, err := Reload(old, read(t, c.next))
			if err != nil {
				t.Fatal(err)
			}
			if Paths(r.Changed) != c.changed || Paths(r.Kept) != c.kept {
				t.Errorf("changed %q, want %q; kept %q, want %q", Paths(r.Changed), c.changed, Paths(r.Kept), c.kept)
			}
			if r.Same() != (c.changed == "" && c.kept == "") {
				t.Error("Same is wrong")
			}
			// What needs a restart is as it was; asking again says the same.
			for _, k := range r.Kept {
				if !equal(old.Raw.root.get(k.Path), r.File.Raw.root.get(k.Path)) {
					t.Errorf("%s was not kept: %s", k.Path, r.File.Raw)
				}
			}
			again, err := Reload(r.File, read(t, c.next))
			if err != nil || len(again.Changed) != 0 || Paths(again.Kept) != c.kept {
				t.Errorf("the second time: %+v, %v", again, err)
			}
			if r.File.Name != old.Name || r.File.Store.Kind != old.Store.Kind || r.File.Postgres.DataDir != old.Postgres.DataDir ||
				(r.File.Proxy == nil) != (old.Proxy == nil) {
				t.Errorf("what must stay changed: %+v", r.File)
			}
		})
	}
}

// What is kept is kept together: the old places do not meet the new ones.
func TestReloadKeepsWhatBelongsTogether(t *testing.T) {
	old := read(t, "name: n1\nscope: s\nembedded: {data_dir: /x/store}\npostgresql: {data_dir: /d}\nmatriarch: {state_dir: /s, turn_interval: 2}\n")
	next := read(t, "name: n1\nscope: s\nembedded: {data_dir: /d/store}\npostgresql: {data_dir: /e}\n")
	r, err := Reload(old, next)
	if err != nil {
		t.Fatal(err)
	}
	if r.File.Store.Embedded.DataDir != "/x/store" || r.File.Matriarch.StateDir != "/s" || r.File.Matriarch.TurnInterval != 0 {
		t.Errorf("%+v", r.File)
	}
}
