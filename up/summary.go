package up

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// summarize prints who leads, how to connect, and what to try.
func (r *runner) summarize() {
	p := r.plan
	lead := leaderOf(r.seen)
	s := Summary{Scope: p.Scope, Dir: p.dir, Leader: p.members[lead].name, Config: p.members[0].file(),
		ReadWrite: uri(p.entry, p.passFile()), ReadOnly: uri(p.entry+1, p.passFile())}
	for _, m := range p.servers() {
		s.REST = append(s.REST, m.base())
	}
	r.screen.say("complete")
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s is up after %.1f s: %s leads", p.Scope, time.Since(r.screen.begun).Seconds(), s.Leader)
	if p.Members > 1 {
		fmt.Fprintf(&b, ", %d follow%s.\n\n", p.Members-1, map[bool]string{true: "s"}[p.Members == 2])
	} else {
		b.WriteString(". One server is not highly available.\n\n")
	}
	for i, m := range p.servers() {
		fmt.Fprintf(&b, "  %-4s %-32s PostgreSQL %-16s REST %s\n", m.name, r.told[i].words, at(m.pg), m.base())
	}
	fmt.Fprintf(&b, "\nConnect:\n  psql %q\n  psql %q   # read-only\n", s.ReadWrite, s.ReadOnly)
	me := r.commandName()
	config := shell(s.Config)
	fmt.Fprintf(&b, "\nTry next, in another terminal:\n  %s -c %s list\n", me, config)
	if p.Members > 1 {
		fmt.Fprintf(&b, "  %s -c %s switchover\n", me, config)
		fmt.Fprintf(&b, "  kill -9 $(head -1 %s)   # %s's server\n", shell(filepath.Join(p.members[lead].data(), "postmaster.pid")), s.Leader)
	}
	fmt.Fprintf(&b, "  curl -s %s/cluster\n", p.members[0].base())
	fmt.Fprintf(&b, "  curl -s http://%s/   # the entrypoint: servers, sessions, numbers\n", at(p.stats))
	fmt.Fprintf(&b, "\nLogs are %s. Ctrl-C stops everything; the same command brings it back with its data.\n",
		filepath.Join(p.dir, "*", "*.log"))
	r.screen.text(b.String())
	r.screen.mu.Lock()
	r.screen.ready = true
	r.screen.mu.Unlock()
	if r.opt.Ready != nil {
		r.opt.Ready(s)
	}
}

// commandName is how a person calls this program from here.
func (r *runner) commandName() string {
	name := filepath.Base(r.opt.Program)
	if found, err := exec.LookPath(name); err == nil && found == r.opt.Program {
		return name
	}
	return shell(r.opt.Program)
}

// shell quotes a word for a shell where that is needed.
func shell(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,:@%") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
