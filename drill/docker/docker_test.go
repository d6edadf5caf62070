package docker

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/drill"
)

// fake is a Docker engine with containers that can be ended and started.
type fake struct {
	mu         sync.Mutex
	containers map[string]*container
	starts     int
	execs      []command          // what was run, in order
	output     map[string]string  // of a command, by what it contains
	late       func(c *container) // what the engine is still at work on
	seen       []string
}

func newFake() *fake {
	f := &fake{containers: map[string]*container{}, output: map[string]string{look[:20]: "agent 7\npostmaster 40\n"}}
	f.add("a1", "lab", "pg-master", "172.18.0.2")
	f.add("b2", "lab", "pg-slave", "172.18.0.3")
	f.add("c3", "lab", "entrypoint", "172.18.0.4")
	return f
}

func (f *fake) add(id, project, service, address string) {
	text := fmt.Sprintf(`{"Id":%q,"Name":"/%s_%s_1","State":{"Running":true,"StartedAt":"t0"},
		"Config":{"Hostname":%q,"Labels":{"com.docker.compose.project":%q,"com.docker.compose.service":%q},"StopTimeout":1},
		"NetworkSettings":{"Networks":{"n":{"IPAddress":%q,"Aliases":[%q]}},"Ports":{"5000/tcp":[{"HostIp":"0.0.0.0","HostPort":"15000"}]}}}`,
		id, project, service, service, project, service, address, service)
	c := &container{}
	if err := json.Unmarshal([]byte(text), c); err != nil {
		panic(err)
	}
	f.containers[id] = c
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path, ok := strings.CutPrefix(r.URL.Path, version)
	if !ok {
		http.Error(w, "wrong version", 400)
		return
	}
	f.seen = append(f.seen, r.Method+" "+path)
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case path == "/containers/json":
		var list []map[string]string
		for id, c := range f.containers {
			if c.State.Running {
				list = append(list, map[string]string{"Id": id})
			}
		}
		json.NewEncoder(w).Encode(list)
	case parts[0] == "containers" && len(parts) == 3:
		f.container(w, r, parts[1], parts[2])
	case parts[0] == "exec" && parts[2] == "start":
		f.exec(w)
	case parts[0] == "exec":
		io.WriteString(w, `{"ExitCode":0}`)
	default:
		http.NotFound(w, r)
	}
}

func (f *fake) container(w http.ResponseWriter, r *http.Request, id, what string) {
	c := f.containers[id]
	if c == nil {
		w.WriteHeader(404)
		io.WriteString(w, `{"message":"No such container: `+id+`"}`)
		return
	}
	switch what {
	case "json":
		if f.late != nil {
			f.late(c)
		}
		json.NewEncoder(w).Encode(c)
	case "stop", "kill":
		c.State.Running = false
		w.WriteHeader(204)
	case "start":
		if c.State.Running {
			w.WriteHeader(304)
			return
		}
		f.starts++
		c.State.Running, c.State.StartedAt = true, fmt.Sprintf("t%d", f.starts)
		w.WriteHeader(204)
	case "pause", "unpause":
		c.State.Paused = what == "pause"
		w.WriteHeader(204)
	case "exec":
		if !c.State.Running {
			w.WriteHeader(409)
			io.WriteString(w, `{"message":"container is not running"}`)
			return
		}
		var cmd command
		json.NewDecoder(r.Body).Decode(&cmd)
		f.execs = append(f.execs, cmd)
		w.WriteHeader(201)
		fmt.Fprintf(w, `{"Id":"e%d"}`, len(f.execs))
	}
}

// exec answers as the engine does, in two pieces with headers.
func (f *fake) exec(w http.ResponseWriter) {
	text := ""
	for part, out := range f.output {
		if strings.Contains(strings.Join(f.execs[len(f.execs)-1].Cmd, " "), part) {
			text = out
		}
	}
	for _, piece := range []string{text[:len(text)/2], text[len(text)/2:]} {
		w.Write(append(binary.BigEndian.AppendUint32([]byte{1, 0, 0, 0}, uint32(len(piece))), piece...))
	}
}

// serve listens on a socket, as the engine does.
func serve(t *testing.T, f *fake) *engine {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	beat = time.Millisecond
	return engineAt(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(s.URL, "http://"))
	})
}

func lab() drill.Picture {
	return drill.Picture{Scope: "my_cluster", Members: []drill.Member{
		{Name: "postgresql0", Base: "http://pg-master:8008", Host: "pg-master", Leads: true},
		{Name: "postgresql1", Base: "http://pg-slave:8008", Host: "pg-slave"}}}
}

