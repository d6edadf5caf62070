package config

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares text with a file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run with -update", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

// tell prints what loading gave, and checks on the way that no secret shows.
func tell(t *testing.T, f *File, warnings []Warning, err error) string {
	t.Helper()
	var b strings.Builder
	for _, w := range warnings {
		fmt.Fprintf(&b, "warning %s: %s\n", w.Code, w)
	}
	var problems Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			fmt.Fprintf(&b, "problem: %s\n", p)
		}
	} else if err != nil {
		t.Errorf("the error %v is of type %T, not Problems", err, err)
	}
	if f != nil {
		shown := *f
		shown.Raw = Tree{}
		j, jerr := json.MarshalIndent(shown, "", "  ")
		if jerr != nil {
			t.Fatal(jerr)
		}
		b.Write(j)
		b.WriteString("\n")
		for _, text := range []string{fmt.Sprintf("%v %+v %#v", f, f, *f), f.Raw.YAML(false), f.Raw.String(), fmt.Sprint(f.Raw.Leaves())} {
			noSecret(t, text)
		}
	}
	noSecret(t, b.String())
	return b.String()
}

func noSecret(t *testing.T, text string) {
	t.Helper()
	for _, s := range []string{"hidden-one", "hidden-two", "s3cret", "rep-pass", "zalando", "rewind-pass"} {
		if strings.Contains(text, s) {
			t.Errorf("the secret %s shows in: %s", s, text)
		}
	}
}

// TestGolden loads every file of testdata/good and testdata/bad.
func TestGolden(t *testing.T) {
	t.Setenv("HOME", "/home/dba")
	for _, kind := range []string{"good", "bad"} {
		files, err := filepath.Glob("testdata/" + kind + "/*.yml")
		if err != nil || len(files) == 0 {
			t.Fatal("no test files", err)
		}
		for _, path := range files {
			t.Run(path, func(t *testing.T) {
				f, w, err := Load(path, nil)
				if (err == nil) != (kind == "good") {
					t.Errorf("error = %v", err)
				}
				golden(t, strings.TrimSuffix(path, ".yml")+".txt", tell(t, f, w, err))
			})
		}
	}
}

func TestSamplesWorkUnchanged(t *testing.T) {
	for _, path := range []string{"testdata/good/postgres0.yml", "testdata/good/postgres1.yml"} {
		f, w, err := Load(path, nil)
		if err != nil || len(w) > 0 {
			t.Fatalf("%s: %v %v", path, err, w)
		}
		for _, use := range []Use{ForClient, ForAgent, ForValidate} {
			if err := f.Check(use); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		if d, w, err := ParseDynamic(f.BootstrapDCS()); err != nil || len(w) > 0 || d.Settings.SyncMode != "on" {
			t.Errorf("%s: %v %v %v", path, d, w, err)
		}
	}
}

func TestDirectoryMergesInOrder(t *testing.T) {
	f, w, err := Load("testdata/dir", []string{"PATRONI_NAME=from-env", "MATRIARCH_SCOPE=three"})
	if err != nil || len(w) > 0 {
		t.Fatal(w, err)
	}
	if f.Scope != "three" || f.Name != "from-env" {
		t.Errorf("scope %q name %q", f.Scope, f.Name)
	}
	if d := cmp.Diff([]Param{{"work_mem", "1MB"}}, f.Postgres.Parameters); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"zk1:2181", "zk2:2182"}, f.Store.Hosts); d != "" {
		t.Error(d)
	}
	for path, want := range map[string]string{
		"scope": "env MATRIARCH_SCOPE", "name": "env PATRONI_NAME", "restapi.listen": "default",
		"postgresql.parameters.work_mem": "testdata/dir/10-base.yml:5:26",
		"zookeeper.hosts":                "testdata/dir/20-more.yaml:4:20",
	} {
		if got := f.Origin(path); got != want {
			t.Errorf("origin of %s = %s, want %s", path, got, want)
		}
	}
}

func TestOriginOfDottedNames(t *testing.T) {
	f := mustFile(t, "postgresql:\n  parameters:\n    pg_stat_statements.max: 5\n")
	if got := f.Origin("postgresql.parameters.pg_stat_statements.max"); got != "env MATRIARCH_CONFIGURATION:3:29" {
		t.Error(got)
	}
	for _, path := range []string{"postgresql.parameters.pg_stat_statements", "postgresql.x.", "a..b", "."} {
		if got := f.Origin(path); got != "default" {
			t.Error(path, got)
		}
	}
	// A dotted key at the top is not the setting of that path.
	if d := mustDynamic(t, `{"postgresql.use_slots": false}`); !d.Settings.UseSlots {
		t.Error("a misplaced key had an effect")
	}
}

