package cli

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/api/apitest"
	"github.com/matriarch-ha/matriarch/cluster"
)

// world is a served cluster with which commands are run.
type world struct {
	t       *testing.T
	c       *apitest.Cluster
	members map[string]*apitest.Member
	url     string // of the first member
	opts    Options

	mu    sync.Mutex
	edits map[string]func(*api.Status)
	fakes map[string]http.HandlerFunc // by "n1 POST /restart"
	seen  []string                    // "n1 POST /restart BODY", without reading requests
}

// newWorld serves every member of the cluster; shown addresses stay as recorded
// only in tables of hosts, since api_url is where the test listens.
func newWorld(t *testing.T, c *apitest.Cluster) *world {
	w := &world{t: t, c: c, members: map[string]*apitest.Member{}, fakes: map[string]http.HandlerFunc{}, edits: map[string]func(*api.Status){}}
	w.opts = Options{Version: "0.1.0", Env: []string{"HOME=" + t.TempDir()},
		Now:    func() time.Time { return time.Date(2026, 11, 22, 23, 5, 46, 123456789, time.UTC) },
		timing: timing{known: 2 * time.Second, every: 10 * time.Millisecond, silence: 200 * time.Millisecond, move: 10 * time.Second, long: 10 * time.Second}}
	for _, m := range c.View().Members {
		w.members[m.Name] = &apitest.Member{Name: m.Name, C: c, Edit: func(s *api.Status) { w.edited(m.Name, s) }}
		served := apitest.Serve(t, w.members[m.Name], func(o *api.Options) { o.Patience = 2 * time.Second }).Config.Handler
		front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.serve(m.Name, rw, r, served) }))
		t.Cleanup(front.Close)
		c.Change(func(v *cluster.View) {
			for i := range v.Members {
				if v.Members[i].Name == m.Name {
					v.Members[i].APIURL = front.URL + "/patroni"
				}
			}
		})
		if w.url == "" {
			w.url = front.URL
		}
	}
	return w
}

// serve answers as the test says, or as a member does.
func (w *world) serve(name string, rw http.ResponseWriter, r *http.Request, otherwise http.Handler) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	w.mu.Lock()
	fake := w.fakes[name+" "+r.Method+" "+r.URL.Path]
	if r.Method != http.MethodGet {
		w.seen = append(w.seen, strings.TrimSpace(name+" "+r.Method+" "+r.URL.Path+" "+string(body)))
	}
	w.mu.Unlock()
	if fake != nil {
		fake(rw, r)
		return
	}
	otherwise.ServeHTTP(rw, r)
}

// edit changes what a member says of itself, from now on.
func (w *world) edit(name string, f func(*api.Status)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.edits[name] = f
}

func (w *world) edited(name string, s *api.Status) {
	w.mu.Lock()
	f := w.edits[name]
	w.mu.Unlock()
	if f != nil {
		f(s)
	}
}

// fake answers a request to a member, such as "n1 POST /restart".
func (w *world) fake(what string, h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fakes[what] = h
}

// reply is a fake that answers always the same.
func (w *world) reply(what string, code int, text string) {
	w.fake(what, func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(code)
		io.WriteString(rw, text)
	})
}

// requests returns what was asked of the members since the last call, reading
// aside, sorted.
func (w *world) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := slices.Sorted(slices.Values(w.seen))
	w.seen = nil
	return out
}

// hang makes a member accept requests and never answer, until the test ends.
func (w *world) hang(what ...string) {
	for _, k := range what {
		w.fake(k, func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-w.t.Context().Done():
			}
		})
	}
}

// result is how a command ended.
type result struct {
	out, err string
	code     int
}

// run executes a command against the first member.
func (w *world) run(stdin string, arguments ...string) result {
	return w.exec(stdin, append([]string{"--api", w.url}, arguments...)...)
}

func (w *world) exec(stdin string, arguments ...string) result {
	w.t.Helper()
	root := NewWith(w.opts)
	var out, errOut bytes.Buffer
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errOut)
	root.SetArgs(arguments)
	err := root.ExecuteContext(w.t.Context())
	r := result{out: out.String(), err: errOut.String()}
	var coded interface{ ExitCode() int }
	switch {
	case errors.As(err, &coded):
		r.code = coded.ExitCode()
		r.err += err.Error()
	case err != nil:
		r.code = 1
		r.err += "Error: " + err.Error()
	}
	return r
}

// want compares everything a command did.
func (r result) want(t *testing.T, code int, out, err string) {
	t.Helper()
	if r.code != code || r.out != out || r.err != err {
		t.Errorf("exit %d, want %d\n--- stdout\n%s--- want\n%s--- stderr\n%s\n--- want\n%s", r.code, code, r.out, out, r.err, err)
	}
}

// contains checks for pieces of the output.
func (r result) contains(t *testing.T, code int, pieces ...string) {
	t.Helper()
	for _, p := range pieces {
		if !strings.Contains(r.out+r.err, p) {
			t.Errorf("lacks %q", p)
			code = -1
		}
	}
	if r.code != code {
		t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
	}
}

// demo is the cluster of the documented samples.
func demo() *apitest.Cluster {
	v := cluster.View{
		Initialize: cluster.Initialize{Present: true, SystemID: "7412345678901234567"},
		Leader:     cluster.Leader{Name: "n1", Session: "s1"},
		Status:     cluster.Status{Optime: 0x5000148},
		History:    cluster.History{Present: true},
		Config:     cluster.Config{Present: true, Version: "1", JSON: `{"ttl":30,"loop_wait":1,"postgresql":{"parameters":{"max_connections":200,"log_min_messages":"log"},"use_pg_rewind":true}}`},
	}
	v.Members = []cluster.Member{
		{Name: "n1", ConnURL: "postgres://10.0.0.1/postgres", State: cluster.StateRunning, Role: cluster.RolePrimary, Timeline: 2, XLog: 0x5000148, Guarded: true},
		{Name: "n2", ConnURL: "postgres://10.0.0.2/postgres", State: cluster.StateRunning, Role: cluster.RoleReplica, Timeline: 2,
			ReplicationState: "streaming", XLog: 0x5000148, Received: 0x5000148, Replayed: 0x5000148},
	}
	return apitest.New(v, cluster.DefaultSettings())
}

// three adds a third member that lags and waits for a restart.
func three() *apitest.Cluster {
	c := demo()
	c.Change(func(v *cluster.View) {
		v.Status.Optime = 0x5000148 + 3<<20
		v.Members[1].XLog, v.Members[1].Received, v.Members[1].Replayed = v.Status.Optime, v.Status.Optime, v.Status.Optime-(3<<19)
		v.Members = append(v.Members, cluster.Member{
			Name: "n3", ConnURL: "postgres://10.0.0.2:5433/postgres", State: cluster.StateStarting, Role: cluster.RoleReplica,
			Tags:           cluster.Tags{ReplicateFrom: "n2", NoFailover: true, Other: []cluster.Tag{{Name: "zone", Value: `"b"`}}},
			PendingRestart: true,
			PendingRestartReason: []cluster.SettingChange{{Name: "max_connections", Old: "100", New: "200"},
				{Name: "shared_preload_libraries", Old: "", New: strings.Repeat("x", 40)}},
		})
	})
	return c
}
