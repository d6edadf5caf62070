package proxy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/route"
)

// BenchmarkPgbench compares prepared single-row reads over a direct connection,
// through the entrypoint, and through HAProxy, in one run on one machine. It
// runs each once per iteration: use -benchtime 1x.
func BenchmarkPgbench(b *testing.B) {
	addr := startPostgres(b)
	p, f := start(b, nil)
	f.send(b, "a", withServer(b, "a", "primary", long, addr))
	bin := pgBin(b)
	if out, err := exec.Command(bin+"/pgbench", "-i", "-q", "-s", "2", "postgres://postgres@"+addr+"/postgres").CombinedOutput(); err != nil {
		b.Fatalf("pgbench -i: %v\n%s", err, out)
	}
	haproxy := startHAProxy(b, addr)
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("c=%d", clients), func(b *testing.B) {
			for b.Loop() {
				direct := pgbenchTPS(b, bin, addr, clients)
				ours := pgbenchTPS(b, bin, p.Addr().String(), clients)
				b.ReportMetric(direct, "direct-tps")
				b.ReportMetric(ours, "tps")
				b.ReportMetric(ours/direct, "of-direct")
				if haproxy != "" {
					theirs := pgbenchTPS(b, bin, haproxy, clients)
					b.ReportMetric(theirs, "haproxy-tps")
					b.ReportMetric(ours/theirs, "of-haproxy")
				}
			}
		})
	}
}

var tpsLine = regexp.MustCompile(`tps = ([0-9.]+) \(without`)

func pgbenchTPS(b *testing.B, bin, addr string, clients int) float64 {
	b.Helper()
	out, err := exec.Command(bin+"/pgbench", "-n", "-S", "-M", "prepared", "-T", "4", "-c", strconv.Itoa(clients), "-j", "1",
		"postgres://postgres@"+addr+"/postgres?sslmode=disable").CombinedOutput()
	m := tpsLine.FindSubmatch(out)
	if err != nil || m == nil {
		b.Fatalf("pgbench: %v\n%s", err, out)
	}
	tps, _ := strconv.ParseFloat(string(m[1]), 64)
	return tps
}

// startHAProxy starts HAProxy in front of the server, or returns "" where it is
// not installed.
func startHAProxy(b *testing.B, server string) string {
	b.Helper()
	bin, err := exec.LookPath("haproxy")
	if err != nil {
		return ""
	}
	addr := "127.0.0.1:" + strconv.Itoa(freePort(b))
	conf := filepath.Join(b.TempDir(), "haproxy.cfg")
	text := "global\n maxconn 200\ndefaults\n mode tcp\n timeout client 30m\n timeout connect 4s\n timeout server 30m\nlisten p\n bind " +
		addr + "\n server s " + server + "\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(bin, "-db", "-f", conf)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	eventually(b, "HAProxy listens", func() bool {
		return exec.Command(pgBin(b)+"/pg_isready", "-q", "-d", "postgres://postgres@"+addr+"/postgres").Run() == nil
	})
	return addr
}

// BenchmarkGate is what the check before each write costs.
func BenchmarkGate(b *testing.B) {
	g := newGate(route.Backend{}, clock.Real{}, clock.Real{}.Now().Add(time.Hour))
	for b.Loop() {
		g.open()
	}
}
