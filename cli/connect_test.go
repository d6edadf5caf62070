package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/dcs/memory"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// stored puts the world's cluster into a store that the commands can open.
func (w *world) stored() *memory.Server {
	w.t.Helper()
	server := memory.NewServer(clock.Real{})
	store := server.Connect()
	v := w.c.View()
	put := func(key, value string) {
		w.t.Helper()
		if _, err := store.Put(w.t.Context(), key, value, dcs.Always()); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, m := range v.Members {
		put(layout.KeyMember(m.Name), layout.EncodeMember(m))
	}
	put(layout.KeyLeader, v.Leader.Name)
	put(layout.KeyInitialize, v.Initialize.SystemID)
	put(layout.KeyStatus, layout.EncodeStatus(v.Status))
	put(layout.KeyConfig, `{"ttl":30}`)
	w.opts.OpenStore = func(_ context.Context, f *config.File) (dcs.Store, error) {
		if f.Scope != "lab" {
			return nil, errors.New("wrong scope " + f.Scope)
		}
		return server.Connect(), nil
	}
	return server
}

// keys reads the store.
func keys(t *testing.T, server *memory.Server) cluster.View {
	t.Helper()
	snap, err := server.Connect().Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return layout.Decode(snap)
}

// deadURL is where nobody listens.
func deadURL() string {
	dead := httptest.NewServer(nil)
	dead.Close()
	return dead.URL
}

// fileOf writes a member's configuration.
func fileOf(t *testing.T, connect string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "member.yml")
	text := "scope: lab\nname: n1\nrestapi:\n  listen: 127.0.0.1:8008\n  connect_address: " + connect + "\netcd3:\n  hosts: 127.0.0.1:1\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// die takes away the addresses of all members.
func (w *world) die() {
	w.c.Change(func(v *cluster.View) {
		v.Members = slices.Clone(v.Members)
		for i := range v.Members {
			v.Members[i].APIURL = deadURL() + "/patroni"
		}
	})
}

func TestOwnMemberFromTheFile(t *testing.T) {
	w := newWorld(t, demo())
	file := fileOf(t, strings.TrimPrefix(w.url, "http://"))
	w.exec("", "-c", file, "list").contains(t, 0, "| n2     | 10.0.0.2 |")
	w.exec("", "list", "-c", file).contains(t, 0, "| n2     | 10.0.0.2 |")
	w.opts.Env = append(w.opts.Env, "PATRONICTL_CONFIG_FILE="+file)
	w.exec("", "dsn").want(t, 0, "host=10.0.0.1 port=5432\n", "")
	w.opts.Env = append(w.opts.Env, "PATRONI_SCOPE=other")
	w.exec("", "dsn").contains(t, 1, `belongs to cluster "lab", not "other"`)
}

func TestUsualFile(t *testing.T) {
	w := newWorld(t, demo())
	home := strings.TrimPrefix(w.opts.Env[0], "HOME=")
	if err := os.MkdirAll(filepath.Join(home, ".config", "patroni"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fileOf(t, strings.TrimPrefix(w.url, "http://")), filepath.Join(home, ".config", "patroni", "patronictl.yaml")); err != nil {
		t.Fatal(err)
	}
	w.exec("", "dsn").want(t, 0, "host=10.0.0.1 port=5432\n", "")
}

// TestMembersNamedByTheStore: the own member is down; the others are found
// through the store and asked, not the store itself.
func TestMembersNamedByTheStore(t *testing.T) {
	w := newWorld(t, demo())
	w.stored()
	file := fileOf(t, strings.TrimPrefix(deadURL(), "http://"))
	w.exec("", "-c", file, "show-config").contains(t, 0, "max_connections: 200", "connection refused; asked the members that the store names")
	w.exec("", "-c", file, "pause").contains(t, 0, "Success: cluster management is paused")
	if got := w.requests(); !slices.Equal(got, []string{`n1 PATCH /config {"pause":true}`}) {
		t.Errorf("%q", got)
	}
}

// TestOnlyTheStore: nobody answers; the store is used, and that is said.
func TestOnlyTheStore(t *testing.T) {
	w := newWorld(t, demo())
	w.die()
	dead := deadURL()
	file := fileOf(t, strings.TrimPrefix(dead, "http://"))
	w.exec("", "-c", file, "dsn").contains(t, 1, "connection refused", "no store is configured")
	w.opts.OpenStore = func(context.Context, *config.File) (dcs.Store, error) {
		return nil, fmt.Errorf("load: %w: rpc error: code = Unavailable desc = connection error: desc = %q", dcs.ErrUnavailable,
			"transport: Error while dialing: dial tcp 10.0.0.9:2379: connect: connection refused")
	}
	w.exec("", "-c", file, "dsn").want(t, 1, "", "Error: the cluster cannot be read:\n  GET "+dead+`/cluster: connection refused
  etcd3: the store is unavailable: 10.0.0.9:2379: connection refused
Are agents and store up, and are these their addresses? They come from restapi.connect_address and
the section etcd3 of the configuration; --api names another member.`)
	server := w.stored()
	w.exec("", "-c", file, "list").contains(t, 0, "+ Cluster: lab (7412345678901234567)", "| n1     | 10.0.0.1 | Leader", "no member answered; read from the store")
	w.exec("", "-c", file, "show-config").want(t, 0, "ttl: 30\n", "no member answered; read from the store\n")
	w.exec("", "-c", file, "edit-config", "-s", "ttl=20", "--force").contains(t, 0, "Configuration changed", "written to the store")
	w.exec("", "-c", file, "edit-config", "-s", "ttl=never", "--force").contains(t, 1, "configuration refused: ttl")
	w.exec("", "-c", file, "pause").contains(t, 0, "Success", "written to the store")
	if v := keys(t, server); v.Config.JSON != `{"ttl":20,"pause":true}` {
		t.Errorf("%+v", v.Config)
	}
	w.opts.Patronictl = true
	w.exec("", "-c", file, "resume").contains(t, 1, "Can not find accessible cluster member")
}

// TestOnlyTheStoreMoves: a request to move the leadership is put where a member
// will find it, and followed.
func TestOnlyTheStoreMoves(t *testing.T) {
	w := newWorld(t, demo())
	w.die()
	server := w.stored()
	w.opts.timing.move = 50 * time.Millisecond
	r := w.exec("", "-d", "etcd3://h", "switchover", "lab", "--candidate", "n2", "--force")
	r.contains(t, 3, "Could not switchover using the REST API, falling back to the store", `Switchover still running, the wait ended: "n1" leads now`)
	if f := keys(t, server).Failover; f.Leader != "n1" || f.Candidate != "n2" {
		t.Errorf("%+v", f)
	}
}

func TestStoreAddressOption(t *testing.T) {
	w := newWorld(t, demo())
	w.stored()
	open := w.opts.OpenStore
	var got []*config.File
	w.opts.OpenStore = func(ctx context.Context, f *config.File) (dcs.Store, error) {
		got = append(got, f)
		return open(ctx, f)
	}
	w.exec("", "-d", "etcd3://10.0.0.9/ns", "list", "lab").contains(t, 0, "| n2     | 10.0.0.2 |")
	file := fileOf(t, strings.TrimPrefix(deadURL(), "http://"))
	w.opts.Env = append(w.opts.Env, "DCS_URL=zookeeper://zk1,zk2:2182")
	w.exec("", "-c", file, "list").want(t, 0, w.exec("", "-c", file, "list").out, "") // the file's own member is not asked
	if len(got) != 3 || got[0].Namespace != "ns" || got[0].Store.Kind != "etcd3" || got[1].Namespace != "service" || !slices.Equal(got[1].Store.Hosts, []string{"zk1:2181", "zk2:2182"}) {
		t.Errorf("%+v", got)
	}
	w.exec("", "-d", "consul://x", "list").contains(t, 1, "consul is not supported")
	w.exec("", "--dcs", "redis://x", "list").contains(t, 1, "Unknown dcs scheme: redis")
	w.exec("", "-d", "etcd3://h", "list").contains(t, 1, "no cluster is named")
}

func TestParseStoreAddress(t *testing.T) {
	for _, c := range []struct{ text, kind, hosts, namespace string }{
		{"etcd3://h:1234/a/b/", "etcd3", "h:1234", "a/b"},
		{"etcd://h", "etcd3", "h:2379", ""},
		{"h:2181", "zookeeper", "h:2181", ""},
		{"//h:2379/x", "etcd3", "h:2379", "x"},
		{"h", "etcd3", "h:2379", ""},
		{"zookeeper://[::1]:2181,b", "zookeeper", "[::1]:2181 b:2181", ""},
		{"etcd3://:2390", "etcd3", "localhost:2390", ""},
	} {
		a, err := parseStoreAddress(c.text)
		if err != nil || a.section.Kind != c.kind || strings.Join(a.section.Hosts, " ") != c.hosts || a.namespace != c.namespace {
			t.Errorf("%s: %+v %v", c.text, a, err)
		}
	}
	for _, text := range []string{"etcd3://h:x", "etcd3://h:0", "etcd3://h:99999", "etcd3://h/x?y", "h:8500", "ftp://h", "etcd3://me:secret@h"} {
		if a, err := parseStoreAddress(text); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %+v, %v", text, a, err)
		}
	}
}

// FuzzStoreAddress: whatever is read is an address that a store can use.
func FuzzStoreAddress(f *testing.F) {
	for _, s := range []string{"etcd3://h:1/x", "h", "//", "zookeeper://a,b,,c", "etcd://[::1", "etcd3://%41", "h:8181", "a://b://c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseStoreAddress(text)
		if err != nil {
			return
		}
		if len(a.section.Hosts) == 0 || strings.HasPrefix(a.namespace, "/") {
			t.Errorf("%q: %+v", text, a)
		}
		for _, h := range a.section.Hosts {
			if req, err := http.NewRequest("GET", "http://"+h, nil); err != nil || req.URL.Host != h && !strings.Contains(h, "%") {
				t.Errorf("%q: host %q: %v", text, h, err)
			}
		}
	})
}

