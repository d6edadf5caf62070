package chaos

import (
	"os"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestChaosBites: a frozen host without the kernel's fence tells of commits when
// another leads (docs/limits.md). Clients and checker must find that, or they
// would find nothing.
func TestChaosBites(t *testing.T) {
	if os.Getenv("MATRIARCH_SLOW") != "1" {
		t.Skip("takes long: set MATRIARCH_SLOW=1")
	}
	defer func(was string) { kernelFence = was }(kernelFence)
	kernelFence = "off"
	s := Draw(1, time.Minute)
	s.Synchronous = false
	w := newWorld(t, s, lab.StoreKind(*store))
	old := w.leader()
	freeze := &struck{m: old, span: span{from: now()}}
	w.active = append(w.active, freeze)
	if err := faultNamed("host-freeze").strike(w, freeze); err != nil {
		t.Fatal(err)
	}
	lab.Until(t, 60*time.Second, "rows accepted by another", func() string {
		if w.leader() != old {
			return ""
		}
		return w.c.Tails(6)
	})
	w.end(freeze)
	w.heal()
	wrong := checkOnePrimary(reigns(w.acks()), w.stalls.lateness, nil)
	if len(wrong) == 0 {
		t.Fatal("no commit of the frozen host was told late, or none was found: this shows nothing")
	}
	t.Logf("found, as it must be: %s", wrong[0])
}
