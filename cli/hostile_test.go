package cli

import (
	"strings"
	"testing"
	"unicode"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/cluster"
)

// TestHostileMember: whatever a member says of itself, no terminal obeys it.
func TestHostileMember(t *testing.T) {
	const evil = "\x1b]0;owned\a\u009b2J"
	obeyed := func(r result) bool {
		return strings.ContainsFunc(r.out+r.err, func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\t' })
	}
	w := newWorld(t, demo())
	w.c.Change(func(v *cluster.View) {
		v.Members[1].Tags.Other = []cluster.Tag{{Name: "a\u009bb", Value: `"x` + `\u001b[2J\u009b"`}}
		v.Config.JSON = `{"ttl":30,"x":"\u001b[2J\u009b"}`
	})
	w.copied("n2", 3)
	w.edit("n2", func(s *api.Status) { s.Task, s.Progress, s.State = "clone"+evil, evil, cluster.State("x"+evil) })
	w.reply("n2 POST /restart", 503, "no"+evil)
	for _, args := range [][]string{
		{"reinit", "lab", "n2", "--force", "--wait"}, {"restart", "lab", "n2", "--force"}, {"list", "-f", "tsv"}, {"list", "-f", "yaml"}, {"list", "-e"}, {"topology"},
		{"show-config"}, {"version"}, {"edit-config", "-s", "ttl=20", "--force"},
	} {
		w.opts.timing.long = 100 * 1e6
		if r := w.run("", args...); obeyed(r) {
			t.Errorf("%v: %q", args, r.out+r.err)
		}
	}
}
