package config

import (
	"strings"
	"testing"
)

// A socket in the data directory makes pg_rewind fail on either side.
func TestSocketsStayOutOfTheDataDirectory(t *testing.T) {
	for _, k := range []struct{ dirs, rewind, want string }{
		{".", "on", "/srv/n1.matriarch"},
		{"./sockets", "on", "/srv/n1.matriarch"},
		{"/srv/n1", "on", "/srv/n1.matriarch"},
		{"/run/postgresql, .", "on", "/run/postgresql,/srv/n1.matriarch"},
		{".", "off", "."},
		{"..", "on", ".."},
		{"/srv/n1x", "on", "/srv/n1x"},
		{"@abstract", "on", "@abstract"},
		{"", "on", ""},
	} {
		f := mustFile(t, "scope: s\nname: n1\npostgresql: {data_dir: /srv/n1, parameters: {unix_socket_directories: '"+k.dirs+"'}}\n")
		e := MakeEffective(f, mustDynamic(t, `{"postgresql":{"use_pg_rewind":"`+k.rewind+`"}}`), "replica", 15)
		if got := get(e.Parameters, "unix_socket_directories"); got != k.want {
			t.Errorf("%q with use_pg_rewind %s: %q, want %q", k.dirs, k.rewind, got, k.want)
		}
		warned := false
		for _, w := range e.Warnings {
			warned = warned || strings.Contains(w.Text, "pg_rewind")
		}
		if warned != (k.want != k.dirs) {
			t.Errorf("%q: warned %v", k.dirs, warned)
		}
	}
}