// TestAHungMemberHoldsNobodyUp: the others answer at once.
func TestAHungMemberHoldsNobodyUp(t *testing.T) {
	w := newWorld(t, demo())
	w.hang("n1 GET /cluster", "n1 GET /patroni", "n1 GET /history", "n1 GET /config")
	begin := time.Now()
	url := w.c.View().Members[1].APIURL
	for _, command := range []string{"list", "history", "show-config", "dsn"} {
		w.exec("", "--api", w.url, "--api", url, command).contains(t, 0)
	}
	w.exec("", "--api", w.url, "--api", url, "list").contains(t, 0, "(7412345678901234567)")
	if took := time.Since(begin); took > 30*time.Second { // each call to a hung member takes 10 s
		t.Errorf("took %s", took)
	}
}

func TestWrongUsage(t *testing.T) {
	w := newWorld(t, demo())
	w.exec("", "list").contains(t, 1, "give --api")
	for _, every := range []string{"0", "-1", "NaN", "1e300", "1e-12"} {
		w.run("", "list", "-w", every).contains(t, 2, "is not from 0.01 to 86400 seconds")
	}
	w.exec("", "--api", "http://127.0.0.1:1", "dsn", "-r", "x").contains(t, 2, "is not one of")
	w.exec("", "--api", "http://127.0.0.1:1", "list").want(t, 1, "", `Error: the cluster cannot be read:
  GET http://127.0.0.1:1/cluster: connection refused
  no store is configured to read from
Is the agent up, and is this its address? --api names another member.`)
	w.run("", "list", "--nonsense").contains(t, 2, "unknown flag")
	w.run("", "pause", "a", "b").contains(t, 2, "accepts at most 1 arg")
	w.run("", "-c", "/nonexistent.yml", "list").contains(t, 1, "/nonexistent.yml")
	w.run("", "list", "other").contains(t, 1, `belongs to cluster "lab", not "other"`)
	w.run("", "restart", "n2").contains(t, 1, `"n2" is a member of it: write lab n2`)
	w.run("", "swichover").contains(t, 2, `no such command "swichover"; did you mean switchover?`)
	w.run("", "frobnicate").contains(t, 2, `no such command "frobnicate"`)
	w.opts.Patronictl = true
	w.exec("", "list").want(t, 0, "", "Listing members: No cluster names were provided\n")
	w.exec("", "restart").contains(t, 2, "Missing argument 'CLUSTER_NAME'")
}

// TestGroupsAreRefused: where the reference takes a Citus group, ours says that
// there are none, and does nothing.
func TestGroupsAreRefused(t *testing.T) {
	w := newWorld(t, demo())
	for _, c := range NewWith(w.opts).Commands() {
		if c.Flags().Lookup("group") == nil {
			continue
		}
		arguments := []string{c.Name(), "--group", "1"}
		switch c.Name() {
		case "query":
			arguments = append(arguments, "-c", "SELECT 1")
		case "remove":
			arguments = append(arguments, "lab")
		case "flush":
			arguments = append(arguments, "switchover")
		}
		w.run("", arguments...).contains(t, 1, "Citus clusters are not supported")
	}
	if got := w.requests(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func always() dcs.Condition { return dcs.Always() }

// jsonAnswer is a handler that answers with a document.
func jsonAnswer(doc any) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		text, err := json.Marshal(doc)
		if err != nil {
			panic(err)
		}
		rw.Write(text)
	}
}