func TestFind(t *testing.T) {
	f := newFake()
	e := serve(t, f)
	r, err := find(t.Context(), e, lab(), "")
	if err != nil || r.members["postgresql0"].ID != "a1" || r.members["postgresql1"].ID != "b2" {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := r.Resolve("pg-slave"); got != "172.18.0.3" {
		t.Errorf("pg-slave is %s", got)
	}
	if got := r.Resolve("elsewhere"); got != "elsewhere" {
		t.Errorf("elsewhere is %s", got)
	}
	if got := r.Entrypoint(); got != "host=127.0.0.1 port=15000" {
		t.Errorf("entrypoint %q", got)
	}
	f.add("d4", "other", "pg-master", "172.19.0.2")
	if _, err := find(t.Context(), e, lab(), ""); err != nil {
		t.Errorf("a project with one of the names only: %v", err)
	}
	f.add("e5", "other", "pg-slave", "172.19.0.3")
	if _, err := find(t.Context(), e, lab(), ""); err == nil || !strings.Contains(err.Error(), "(lab, other): say which with --reach docker:PROJECT") {
		t.Errorf("%v", err)
	}
	if r, err := find(t.Context(), e, lab(), "other"); err != nil || r.members["postgresql0"].ID != "d4" {
		t.Errorf("%+v, %v", r, err)
	}
	// A drill in a container of one of the projects means that project.
	was := hostname
	t.Cleanup(func() { hostname = was })
	f.add("0123456789abcdef", "other", "drill", "172.19.0.4")
	hostname = func() (string, error) { return "0123456789ab", nil }
	if r, err := find(t.Context(), e, lab(), ""); err != nil || r.project != "other" {
		t.Errorf("%+v, %v", r, err)
	}
	hostname = func() (string, error) { return "0", nil } // no beginning of an ID
	if _, err := find(t.Context(), e, lab(), ""); err == nil {
		t.Error("a short host name was taken for the beginning of an ID")
	}
	f.containers["e5"].State.Running = false
	if _, err := find(t.Context(), e, lab(), "other"); err == nil || !strings.Contains(err.Error(), "(pg-master, pg-slave)") {
		t.Errorf("%v", err)
	}
}

// TestSteps goes every scenario's steps and its way back.
func TestSteps(t *testing.T) {
	for _, k := range []struct {
		scenario drill.Scenario
		runs     string // the last command but those of looking
		down     bool   // the container is ended
		back     string // the command of the way back
	}{
		{drill.StopAgent, "", true, ""},
		{drill.PowerOff, "", true, ""},
		{drill.PauseHost, "", false, ""},
		{drill.KillPostgres, "kill -KILL 40", false, "none"},
		{drill.KillAgent, "kill -KILL 7", false, ""},
		{drill.PauseAgent, "kill -STOP 7; sleep 60; kill -CONT 7", false, "kill -CONT 7"},
		{drill.Isolate, "matriarch drill-cut --for 1m0s", false, "matriarch drill-cut --mend"},
	} {
		t.Run(string(k.scenario), func(t *testing.T) {
			f := newFake()
			e := serve(t, f)
			p := lab()
			r, err := find(t.Context(), e, p, "")
			if err != nil {
				t.Fatal(err)
			}
			steps, err := r.Steps(t.Context(), k.scenario, p.Members[0], time.Minute)
			if err != nil || len(steps) != 1 || (steps[0].Undo == nil) != (k.back == "none") {
				t.Fatalf("%+v, %v", steps, err)
			}
			if err := steps[0].Do(t.Context()); err != nil {
				t.Fatal(err)
			}
			c := f.containers["a1"]
			if c.State.Running == k.down || c.State.Paused != (k.scenario == drill.PauseHost) {
				t.Errorf("%+v", c.State)
			}
			ran := func(part string) bool {
				return slices.ContainsFunc(f.execs, func(c command) bool { return c.User == "0" && strings.Contains(strings.Join(c.Cmd, " "), part) })
			}
			if k.runs != "" && !ran(k.runs) {
				t.Errorf("ran %v", f.execs)
			}
			if k.back == "none" {
				return
			}
			if k.scenario == drill.KillAgent {
				c.State.Running = false // what its end has for a consequence
			}
			undo := undoersOf(func() (*engine, error) { return e, nil })
			for range 2 { // twice does no harm
				if err := undo.Do(t.Context(), *steps[0].Undo); err != nil {
					t.Fatal(err)
				}
			}
			if !c.State.Running || c.State.Paused || k.back != "" && !ran(k.back) {
				t.Errorf("%+v, ran %v", c.State, f.execs)
			}
		})
	}
}

// TestStopUnderWay: a stop that the engine is still at work on, after its caller
// was killed, is waited for; the container runs afterwards.
func TestStopUnderWay(t *testing.T) {
	f := newFake()
	e := serve(t, f)
	looks := 0
	f.late = func(c *container) {
		if looks++; looks == 5 {
			c.State.Running = false
		}
	}
	undo := undoersOf(func() (*engine, error) { return e, nil })
	if err := undo.Do(t.Context(), *starting(*f.containers["a1"], "postgresql0")); err != nil {
		t.Fatal(err)
	}
	if s := f.containers["a1"].State; !s.Running || s.StartedAt == "t0" {
		t.Errorf("%+v after %d looks", s, looks)
	}
}

// TestPauseUnderWay: the same for a pause.
func TestPauseUnderWay(t *testing.T) {
	f := newFake()
	e := serve(t, f)
	looks := 0
	f.late = func(c *container) {
		if looks++; looks == 3 {
			c.State.Paused = true
		}
	}
	undo := undoersOf(func() (*engine, error) { return e, nil })
	if err := undo.Do(t.Context(), drill.Undo{Kind: undoPause, Args: map[string]string{"id": "a1"}}); err != nil {
		t.Fatal(err)
	}
	if f.containers["a1"].State.Paused {
		t.Error("still paused")
	}
}

func TestRefusals(t *testing.T) {
	f := newFake()
	e := serve(t, f)
	if err := e.act(t.Context(), "zz", "stop"); err == nil || err.Error() != "docker: POST /containers/zz/stop: 404 No such container: zz" {
		t.Errorf("%v", err)
	}
	f.output = map[string]string{}
	r, err := find(t.Context(), e, lab(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Steps(t.Context(), drill.KillAgent, lab().Members[0], time.Minute); err == nil || !strings.Contains(err.Error(), "process 1 must be an init") {
		t.Errorf("%v", err)
	}
}
