package layout

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
)

// How times are written: scheduled ones, and when the postmaster was started.
const (
	scheduleLayout = "2006-01-02T15:04:05.999999-07:00"
	startLayout    = "2006-01-02 15:04:05.999999-07:00"
)

func writeScheduledRestart(w *writer, r cluster.ScheduledRestart) {
	if !r.Present() {
		return
	}
	w.name("scheduled_restart")
	w.open('{')
	w.stringField("schedule", r.At.Format(scheduleLayout))
	if !r.PostmasterStart.IsZero() {
		w.stringField("postmaster_start_time", r.PostmasterStart.UTC().Format(startLayout))
	}
	c := r.Conditions
	w.optString("role", string(c.Role))
	if c.OlderThan > 0 {
		w.stringField("postgres_version", versionText(c.OlderThan))
	}
	w.optUint("timeout", uint64(c.Timeout/time.Second))
	w.optTrue("restart_pending", c.OnlyPending)
	w.close('}')
}

func decodeScheduledRestart(raw json.RawMessage) cluster.ScheduledRestart {
	o, ok := parseObject(string(raw))
	if !ok {
		return cluster.ScheduledRestart{}
	}
	at, err := time.Parse(time.RFC3339, o.str("schedule"))
	if err != nil {
		return cluster.ScheduledRestart{}
	}
	r := cluster.ScheduledRestart{At: at, Conditions: cluster.RestartConditions{
		Role: decodeRole(o.str("role")), OlderThan: versionNumber(o.str("postgres_version")),
		OnlyPending: o.truthy("restart_pending"), Timeout: time.Duration(o.uint("timeout", 31)) * time.Second,
	}}
	if start, err := time.Parse(startLayout, o.str("postmaster_start_time")); err == nil {
		r.PostmasterStart = start
	}
	return r
}

// versionText turns 150018 into 15.18 and 90602 into 9.6.2.
func versionText(n int) string {
	if n >= 100000 {
		return fmt.Sprintf("%d.%d", n/10000, n%10000)
	}
	return fmt.Sprintf("%d.%d.%d", n/10000, n/100%100, n%100)
}

// versionNumber is the opposite; 0 for what is no version.
func versionNumber(text string) int {
	var part [3]int
	for i, p := range strings.SplitN(text, ".", 3) {
		n, err := strconv.ParseUint(p, 10, 13)
		if err != nil {
			return 0
		}
		part[i] = int(n)
	}
	if part[0] >= 10 {
		return part[0]*10000 + part[1]
	}
	return part[0]*10000 + part[1]*100 + part[2]
}
