package proxy

import (
	"net"
	"runtime"
	"testing"
)

// BenchmarkIdle measures what an idle session keeps in memory: the heap and the stacks
// of the whole process, of which the client and the fake server have their part. What
// they take without an entrypoint is measured as direct.
func BenchmarkIdle(b *testing.B) {
	p, f := startTLS(b, nil)
	a := newMember(b, "a", "primary", long)
	a.reached = make(chan string, 1<<20)
	f.send(b, "a", a)
	for _, way := range []struct {
		name string
		addr net.Addr
		open func(testing.TB, net.Addr) *client
	}{{"direct", a.ln.Addr(), connect}, {"plain", p.Addr(), connect}, {"tls", p.Addr(), connectTLS}} {
		b.Run(way.name, func(b *testing.B) {
			way.open(b, way.addr).c.Close() // what is made once
			const sessions = 200
			for b.Loop() {
				before := inUse()
				var open []*client
				for range sessions {
					open = append(open, way.open(b, way.addr))
				}
				b.ReportMetric(float64(inUse()-before)/sessions, "bytes/session")
				for _, c := range open {
					c.c.Close()
				}
			}
		})
	}
}

func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // pools are emptied by the second
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