func TestWithoutFile(t *testing.T) {
	t.Run("configuration variable alone", func(t *testing.T) {
		f, _, err := Load("/nonexistent/x.yml", []string{"PATRONI_CONFIGURATION=scope: a\netcd3: {host: e}", "PATRONI_SCOPE=b"})
		if err != nil || f.Scope != "a" || f.Store.Hosts[0] != "e:2379" {
			t.Error(f, err)
		}
	})
	t.Run("environment alone", func(t *testing.T) {
		f, w, err := Load("", []string{"PATRONI_SCOPE=b"})
		if err != nil || f.Scope != "b" || len(w) > 0 {
			t.Error(f, w, err)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		if _, _, err := Load("/nonexistent/x.yml", nil); err == nil || !strings.Contains(err.Error(), "/nonexistent/x.yml") {
			t.Error(err)
		}
		f, _, err := Load("", nil)
		if err != nil {
			t.Fatal(err)
		}
		var p Problems
		if !errors.As(f.Check(ForAgent), &p) || len(p) != 4 {
			t.Errorf("an empty configuration lacks scope, store, name and data_dir, but got %v", p)
		}
	})
}

func TestCheckWitness(t *testing.T) {
	f, _, err := Load("", []string{"MATRIARCH_EMBEDDED_DATA_DIR=/w", "MATRIARCH_EMBEDDED_PARTNERS=127.0.0.1:2380,127.0.0.1:3380"})
	if err != nil || f.Check(ForWitness) != nil || len(f.Store.Embedded.Members()) != 2 {
		t.Error(f, err)
	}
}

// Every variable of the schema reaches its setting, with either prefix.
func TestEveryVariableHasItsEffect(t *testing.T) {
	for name, f := range envNames() {
		value := map[typ]string{tBool: "on", tInt: "7", tTime: "7s", tList: "h:1,h:2", tLines: "a b,c d",
			tMap: "a: b", tOptions: "a,b", tHost: "h:1", tText: "word", tAny: "[{name: a}]", tItems: "[{name: a}]"}[f.typ]
		if len(f.enum) > 0 {
			value = f.enum[0]
		}
		for _, prefix := range prefixes() {
			r := &report{}
			root := fromEnv([]string{prefix + name + "=" + value}, r)
			n := root.get(f.path)
			if n == nil || len(r.warnings)+len(r.problems) > 0 {
				t.Fatalf("%s%s=%s: %v %v", prefix, name, value, n, r)
			}
			if n.origin != "env "+prefix+name {
				t.Errorf("origin %q", n.origin)
			}
			if want, ok := map[typ]kind{tList: list, tMap: mapping}[f.typ]; ok && n.kind != want {
				t.Errorf("%s is of kind %d", name, n.kind)
			}
		}
	}
}

// The variables that the reference documents, each with its setting.
func TestReferenceVariables(t *testing.T) {
	names := envNames()
	for name, path := range map[string]string{
		"NAMESPACE": "namespace", "THREAD_POOL_SIZE": "thread_pool_size", "LOGLEVEL": "log.level",
		"LOG_MAX_QUEUE_SIZE": "log.max_queue_size", "RESTAPI_USERNAME": "restapi.authentication.username",
		"RESTAPI_ALLOWLIST_INCLUDE_MEMBERS": "restapi.allowlist_include_members",
		"RESTAPI_HTTPS_EXTRA_HEADERS":       "restapi.https_extra_headers", "CTL_PASSWORD": "ctl.authentication.password",
		"CTL_INSECURE": "ctl.insecure", "POSTGRESQL_DATA_DIR": "postgresql.data_dir",
		"POSTGRESQL_BIN_PG_CTL": "postgresql.bin_name.pg_ctl", "POSTGRESQL_BIN_DIR": "postgresql.bin_dir",
		"POSTGRESQL_PGPASS": "postgresql.pgpass", "SUPERUSER_USERNAME": "postgresql.authentication.superuser.username",
		"REPLICATION_SSLMODE": "postgresql.authentication.replication.sslmode",
		"REWIND_PASSWORD":     "postgresql.authentication.rewind.password",
		"ETCD3_HOSTS":         "etcd3.hosts", "ETCD_SRV_SUFFIX": "etcd.srv_suffix", "ZOOKEEPER_SET_ACLS": "zookeeper.set_acls",
		"ZOOKEEPER_AUTH_DATA": "zookeeper.auth_data", "ZOOKEEPER_USE_SSL": "zookeeper.use_ssl",
		"CONSUL_TOKEN": "consul.token", "KUBERNETES_LABELS": "kubernetes.labels", "RAFT_PARTNER_ADDRS": "raft.partner_addrs",
		"CITUS_GROUP": "citus.group", "STATE_DIR": "matriarch.state_dir", "PROXY_HOLD_TIMEOUT": "proxy.hold_timeout",
		"EMBEDDED_LISTEN_PEER": "embedded.listen_peer", "GUARD_FENCE_BUDGET": "matriarch.guard.fence_budget",
	} {
		if got := names[name].path; got != path {
			t.Errorf("%s stands for %q, want %q", name, got, path)
		}
	}
}

func TestEnvironmentTyping(t *testing.T) {
	f, w, err := Load("", []string{
		"PATRONI_SCOPE=s", "PATRONI_EMPTY=", "PATRONI_NAME=",
		"PATRONI_ZOOKEEPER_HOSTS='zk1:2181','zk2:2181'", "PATRONI_ZOOKEEPER_AUTH_DATA=digest: user:hidden-one",
		"PATRONI_ZOOKEEPER_SET_ACLS=x509:CN=a: [CREATE, READ]",
		"PATRONI_SUPERUSER_USERNAME=postgres", "PATRONI_SUPERUSER_PASSWORD=hidden-two: {",
		"PATRONI_RESTAPI_ALLOWLIST=10.0.0.0/8, ::1", "PATRONI_RESTAPI_HTTP_EXTRA_HEADERS=X-A: 1",
		"PATRONI_CTL_INSECURE=on", "PATRONI_POSTGRESQL_DATADIR=/x", "PATRONI_SERVICE_HOST=1.2.3.4",
	})
	if err != nil {
		t.Fatal(err)
	}
	tell(t, f, w, err)
	if len(w) != 1 || !strings.Contains(w[0].Text, "PATRONI_POSTGRESQL_DATA_DIR") {
		t.Errorf("warnings %v", w)
	}
	if f.Postgres.Superuser.Password.Reveal() != "hidden-two: {" || !f.Ctl.Insecure {
		t.Error("password or flag lost")
	}
	want := StoreSection{Kind: "zookeeper", Hosts: []string{"zk1:2181", "zk2:2181"}, TLS: TLS{Verify: true}, TickTime: 2 * time.Second,
		SetACLs:  []ACL{{"x509:CN=a", []string{"CREATE", "READ"}}},
		AuthData: []Auth{{"digest", "user:hidden-one"}}}
	if d := cmp.Diff(want, f.Store); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"10.0.0.0/8", "::1"}, f.RestAPI.Allowlist); d != "" {
		t.Error(d)
	}
}

