package up

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs/etcdembed"
)

// TestFilesAreRead: what is written is read back without a warning, whatever
// the directory is called, and names the same store as the one that is started.
func TestFilesAreRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), `it's "a" place: #1 \ {x}`)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	// 9999 and 10001 sort differently as numbers and as text.
	p := newPlan(dir, record{Scope: "demo", Members: 2, BasePort: 9990, Synchronous: true, PgBin: "/opt/pg"})
	s := secrets{Superuser: "top", Replication: "repl", REST: "rest"}
	if err := p.writeFiles(owner{uid: os.Geteuid(), gid: os.Getegid()}, s); err != nil {
		t.Fatal(err)
	}
	private(t, p.passFile())
	for _, m := range p.members {
		f := read(t, m.file())
		if m.witness {
			if err := f.Check(config.ForWitness); err != nil {
				t.Error(err)
			}
		} else {
			checkMember(t, f, m, s)
		}
		checkStore(t, p.storeConfig(m), f)
	}
	e := read(t, p.entryFile())
	if e.Proxy == nil || e.Proxy.Listen != "127.0.0.1:9990" || e.Proxy.ListenReplicas != "127.0.0.1:9991" || e.Proxy.Stats != "127.0.0.1:10002" {
		t.Errorf("entrypoint: %+v", e.Proxy)
	}
	if err := e.Check(config.ForClient); err != nil {
		t.Error(err)
	}
}

func read(t *testing.T, path string) *config.File {
	t.Helper()
	private(t, path)
	f, warnings, err := config.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		t.Errorf("%s: %s", filepath.Base(path), w)
	}
	return f
}

func checkMember(t *testing.T, f *config.File, m member, s secrets) {
	t.Helper()
	if err := f.Check(config.ForAgent); err != nil {
		t.Error(err)
	}
	if f.Name != m.name || f.Postgres.DataDir != m.data() || f.Matriarch.StateDir != m.state() ||
		f.Postgres.Port != m.pg || f.RestAPI.Listen != at(m.rest) || f.Postgres.Superuser.Password.Reveal() != s.Superuser ||
		f.RestAPI.Password.Reveal() != s.REST || f.Postgres.BinDir != "/opt/pg" {
		t.Errorf("%s: %+v", m.name, f)
	}
	d, warnings, err := config.ParseDynamic(f.BootstrapDCS())
	if err != nil || len(warnings) > 0 {
		t.Errorf("dynamic configuration: %v %v", warnings, err)
	}
	if !d.Settings.UsePgRewind || d.Settings.SyncMode == "off" {
		t.Errorf("settings: %+v", d.Settings)
	}
}

// checkStore: the agent must find the running store to be its own.
func checkStore(t *testing.T, c etcdembed.Config, f *config.File) {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	e := f.Store.Embedded
	if c.Name != e.Self().Name || c.ListenPeer != e.ListenPeer || c.ListenClient != e.ListenClient || c.DataDir != e.DataDir ||
		c.StateDir != f.Matriarch.StateDir || c.TLS != (etcdembed.TLS{CA: e.CA, Cert: e.Cert, Key: e.Key}) {
		t.Errorf("the store %+v differs from the file's %+v", c, e)
	}
	for i, p := range e.Members() {
		if c.Members[i] != (etcdembed.Member{Name: p.Name, Peer: p.Peer, Client: p.Client}) {
			t.Errorf("member %d is %+v here and %+v in the file", i, c.Members[i], p)
		}
	}
}
