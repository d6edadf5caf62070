package layout

import (
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
)

func TestScheduledRestart(t *testing.T) {
	at := time.Date(2030, 1, 31, 12, 0, 0, 0, time.FixedZone("", 3600))
	start := time.Date(2030, 1, 1, 8, 0, 0, 123456000, time.UTC)
	full := cluster.ScheduledRestart{At: at, PostmasterStart: start, Conditions: cluster.RestartConditions{
		Role: cluster.RolePrimary, OlderThan: 150018, OnlyPending: true, Timeout: time.Minute}}
	for want, r := range map[string]cluster.ScheduledRestart{
		`{"schedule":"2030-01-31T12:00:00+01:00","postmaster_start_time":"2030-01-01 08:00:00.123456+00:00","role":"primary","postgres_version":"15.18","timeout":60,"restart_pending":true}`: full,
		`{"schedule":"2030-01-31T12:00:00+01:00"}`: {At: at},
	} {
		text := EncodeMember(cluster.Member{Name: "a", ScheduledRestart: r})
		if exp := `{"conn_url":"","api_url":"","state":"","role":"","version":"","scheduled_restart":` + want + `}`; text != exp {
			t.Errorf("got  %s\nwant %s", text, exp)
		}
		m, ok := decodeMember("a", text)
		got := m.ScheduledRestart
		if !ok || !got.At.Equal(r.At) || !got.PostmasterStart.Equal(r.PostmasterStart) || got.Conditions != r.Conditions {
			t.Errorf("read again: %+v, want %+v", got, r)
		}
	}
	for _, bad := range []string{`{"scheduled_restart":7}`, `{"scheduled_restart":{"schedule":"soon"}}`, `{"scheduled_restart":{}}`} {
		if m, ok := decodeMember("a", bad); !ok || m.ScheduledRestart.Present() {
			t.Errorf("%s: %+v", bad, m.ScheduledRestart)
		}
	}
}

func TestVersionText(t *testing.T) {
	for n, text := range map[int]string{150018: "15.18", 100000: "10.0", 90602: "9.6.2"} {
		if versionText(n) != text || versionNumber(text) != n {
			t.Errorf("%d: %s, %s: %d", n, versionText(n), text, versionNumber(text))
		}
	}
	for _, bad := range []string{"", "x", "15.x", "-1", "99999"} {
		if n := versionNumber(bad); n != 0 {
			t.Errorf("%q: %d", bad, n)
		}
	}
}
