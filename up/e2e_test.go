package up

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/internal/proc"
)

// testBase finds a free range of ports for a cluster, below the system's own.
func testBase(t *testing.T, members int) int {
	t.Helper()
	for range 100 {
		base := 16000 + rand.IntN(16000)
		free := true
		for i := 0; free && i < portCount(members); i++ {
			free = taken(base+i) == nil
		}
		if free {
			return base
		}
	}
	t.Fatal("no free range of ports")
	return 0
}

// lab is one cluster's directory with the program, usable by another user.
type lab struct {
	t    *testing.T
	dir  string // the cluster's
	prog string
	as   *syscall.Credential // nil: as we are
	home string
}

func newLab(t *testing.T, binary string, as *syscall.Credential) *lab {
	t.Helper()
	top, err := os.MkdirTemp("", "matriarch-up-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, prog: filepath.Join(top, "matriarch"), as: as, home: filepath.Join(top, "a home")}
	l.dir = filepath.Join(l.home, "demo")
	if err := os.Mkdir(l.home, 0o755); err != nil {
		t.Fatal(err)
	}
	if as != nil {
		os.Chown(l.home, int(as.Uid), int(as.Gid))
	}
	if err := os.Link(binary, l.prog); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.killAll)
	return l
}

// killAll ends what a failed test leaves behind: every process that names the
// directory.
func (l *lab) killAll() {
	for _, pid := range l.processes() {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// processes are those with the directory in their command line or as their
// working directory.
func (l *lab) processes() []int {
	var pids []int
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, e := range entries {
		cmd, _ := os.ReadFile(e + "/cmdline")
		cwd, _ := os.Readlink(e + "/cwd")
		pid := 0
		for _, c := range filepath.Base(e) {
			pid = 10*pid + int(c-'0')
		}
		if r, err := proc.Of(pid); err != nil || r.PID == os.Getpid() {
			continue
		}
		if strings.Contains(string(cmd), l.dir) || strings.HasPrefix(cwd, l.dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (l *lab) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.home, "PATRONI_NAME=must-not-matter"}
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: l.as}
	return c
}

// running is one `up` and what it said until it was complete.
type running struct {
	*lab
	cmd    *exec.Cmd
	said   strings.Builder
	rest   chan string // what it said afterwards
	rw, ro string
	took   time.Duration
}

var uris = regexp.MustCompile(`psql "([^"]+)"`)

// up starts the cluster and returns when it says that it is complete.
func (l *lab) up(args ...string) *running {
	l.t.Helper()
	r := &running{lab: l, cmd: l.command(l.prog, append([]string{"up", "--dir", l.dir}, args...)...), rest: make(chan string, 1)}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	r.cmd.Stderr = r.cmd.Stdout
	begun := time.Now()
	if err := r.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	stuck := time.AfterFunc(2*time.Minute, func() { r.cmd.Process.Kill() })
	defer stuck.Stop()
	for lines.Scan() {
		r.said.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "Ctrl-C stops") {
			break
		}
	}
	r.took = time.Since(begun)
	found := uris.FindAllStringSubmatch(r.said.String(), -1)
	if len(found) != 2 {
		r.cmd.Wait()
		l.t.Fatalf("up did not become complete:\n%s", r.said.String())
	}
	r.rw, r.ro = found[0][1], found[1][1]
	l.t.Logf("complete after %s", r.took.Round(10*time.Millisecond))
	go func() {
		var b strings.Builder
		for lines.Scan() {
			b.WriteString(lines.Text() + "\n")
		}
		r.rest <- b.String()
	}()
	return r
}

// psql runs one statement as printed, without a prompt.
func (r *running) psql(uri, sql string) string {
	r.t.Helper()
	c := r.command("psql", "-w", "-X", "-At", "-v", "ON_ERROR_STOP=1", uri, "-c", sql)
	out, err := c.CombinedOutput()
	if err != nil {
		r.t.Fatalf("psql %q: %v\n%s", sql, err, out)
	}
	return strings.TrimSpace(string(out))
}

// interrupt is Ctrl-C; everything must be gone afterwards.
func (r *running) interrupt() {
	r.t.Helper()
	r.cmd.Process.Signal(syscall.SIGINT)
	said := <-r.rest
	if err := r.cmd.Wait(); err != nil {
		r.t.Fatalf("the stop: %v\n%s", err, said)
	}
	order := regexp.MustCompile(`(?s)stopped the entrypoint.*stopped the primary.*stopped the store.*brings the cluster back`)
	if !order.MatchString(said) {
		r.t.Errorf("the stop was not in order:\n%s", said)
	}
	if left := r.processes(); len(left) > 0 {
		r.t.Errorf("processes %v live on:\n%s", left, said)
	}
}

func (r *running) kill() {
	r.t.Helper()
	r.cmd.Process.Kill()
	<-r.rest
	r.cmd.Wait()
}

// buildProgram builds the program for the length of a test.
func buildProgram(t *testing.T) string {
	t.Helper()
	top, err := os.MkdirTemp("", "matriarch-up-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	binary := filepath.Join(top, "matriarch")
	build := exec.Command("go", "build", "-o", binary, "github.com/matriarch-ha/matriarch/cmd/matriarch")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// TestCluster builds the program and runs whole clusters with it.
func TestCluster(t *testing.T) {
	binary := buildProgram(t)
	t.Run("three members, killed, taken over, stopped, back", func(t *testing.T) { threeMembers(t, binary) })
	t.Run("two members and a witness of an ordinary user", func(t *testing.T) { twoAndWitness(t, binary) })
}

// threeMembers is the story of a cluster: made, written to, taken over after
// `up` was killed, stopped, and back with its data. As root, the servers run as
// another user.
func threeMembers(t *testing.T, binary string) {
	l := newLab(t, binary, nil)
	base := testBase(t, 3)
	r := l.up("--base-port", strconv.Itoa(base))
	if strings.Contains(r.said.String(), "assword") {
		t.Errorf("a password was spoken of:\n%s", r.said.String())
	}
	if got := r.psql(r.rw, "create table kept (n int); insert into kept values (1) returning n"); !strings.Contains(got, "1") {
		t.Errorf("write: %q", got)
	}
	r.checkFiles()
	r.statistics()
	if out, err := l.command(l.prog, "up", "--dir", l.dir).CombinedOutput(); err == nil || !strings.Contains(string(out), "another `matriarch up`") {
		t.Errorf("a second up on the directory: %v\n%s", err, out)
	}

	r.kill()
	if got := r.psql(r.rw, "insert into kept values (2) returning n"); !strings.Contains(got, "2") {
		t.Errorf("a write after up was killed: %q", got)
	}
	r = l.up()
	if n := strings.Count(r.said.String(), "taken over"); n != 4 {
		t.Errorf("%d processes were taken over, want 4:\n%s", n, r.said.String())
	}
	if r.psql(r.ro, "select count(*) from kept") != "2" {
		t.Error("rows are missing at the read-only port")
	}
	r.interrupt()

	r = l.up()
	if got := r.psql(r.rw, "select count(*) from kept"); got != "2" {
		t.Errorf("%s rows after the restart, want 2", got)
	}
	r.interrupt()
}

// checkFiles: no file with a secret can be read by others.
func (r *running) checkFiles() {
	r.t.Helper()
	for _, pattern := range []string{"secrets.json", "pgpass", "store.key", "n*/n*.yml", "*/*.log", "*/*.pid"} {
		files, _ := filepath.Glob(filepath.Join(r.dir, pattern))
		if len(files) == 0 {
			r.t.Errorf("no file %s", pattern)
		}
		for _, f := range files {
			private(r.t, f)
		}
	}
}

// twoAndWitness needs no privilege.
func twoAndWitness(t *testing.T, binary string) {
	var as *syscall.Credential
	if os.Geteuid() == 0 {
		as = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	l := newLab(t, binary, as)
	r := l.up("--base-port", strconv.Itoa(testBase(t, 2)), "-n", "2", "--scope", "two")
	if !strings.Contains(r.said.String(), "2 servers and a witness, 3 votes") {
		t.Errorf("no witness:\n%s", r.said.String())
	}
	if got := r.psql(r.rw, "create table kept as select 7 as n; select n from kept"); !strings.HasSuffix(got, "7") {
		t.Errorf("write: %q", got)
	}
	r.interrupt()
}

// statistics: what up prints of the entrypoint's numbers can be read there.
func (r *running) statistics() {
	r.t.Helper()
	found := regexp.MustCompile(`curl -s (http://\S+)   # the entrypoint`).FindStringSubmatch(r.said.String())
	if found == nil {
		r.t.Errorf("the statistics are not spoken of:\n%s", r.said.String())
		return
	}
	resp, err := http.Get(found[1])
	if err != nil {
		r.t.Error(err)
		return
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(text), "primary n") {
		r.t.Errorf("%s: %s, %v\n%s", found[1], resp.Status, err, text)
	}
}
