package chaos

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// fault is one kind of trouble. strike brings it about for the member and says
// what was done; what undoes it, and what it does to packets, is left in the
// struck. It returns an error when it cannot be had now.
type fault struct {
	name   string
	strike func(w *world, s *struck) error
}

// faults is every kind, in the order of the report. It is filled by init, since
// some look into it.
var faults []fault

func init() {
	faults = slices.Concat(processFaults, networkFaults, storeFaults, diskFaults, peopleFaults)
}

func names() []string {
	var out []string
	for _, f := range faults {
		out = append(out, f.name)
	}
	return out
}

func faultNamed(name string) fault {
	i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
	return faults[i]
}

// struck is a fault at work.
type struck struct {
	Step
	m    *lab.Member
	span span
	what string // in words
	// rules are of packet filters, by host; off lifts them for a while.
	rules map[*lab.Host][]string
	off   bool
	undo  func()
}

var processFaults = []fault{
	{"agent-stop", func(w *world, s *struck) error { return stop(s, s.m.Roles("agent")) }},
	{"agent-kill", func(w *world, s *struck) error {
		s.undo = func() { w.ensureAgent(s.m) }
		w.killed[s.m] = true
		return kill(s, s.m.Roles("agent"))
	}},
	{"guard-stop", func(w *world, s *struck) error { return stop(s, s.m.Roles("guard")) }},
	{"guard-kill", func(w *world, s *struck) error { return kill(s, s.m.Roles("guard")) }},
	{"agent-guard-kill", func(w *world, s *struck) error {
		s.undo = func() { w.ensureAgent(s.m) }
		w.killed[s.m] = true
		agent := s.m.Roles("agent")
		for _, pid := range agent {
			_ = syscall.Kill(pid, syscall.SIGSTOP) // so that it starts no other guard
		}
		return kill(s, append(s.m.Roles("guard"), agent...))
	}},
	{"postmaster-stop", func(w *world, s *struck) error { return stop(s, some(s.m.Postmaster())) }},
	{"postmaster-kill", func(w *world, s *struck) error { return kill(s, some(s.m.Postmaster())) }},
	{"backend-stop", func(w *world, s *struck) error { return stop(s, backend(s)) }},
	{"backend-kill", func(w *world, s *struck) error { return kill(s, backend(s)) }},
	{"host-freeze", func(w *world, s *struck) error {
		s.m.Stop()
		w.frozen[s.m] = true
		s.what = "every process stopped"
		s.undo = func() { w.thaw(s.m, s.Draw%2 == 0) }
		return nil
	}},
	{"power-off", func(w *world, s *struck) error {
		_ = w.throttle(s.m, 0) // nobody dies while the kernel holds up its write
		w.killed[s.m] = true
		s.m.PowerOff()
		s.what = "every process killed, link down"
		s.undo = func() {
			_, _ = s.m.Run("nft", "flush", "ruleset") // nothing outlives a reboot
			s.m.PowerOn()
			w.filter(s.m.Host)
			w.link(s.m)
			w.ensureAgent(s.m)
		}
		return nil
	}},
	{"entry-stop", func(w *world, s *struck) error { return stop(s, w.c.Entry.Roles("proxy")) }},
	{"entry-kill", func(w *world, s *struck) error {
		s.undo = w.ensureEntry
		return kill(s, w.c.Entry.Roles("proxy"))
	}},
}

func some(pid int) []int {
	if pid == 0 {
		return nil
	}
	return []int{pid}
}

func stop(s *struck, pids []int) error {
	s.undo = func() { s.m.Continue(pids...) }
	return signal(s, pids, syscall.SIGSTOP)
}

func kill(s *struck, pids []int) error { return signal(s, pids, syscall.SIGKILL) }

func signal(s *struck, pids []int, sig syscall.Signal) error {
	if len(pids) == 0 {
		return fmt.Errorf("there is no such process on %s", s.m.Name)
	}
	var told []string
	for _, pid := range pids {
		told = append(told, fmt.Sprintf("%d %q", pid, title(pid)))
		_ = syscall.Kill(pid, sig)
	}
	s.what = sig.String() + " " + strings.Join(told, ", ")
	return nil
}

// title is a process's command line, as PostgreSQL's processes write theirs.
func title(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	text := strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
	return text[:min(len(text), 50)]
}

// backend is one of the server's processes beside the postmaster.
func backend(s *struck) []int {
	all := slices.DeleteFunc(s.m.Postgres(), func(pid int) bool { return pid == s.m.Postmaster() })
	if len(all) == 0 {
		return nil
	}
	return some(all[s.Draw%uint64(len(all))])
}

// thaw lets a host go on: in the worst order, with the server well before all that
// could stop it, or at once.
func (w *world) thaw(m *lab.Member, serverFirst bool) {
	delete(w.frozen, m)
	if serverFirst {
		m.Continue(m.Postgres()...)
		time.Sleep(300 * time.Millisecond) // part of the fault
	}
	m.Continue(m.Pids()...)
	w.ensureAgent(m)
}

var diskFaults = []fault{
	{"disk-full", func(w *world, s *struck) error {
		if s.m = w.having(s.m, func(m *lab.Member) bool { return w.s.Tmpfs[m.Index] }); s.m == nil {
			return fmt.Errorf("no member's data are on a small file system")
		}
		file := s.m.Dir() + "/pg/ballast"
		f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		s.undo = func() { _ = os.Remove(file) }
		block := make([]byte, 1<<20)
		for size := len(block); size >= 512; size /= 2 {
			for err = nil; err == nil; {
				_, err = f.Write(block[:size])
			}
		}
		s.what = "the file system of data, log and state filled"
		return nil
	}},
	{"disk-slow", func(w *world, s *struck) error {
		if s.m = w.having(s.m, func(m *lab.Member) bool { return !w.s.Tmpfs[m.Index] }); s.m == nil {
			return fmt.Errorf("no member's data are on a disk")
		}
		iops := 5 + int(s.Draw%40)
		s.undo = func() { _ = w.throttle(s.m, 0) }
		s.what = fmt.Sprintf("%d writes a second", iops)
		return w.throttle(s.m, iops)
	}},
}

// having is the member if it has what the fault needs, else the first other.
func (w *world) having(m *lab.Member, fit func(*lab.Member) bool) *lab.Member {
	for _, other := range append([]*lab.Member{m}, w.c.Members...) {
		if fit(other) && !w.frozen[other] && !other.Off() {
			return other
		}
	}
	return nil
}

// throttle limits the writes of all that runs on the host now, and of all that
// this starts; 0 is no limit.
func (w *world) throttle(m *lab.Member, iops int) error {
	group := "/sys/fs/cgroup/blkio/" + m.Namespace()
	if iops == 0 {
		if _, err := os.Stat(group); err != nil {
			return nil
		}
	} else if err := os.Mkdir(group, 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	var st syscall.Stat_t
	if err := syscall.Stat(m.Dir(), &st); err != nil {
		return err
	}
	dev := fmt.Sprintf("%d:%d", (st.Dev>>8)&0xfff, st.Dev&0xff|(st.Dev>>12)&0xfff00)
	if iops > 0 {
		for _, pid := range m.Pids() {
			_ = os.WriteFile(group+"/cgroup.procs", fmt.Append(nil, pid), 0)
		}
	}
	return os.WriteFile(group+"/blkio.throttle.write_iops_device", fmt.Appendf(nil, "%s %d", dev, iops), 0)
}
