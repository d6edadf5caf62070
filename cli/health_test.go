package cli

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/cluster"
)

// healthOf runs the command with a configuration file of this text.
func healthOf(t *testing.T, w *world, text string) result {
	t.Helper()
	file := filepath.Join(t.TempDir(), "a.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return w.exec("", "-c", file, "health")
}

const someStore = "etcd3: {host: '127.0.0.1:1'}\n"

func TestHealthOfAMember(t *testing.T) {
	w := newWorld(t, demo())
	file := "scope: demo\nname: n1\n" + someStore + "restapi: {connect_address: '" + strings.TrimPrefix(w.url, "http://") + "'}\npostgresql: {data_dir: /srv/n1}\n"
	healthOf(t, w, file).want(t, 0, "n1: primary, running\n", "")

	w.edit("n1", func(s *api.Status) { s.State = cluster.StateStarting })
	healthOf(t, w, file).want(t, 1, "", "Error: PostgreSQL of n1 does not run: starting")

	// Another member's word counts for nothing.
	gone := httptest.NewServer(nil)
	gone.Close()
	file = strings.Replace(file, strings.TrimPrefix(w.url, "http://"), gone.Listener.Addr().String(), 1)
	healthOf(t, w, file).contains(t, 1, "the agent of n1 does not answer", "connection refused")
}

func TestHealthOfAnEntrypoint(t *testing.T) {
	w := newWorld(t, demo())
	stats := `{"primary":"n1"}`
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stats" {
			rw.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(rw, stats)
	}))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	file := "scope: demo\n" + someStore + "proxy: {stats: '0.0.0.0:" + port + "'}\n"
	healthOf(t, w, file).want(t, 0, "serves; primary n1\n", "")
	stats = `{"why_no_primary":"nobody leads"}`
	healthOf(t, w, file).want(t, 0, "serves; no primary: nobody leads\n", "")
	stats = "a stranger"
	healthOf(t, w, file).contains(t, 1, "not what was expected")

	alone := "scope: demo\n" + someStore + "proxy: {stats: off, listen: '" + s.Listener.Addr().String() + "'}\n"
	healthOf(t, w, alone).want(t, 0, "takes connections\n", "")
	s.Close()
	healthOf(t, w, file).contains(t, 1, "the entrypoint does not answer")
	healthOf(t, w, alone).contains(t, 1, "takes no connections")
}

func TestHealthOfAWitness(t *testing.T) {
	w := newWorld(t, demo())
	code := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			rw.WriteHeader(code)
		}
	}))
	defer s.Close()
	file := fmt.Sprintf("scope: demo\nembedded:\n  listen_peer: 127.0.0.1:7\n  data_dir: /srv/w\n  partners: [{name: w, peer: '127.0.0.1:7', client: '%s'}]\n", s.Listener.Addr())
	healthOf(t, w, file).want(t, 0, "votes\n", "")
	code = http.StatusServiceUnavailable
	healthOf(t, w, file).contains(t, 1, "the vote is not ready", "503")
}

func TestHealthOfNothing(t *testing.T) {
	w := newWorld(t, demo())
	healthOf(t, w, "scope: demo\n"+someStore).contains(t, 1, "neither a member")
	w.exec("", "health").contains(t, 1, "no configuration")
}
