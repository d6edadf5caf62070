package etcdembed

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The figures of doc.go: go test -run '^$' -bench . -benchtime 5x ./dcs/etcdembed

// BenchmarkFounding is the time from starting three processes on empty
// directories to the last one being ready, and what each then holds in memory.
func BenchmarkFounding(b *testing.B) {
	const idle = 5 * time.Second
	var rss, pss, cpu float64
	for range b.N {
		b.StopTimer()
		h := newHerd(b, 3)
		b.StartTimer()
		h.start(h.nodes...)
		h.ready(h.nodes...)
		b.StopTimer()
		for _, n := range h.nodes {
			cpu -= cpuSeconds(b, n.sup.State().PID) / 3
		}
		time.Sleep(idle) // idle is a state over time
		for _, n := range h.nodes {
			cpu += cpuSeconds(b, n.sup.State().PID) / 3
			r, p := memory(b, n.sup.State().PID)
			rss, pss = rss+r/3, pss+p/3
		}
		for _, n := range h.nodes {
			h.stop(n)
		}
	}
	b.ReportMetric(rss/float64(b.N), "MB-RSS/member")
	b.ReportMetric(pss/float64(b.N), "MB-PSS/member")
	b.ReportMetric(cpu/float64(b.N)*float64(time.Minute/idle), "s-CPU/member/min")
}

// BenchmarkLeaderKilled is the time from SIGKILL of the store's leader to the
// first confirmed write.
func BenchmarkLeaderKilled(b *testing.B) {
	var worst time.Duration
	for range b.N {
		b.StopTimer()
		h := newHerd(b, 3)
		h.start(h.nodes...)
		h.ready(h.nodes...)
		h.put("/k", "v")
		a := h.nodes[0].cfg.Access()
		st := h.inspectUntil(a, func(s Status) bool { return s.Leader != "" && s.Up() == 3 })
		leader := h.nodes[slices.IndexFunc(h.nodes, func(n *node) bool { return n.cfg.Name == st.Leader })]
		b.StartTimer()
		begun := time.Now()
		h.kill(leader)
		h.put("/k", "v2")
		b.StopTimer()
		worst = max(worst, time.Since(begun))
		for _, n := range h.nodes {
			h.stop(n)
		}
	}
	b.ReportMetric(worst.Seconds(), "s-worst")
}

// BenchmarkRejoin is the time from starting a member without its directory to
// its being a voter again.
func BenchmarkRejoin(b *testing.B) {
	for range b.N {
		b.StopTimer()
		h := newHerd(b, 3)
		h.start(h.nodes...)
		h.ready(h.nodes...)
		h.kill(h.nodes[2])
		if err := os.RemoveAll(h.nodes[2].cfg.DataDir); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		h.start(h.nodes[2])
		h.ready(h.nodes[2])
		b.StopTimer()
		for _, n := range h.nodes {
			h.stop(n)
		}
	}
}

// memory reads the resident and the proportional set size in megabytes.
func memory(t testing.TB, pid int) (rss, pss float64) {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var kb float64
		if name, rest, _ := strings.Cut(sc.Text(), ":"); name == "Rss" || name == "Pss" {
			fmt.Sscan(rest, &kb)
			if name == "Rss" {
				rss = kb / 1024
			} else {
				pss = kb / 1024
			}
		}
	}
	return rss, pss
}

// cpuSeconds is the time that a process has spent on a processor, in user and
// kernel mode, counted by the kernel in hundredths of a second.
func cpuSeconds(t testing.TB, pid int) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')'):]))
	var user, system float64
	fmt.Sscan(fields[12], &user)
	fmt.Sscan(fields[13], &system)
	return (user + system) / 100
}
