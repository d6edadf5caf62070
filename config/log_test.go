package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func loadLog(t *testing.T, yaml string, env ...string) (Log, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "member.yml")
	if err := os.WriteFile(path, []byte("scope: x\nname: n\netcd3: {hosts: ['h:1']}\n"+yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	f, warnings, err := Load(path, env)
	if err != nil {
		return Log{}, "", err
	}
	var all []string
	for _, w := range warnings {
		all = append(all, w.String())
	}
	return f.Log, strings.Join(all, "\n"), nil
}

func TestLogFormats(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		want       []LogPart
	}{
		{"none", "log: {level: INFO}", nil},
		{"text", "log: {format: '%(asctime)s [%(levelname)-8s] 100%% %(lineno)04d: %(message)s'}", []LogPart{
			{Field: "asctime", As: "asctime", Verb: "s"}, {Text: " ["}, {Field: "levelname", As: "levelname", Verb: "-8s"}, {Text: "] 100"}, {Text: "%"}, {Text: " "},
			{Field: "lineno", As: "lineno", Verb: "04d"}, {Text: ": "}, {Field: "message", As: "message", Verb: "s"}}},
		{"list", "log:\n  type: json\n  format: [asctime, {levelname: level}, message]", []LogPart{
			{Field: "asctime", As: "asctime", Verb: "s"}, {Field: "levelname", As: "level", Verb: "s"}, {Field: "message", As: "message", Verb: "s"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, warnings, err := loadLog(t, c.yaml)
			if err != nil || warnings != "" {
				t.Fatal(err, warnings)
			}
			if d := cmp.Diff(c.want, l.Format); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLogFromTheEnvironment(t *testing.T) {
	l, warnings, err := loadLog(t, "", "PATRONI_LOG_TYPE=json", "PATRONI_LOG_LEVEL=DEBUG", "PATRONI_LOG_FORMAT=[message, {levelname: level}]",
		"PATRONI_LOG_DATEFORMAT=%H:%M", "PATRONI_LOG_STATIC_FIELDS={app: patroni}", "PATRONI_LOG_MAX_QUEUE_SIZE=7", "PATRONI_LOG_DIR=/d",
		"PATRONI_LOG_MODE=0640", "PATRONI_LOG_FILE_SIZE=1000", "PATRONI_LOG_FILE_NUM=2", "PATRONI_LOG_LOGGERS={postgres: WARNING}",
		"PATRONI_LOG_DEDUPLICATE_HEARTBEAT_LOGS=true", "MATRIARCH_LOG_HEARTBEAT=on", "PATRONI_LOG_TRACEBACK_LEVEL=ERROR")
	if err != nil || warnings != "" {
		t.Fatal(err, warnings)
	}
	want := Log{Level: "debug", Type: "json", DateFormat: "%H:%M", Dir: "/d", FileNum: 2, FileSize: 1000, FileMode: 0o640, QueueSize: 7,
		StaticFields: []Param{{"app", "patroni"}}, Loggers: []Param{{"postgres", "WARNING"}}, Heartbeat: true, Deduplicate: true,
		Format: []LogPart{{Field: "message", As: "message", Verb: "s"}, {Field: "levelname", As: "level", Verb: "s"}}}
	if d := cmp.Diff(want, l); d != "" {
		t.Error(d)
	}
	l, warnings, err = loadLog(t, "", "PATRONI_LOG_FORMAT=%(asctime)s %(levelname)s: %(message)s")
	if err != nil || warnings != "" || len(l.Format) != 5 {
		t.Error(err, warnings, l.Format)
	}
}

func TestLogMistakes(t *testing.T) {
	for _, c := range []struct{ yaml, want string }{
		{"log: {format: '%(asctime)s %d'}", "without the (name)"},
		{"log: {format: '%(asctime'}", "without the (name)"},
		{"log: {format: '%(message)'}", "without a conversion"},
		{"log: {format: '%(message)99999s'}", "wider than 999"},
		{"log: {type: json, format: [[message]]}", "must be a field's name"},
		{"log: {dateformat: '%H:%M:%q'}", "%q"},
		{"log: {loggers: {postgres: LOUD}}", "log.loggers.postgres"},
		{"log: {mode: 1000}", "at most 511"},
		{"log: {level: LOUD}", "must be one of debug"},
	} {
		if _, _, err := loadLog(t, c.yaml); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.yaml, err, c.want)
		}
	}
	l, warnings, err := loadLog(t, "log: {format: [message]}")
	if err != nil || l.Format != nil || !strings.Contains(warnings, "for log.type json") {
		t.Error(err, l.Format, warnings)
	}
	_, warnings, err = loadLog(t, "log:\n  format: '%(levelnam)s'\n  loggers: {patroni.ha: DEBUG, dcs/etcd: DEBUG, matriarch.postgres.probe: INFO}")
	if err != nil || !strings.Contains(warnings, "did you mean levelname?") || !strings.Contains(warnings, "patroni.ha") || strings.Count(warnings, "\n") != 1 {
		t.Error(err, warnings)
	}
}
