package chaos

import (
	"fmt"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// Which way packets are dropped, as the host that is cut off sees it.
const (
	inwards  = 1
	outwards = 2
	bothWays = inwards | outwards
)

var networkFaults = []fault{
	{"cut-all", func(w *world, s *struck) error { return w.cut(s, w.others(s.m), bothWays) }},
	{"cut-all-oneway", func(w *world, s *struck) error { return w.cut(s, w.others(s.m), oneWay(s)) }},
	{"cut-peer", func(w *world, s *struck) error { return w.cut(s, w.peer(s), bothWays) }},
	{"cut-peer-oneway", func(w *world, s *struck) error { return w.cut(s, w.peer(s), oneWay(s)) }},
	{"cut-store", func(w *world, s *struck) error { return w.cutStore(s, bothWays) }},
	{"cut-store-oneway", func(w *world, s *struck) error { return w.cutStore(s, oneWay(s)) }},
	{"cut-entry", func(w *world, s *struck) error { return w.cut(s, []*lab.Host{w.c.Entry}, bothWays) }},
	{"flap", func(w *world, s *struck) error {
		every := 300*time.Millisecond + time.Duration(s.Draw%900)*time.Millisecond
		var turn func()
		turn = func() {
			s.off = !s.off
			w.filter(s.m.Host)
			w.after(every, s, turn)
		}
		w.after(every, s, turn)
		err := w.cut(s, w.others(s.m), bothWays)
		s.what += fmt.Sprintf(", on and off every %d ms", every.Milliseconds())
		return err
	}},
	{"link-down", func(w *world, s *struck) error {
		w.down[s.m]++
		s.what = "link down"
		s.undo = func() {
			w.down[s.m]--
			w.link(s.m)
		}
		w.link(s.m)
		return nil
	}},
	{"loss", func(w *world, s *struck) error {
		percent := 10 + s.Draw%50
		rule := fmt.Sprintf(" iifname eth0 numgen random mod 100 < %d drop", percent)
		s.rules = map[*lab.Host][]string{s.m.Host: {"in" + rule, "out" + strings.Replace(rule, "iifname", "oifname", 1)}}
		s.what = fmt.Sprintf("%d %% of the packets lost, each way", percent)
		return w.filter(s.m.Host)
	}},
	{"slow-net", func(w *world, s *struck) error {
		// What a direct writer hears late by this must stay well below the second
		// that lies between a fence and the end of the lease.
		kbit, delay := 100+int(s.Draw%400), time.Duration(100+s.Draw%300)*time.Millisecond
		s.what = fmt.Sprintf("%d kbit/s, delayed up to %s", kbit, delay)
		s.undo = func() { _ = s.m.Slow(0, 0) }
		return s.m.Slow(kbit, delay)
	}},
}

func oneWay(s *struck) int { return 1 + int(s.Draw>>8)%2 }

// others are all hosts of the cluster but the member's; not this process's, which
// watches.
func (w *world) others(m *lab.Member) []*lab.Host {
	var out []*lab.Host
	for _, o := range w.c.Others(m) {
		out = append(out, o.Host)
	}
	out = append(out, w.c.Entry)
	if h := w.c.StoreHost(); h != nil {
		out = append(out, h)
	}
	return out
}

func (w *world) peer(s *struck) []*lab.Host {
	others := w.c.Others(s.m)
	return []*lab.Host{others[s.Draw%uint64(len(others))].Host}
}

// cut drops what passes between the member's host and others.
func (w *world) cut(s *struck, from []*lab.Host, ways int) error {
	var rules, told []string
	for _, h := range from {
		told = append(told, h.Name)
		rules = append(rules, drop(ways, h.IP, "")...)
	}
	s.what = fmt.Sprintf("cut off from %s, %s", strings.Join(told, ", "), direction(ways))
	s.rules = map[*lab.Host][]string{s.m.Host: rules}
	return w.filter(s.m.Host)
}

func (w *world) cutStore(s *struck, ways int) error {
	if h := w.c.StoreHost(); h != nil {
		return w.cut(s, []*lab.Host{h}, ways)
	}
	// Its own vote it still reaches, but that has no majority.
	var rules []string
	for _, o := range w.c.Others(s.m) {
		rules = append(rules, drop(ways, o.IP, "tcp sport { 2379, 2380 } ")...)
		rules = append(rules, drop(ways, o.IP, "tcp dport { 2379, 2380 } ")...)
	}
	s.what = "cut off from the other votes of the store, " + direction(ways)
	s.rules = map[*lab.Host][]string{s.m.Host: rules}
	return w.filter(s.m.Host)
}

func drop(ways int, ip, which string) (rules []string) {
	if ways&inwards != 0 {
		rules = append(rules, fmt.Sprintf("in ip saddr %s %sdrop", ip, which))
	}
	if ways&outwards != 0 {
		rules = append(rules, fmt.Sprintf("out ip daddr %s %sdrop", ip, which))
	}
	return rules
}

func direction(ways int) string {
	return map[int]string{inwards: "hearing nothing", outwards: "unheard", bothWays: "both ways"}[ways]
}

// filter lays the rules of all faults at work on a host.
func (w *world) filter(h *lab.Host) error {
	var rules []string
	for _, s := range w.active {
		if !s.off {
			rules = append(rules, s.rules[h]...)
		}
	}
	return h.Filter(rules)
}

// link sets the link as the faults at work want it.
func (w *world) link(m *lab.Member) {
	if w.down[m] > 0 || m.Off() {
		m.Unplug()
	} else {
		m.Plug()
	}
}

var storeFaults = []fault{
	{"store-kill", func(w *world, s *struck) error {
		if w.c.StoreHost() == nil {
			return kill(s, s.m.Roles("store"))
		}
		w.c.KillStore()
		w.storeDown = true
		s.what = "the store killed"
		s.undo = w.ensureStore
		return nil
	}},
	{"store-stop", func(w *world, s *struck) error {
		if h := w.c.StoreHost(); h != nil {
			return stop(s, h.Pids())
		}
		return stop(s, s.m.Roles("store"))
	}},
}
