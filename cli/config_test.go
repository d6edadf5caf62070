package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/api/apitest"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

func TestShowConfig(t *testing.T) {
	w := newWorld(t, demo())
	w.run("", "show-config").want(t, 0, `loop_wait: 1
postgresql:
  parameters:
    log_min_messages: log
    max_connections: 200
  use_pg_rewind: true
ttl: 30
`, "")
	w.c.Change(func(v *cluster.View) { v.Config = cluster.Config{} })
	w.run("", "show-config").want(t, 0, "", "")
	w.run("", "edit-config", "-s", "a=1", "--force").contains(t, 1, "no dynamic configuration")
}

func TestEditConfigByOptions(t *testing.T) {
	w := newWorld(t, demo())
	w.run("y\n", "edit-config", "-s", "ttl=20", "-s", "postgresql.use_pg_rewind=null", "-p", "my.guc=on", "-p", "max_connections=").want(t, 0, `--- 
+++ 
@@ -2,7 +2,6 @@
 postgresql:
   parameters:
     log_min_messages: log
-    max_connections: 200
-  use_pg_rewind: true
-ttl: 30
+    my.guc: true
+ttl: 20
Apply these changes? [y/N]: Configuration changed
`, "Warning: ttl: loop_wait + 2 * retry_timeout must not exceed ttl (20s); loop_wait 1s and retry_timeout 9s are used\n")
	if got := w.c.View().Config.JSON; got != `{"ttl":20,"loop_wait":1,"postgresql":{"parameters":{"log_min_messages":"log","my.guc":true}}}` {
		t.Errorf("stored %s", got)
	}
	w.run("", "edit-config", "-s", "ttl=20", "--force").want(t, 0, "Not changed\n", "")
	w.run("", "edit-config", "-q", "-p", "my.guc=", "-p", "log_min_messages=", "--force").want(t, 0, "Configuration changed\n", "")
	if got := w.c.View().Config.JSON; got != `{"ttl":20,"loop_wait":1}` {
		t.Errorf("emptied mappings stay: %s", got)
	}
	w.run("", "edit-config", "-s", "nonsense").contains(t, 2, "want KEY=VALUE")
	w.run("n\n", "edit-config", "-q", "-s", "ttl=40").want(t, 0, "Apply these changes? [y/N]: ", "")
	w.run("", "edit-config", "-q", "-s", "ttl=40").contains(t, 1, "Aborted!")
	if got := w.c.View().Config.JSON; got != `{"ttl":20,"loop_wait":1}` {
		t.Errorf("not confirmed, but stored %s", got)
	}
}

// TestEditConfigWarns: of what the change brings, not of what was there.
func TestEditConfigWarns(t *testing.T) {
	w := newWorld(t, demo())
	w.run("", "edit-config", "-q", "-s", "lop_wait=5", "-p", "max_connections=3", "--force").want(t, 0, "Configuration changed\n",
		"Warning: lop_wait: unknown setting, it has no effect; did you mean loop_wait?\n"+
			"Warning: postgresql.parameters.max_connections: \"3\" is not usable; the default 100 is used\n")
	w.run("", "edit-config", "-q", "-s", "primary_race_backoff=3", "--force").contains(t, 0, "Configuration changed", "Warning: primary_race_backoff: ")
	w.run("", "edit-config", "-q", "-s", "ttl=31", "--force").want(t, 0, "Configuration changed\n", "")
	w.run("n\n", "edit-config", "-q", "-s", "ttl=never").contains(t, 0, "Warning: ttl", `"never"`, "Apply these changes?")
}

