package lab

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
)

// NewClassic makes the hosts of the classic lab for member files that must work
// as they are: pg-master, pg-slave and zookeeper, and one for the entrypoint.
// The files' absolute paths (/var/lib/postgresql, /tmp) are each host's own:
// every agent runs where its host's directories lie over them, so nothing
// outside the lab's directory is touched.
func NewClassic(t testing.TB, files ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t, Net: NewNetwork(t), Opt: Options{Store: ZooKeeper}, super: "postgres"}
	names := []string{"pg-master", "pg-slave"}
	for i, file := range files {
		m := &Member{Host: c.Net.Host(names[i]), c: c, Index: i}
		m.classic(file)
		c.Members = append(c.Members, m)
	}
	c.Entry = c.Net.Host("entry")
	c.store = c.Net.Host("zookeeper")
	c.Net.NameHosts(nil)
	c.startStore()
	copyFile(t, files[0], filepath.Join(c.Entry.Dir(), "entry.yml"), 0o600)
	return c
}

func (m *Member) classic(file string) {
	t := m.c.t
	t.Helper()
	m.as = fmt.Sprintf("postgresql%d", m.Index)
	m.data = filepath.Join(m.Dir(), "varlib", "data", m.as)
	tmp := filepath.Join(m.Dir(), "tmp")
	pg, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(pg.Uid)
	gid, _ := strconv.Atoi(pg.Gid)
	for _, dir := range []string{tmp, filepath.Join(m.Dir(), "varlib"), filepath.Join(m.Dir(), "varlib", "data")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(file)
	copyFile(t, file, filepath.Join(tmp, name), 0o600)
	copyFile(t, Binary(t), filepath.Join(tmp, "matriarch"), 0o755)
	m.argv = []string{"sh", "-ec", fmt.Sprintf("mount --bind %s/varlib /var/lib/postgresql; mount --bind %s/tmp /tmp; cd /; exec /tmp/matriarch /tmp/%s",
		m.Dir(), m.Dir(), name)}
}

func copyFile(t testing.TB, from, to string, mode os.FileMode) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// RunsPatroni makes the member's agent Debian's Patroni, unpacked in a directory.
// It runs as the server's user, with a copy of the member's file.
func (m *Member) RunsPatroni(unpacked string) {
	t := m.c.t
	t.Helper()
	pg, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(pg.Uid)
	gid, _ := strconv.Atoi(pg.Gid)
	file := filepath.Join(m.Dir(), "pg", "patroni.yml")
	copyFile(t, m.File(), file, 0o600)
	if err := os.Chown(file, uid, gid); err != nil {
		t.Fatal(err)
	}
	bin := binDir(t)
	m.argv = []string{"setpriv", "--reuid", pg.Uid, "--regid", pg.Gid, "--clear-groups", "env", "HOME=" + filepath.Join(m.Dir(), "pg"), "LC_ALL=C.UTF-8",
		"PYTHONPATH=" + unpacked + "/usr/lib/python3/dist-packages", "PATH=" + bin + ":/usr/bin:/bin", "/usr/bin/python3", unpacked + "/usr/bin/patroni", file}
}

// binDir is where the programs of the newest server are.
func binDir(t testing.TB) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		t.Skip("no /usr/lib/postgresql/*/bin here")
	}
	return found[len(found)-1]
}