func TestTickTime(t *testing.T) {
	for written, want := range map[string]time.Duration{"2000ms": 2 * time.Second, "3": 3 * time.Second, "0.5s": 500 * time.Millisecond,
		"0": 0, "-1s": 0, "0.1ms": 0, "61s": 0, "2000": 0, "fast": 0} {
		f, _, err := Load("", []string{"MATRIARCH_SCOPE=s", "MATRIARCH_ZOOKEEPER_HOSTS=zk1", "MATRIARCH_ZOOKEEPER_TICK_TIME=" + written})
		switch {
		case want == 0 && (err == nil || !strings.Contains(err.Error(), "zookeeper.tick_time")):
			t.Errorf("%s was accepted: %v", written, err)
		case want > 0 && (err != nil || f.Store.TickTime != want):
			t.Errorf("%s: read %v, want %v: %v", written, f, want, err)
		}
	}
}

func TestNamesOfPartnersAgree(t *testing.T) {
	all := []string{"10.0.0.1:2380", "10.0.0.2:2380", "[fd00::3]:2380"}
	var seen []Partner
	for i, self := range all {
		host, port, _ := splitHostPort(self, "")
		partners := append(append([]string{}, all[:i]...), all[i+1:]...)
		f, _, err := Load("", []string{"MATRIARCH_SCOPE=a", "MATRIARCH_EMBEDDED_LISTEN_PEER=0.0.0.0:" + port,
			"MATRIARCH_EMBEDDED_ADVERTISE=" + host, "MATRIARCH_EMBEDDED_PARTNERS=" + strings.Join(partners, ",")})
		if err != nil {
			t.Fatal(err)
		}
		members := f.Store.Embedded.Members()
		if i > 0 && !cmp.Equal(seen, members) {
			t.Error(cmp.Diff(seen, members))
		}
		seen = members
	}
	if len(seen) != 3 || seen[0] != (Partner{"10.0.0.1-2380", "10.0.0.1:2380", "10.0.0.1:2379"}) {
		t.Errorf("members %v", seen)
	}
}

func TestKernelFenceWords(t *testing.T) {
	for word, want := range map[string]string{"off": "off", "'off'": "off", "false": "off", "required": "required", "Automatic": "automatic"} {
		if f := read(t, "name: n1\nscope: s\nembedded: {}\nmatriarch: {kernel_fence: "+word+"}\n"); f.Matriarch.KernelFence != want {
			t.Errorf("%s is read as %q", word, f.Matriarch.KernelFence)
		}
	}
}