func TestEditConfigFromFiles(t *testing.T) {
	w := newWorld(t, demo())
	w.run("ttl: 25\n", "edit-config", "--apply", "-").contains(t, 0, "+ttl: 25", "Use --force option to apply changes")
	w.run("ttl: 25\nloop_wait: null\n", "edit-config", "-q", "--apply", "-", "--force").contains(t, 0, "Configuration changed\n")
	if got := w.c.View().Config.JSON; !strings.HasPrefix(got, `{"ttl":25,"postgresql"`) {
		t.Errorf("stored %s", got)
	}
	path := filepath.Join(t.TempDir(), "new.yml")
	if err := os.WriteFile(path, []byte("ttl: 30\nslots:\n  a: {type: physical}\nlist: [1, 'x']\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run("", "edit-config", "-q", "--replace", path, "--force").want(t, 0, "Configuration changed\n",
		"Warning: list: unknown setting, it has no effect\nWarning: slots: is not supported yet and has no effect\n")
	if got := w.c.View().Config.JSON; got != `{"ttl":30,"slots":{"a":{"type":"physical"}},"list":[1,"x"]}` {
		t.Errorf("stored %s", got)
	}
	w.run("- a\n", "edit-config", "--apply", "-", "--force").contains(t, 1, "want a mapping")
	w.run("a: [\n", "edit-config", "--apply", "-", "--force").want(t, 1, "", "Error: not valid YAML: standard input:1:4: sequence end token ']' not found")
	// What stands there may be a password.
	w.run("a: {password: \"geheim\n", "edit-config", "--apply", "-", "--force").want(t, 1, "",
		"Error: not valid YAML: standard input:1:15: could not find end character of double-quoted text")
	w.run("", "edit-config", "-s", "a=[geheim").contains(t, 2, "value of a: not valid YAML: the value:1:1: ")
}

func TestEditConfigInAnEditor(t *testing.T) {
	w := newWorld(t, demo())
	script := filepath.Join(t.TempDir(), "edit.sh")
	write := func(text string) {
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.opts.Env = append(w.opts.Env, "EDITOR="+script+" --wait")
	write(`[ "$1" = --wait ] && [ "$(stat -c %a "$2")" = 600 ] && sed -i s/ttl:.*/ttl:\ 21/ "$2"`)
	w.run("y\n", "edit-config").contains(t, 0, "-ttl: 30\n+ttl: 21\n", "Configuration changed")
	write("exit 3")
	w.run("y\n", "edit-config").contains(t, 1, "exit status 3")
}

func TestEditConfigConcurrently(t *testing.T) {
	w := newWorld(t, demo())
	script := filepath.Join(t.TempDir(), "edit.sh")
	other := filepath.Join(filepath.Dir(script), "other")
	text := "#!/bin/sh\nsed -i s/ttl:.*/ttl:\\ 21/ $1\n> " + other + "\nwhile [ -e " + other + " ]; do sleep 0.01; done\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	w.opts.Env = append(w.opts.Env, "EDITOR="+script)
	done := make(chan result, 1)
	go func() { done <- w.run("", "edit-config", "--force") }()
	for {
		if _, err := os.Stat(other); err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.c.Change(func(v *cluster.View) { v.Config.JSON, v.Config.Version = `{"ttl":99}`, "999" })
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	r := <-done
	r.contains(t, 1, "Config modification aborted due to concurrent changes")
	if got := w.c.View().Config.JSON; got != `{"ttl":99}` {
		t.Errorf("stored %s", got)
	}
}

func TestPauseAndResume(t *testing.T) {
	w := newWorld(t, demo())
	w.run("", "resume").want(t, 1, "", "Error: Cluster is not paused")
	w.run("", "pause", "--wait").want(t, 0, "'pause' request sent, waiting until it is recognized by all nodes\nSuccess: cluster management is paused\n", "")
	w.run("", "pause").want(t, 1, "", "Error: Cluster is already paused")
	if got := w.c.View().Config.JSON; !strings.HasSuffix(got, `,"pause":true}`) {
		t.Errorf("stored %s", got)
	}
	w.edit("n2", func(s *api.Status) { s.Settings.Paused = true })
	text := "'resume' request sent, waiting until it is recognized by all nodes\nn2 members didn't recognized resume state after 2 seconds\n"
	w.run("", "resume", "--wait").want(t, 3, text, "")
}

func TestPauseRefused(t *testing.T) {
	c := demo()
	w := newWorld(t, c)
	m := &apitest.Member{Name: "n1", C: c}
	hs := apitest.Serve(t, m, func(o *api.Options) { o.Policy = api.Policy{Username: "a", Password: "b"} })
	w.url = hs.URL
	w.run("", "pause").want(t, 1, "Failed: pause cluster management status code=401, (no auth header received)\n", "")
	w.opts.Patronictl = true
	w.run("", "pause").want(t, 0, "Failed: pause cluster management status code=401, (no auth header received)\n", "")
}

func TestYAMLText(t *testing.T) {
	for _, c := range []struct{ json, yaml string }{
		{`{"b":"on","a":"10","c":"1.5","d":"10.0.0.1","e":"","f":null,"g":true,"h":"a: b","i":"it's","j":"%m [%p] ","k":"x\ny"}`,
			"a: '10'\nb: 'on'\nc: '1.5'\nd: 10.0.0.1\ne: ''\nf: null\ng: true\nh: 'a: b'\ni: it's\nj: '%m [%p] '\nk: \"x\\ny\"\n"},
		{`{"l":[1,{"z":1,"a":[]},["x"]],"m":{},"n":{"o":{"p":[]}}}`, "l:\n- 1\n- a: []\n  z: 1\n- - x\nm: {}\n\"n\":\n  o:\n    p: []\n"},
		{`"2024-05-01T10:00:00+00:00"`, "'2024-05-01T10:00:00+00:00'\n"},
		{`["-","- a","-a","#a","a #b","12:30","0x1f","1_0","~","é"]`, "- '-'\n- '- a'\n- -a\n- '#a'\n- 'a #b'\n- '12:30'\n- '0x1f'\n- '1_0'\n- '~'\n- é\n"},
	} {
		v, err := pyjson.Parse([]byte(c.json))
		if err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll(c.yaml, `"n":`, `'n':`)
		if got := toYAML(v); got != want {
			t.Errorf("%s\n got\n%s want\n%s", c.json, got, want)
		}
		back, err := fromYAML("t", []byte(toYAML(v)))
		if err != nil || !pyjson.Equal(back, v) {
			t.Errorf("%s: read back as %#v, %v", c.json, back, err)
		}
	}
}

// FuzzYAML: what is written can be read, and means the same.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{`{"a":[{"b":"c"}]}`, `"? x"`, `["!a","&a","*a","@a",":a","a:","|"," a","a "]`, `{"":{"a b":1e3}}`, `"\u0085\u2028"`, `"---"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := pyjson.Parse([]byte(text))
		if err != nil || strings.ContainsAny(text, "eE.0123456789\\") {
			return // numbers may come back in another notation
		}
		written := toYAML(v)
		back, err := fromYAML("t", []byte(written))
		if err != nil || !pyjson.Equal(back, v) {
			t.Errorf("%q written as %q, read back as %#v, %v", text, written, back, err)
		}
	})
}
