package app

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/config"
)

// Loggers made before a change follow it, with what was added to them.
func TestLogsFollowAChange(t *testing.T) {
	var out bytes.Buffer
	logs := NewLogs(&out, config.Log{Level: "warning"})
	log := logs.Logger().With("member", "n1").WithGroup("g")
	log.Info("too little")
	if out.Len() != 0 {
		t.Errorf("logged %q", out.String())
	}
	logs.Change(config.Log{Level: "debug"})
	log.Debug("now it is said", "a", 1)
	if got := out.String(); !strings.Contains(got, "DEBUG now it is said member=n1 g.a=1\n") {
		t.Errorf("logged %q", got)
	}
	out.Reset()
	logs.Change(config.Log{Level: "info", Type: "json"})
	log.Info("as JSON", "a", 1)
	var line struct {
		Msg, Member string
		G           struct{ A int }
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Msg != "as JSON" || line.Member != "n1" || line.G.A != 1 {
		t.Errorf("%q: %+v, %v", out.String(), line, err)
	}
}
