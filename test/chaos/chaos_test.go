package chaos

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

var (
	seed   = flag.Uint64("seed", 20, "of the schedule")
	seeds  = flag.Int("seeds", 1, "how many, from that one on")
	length = flag.Duration("length", 0, "of the schedule; 0: as the test has it")
	fence  = flag.String("kernel_fence", "", "the members' setting of that name; with off, commits of a frozen host are told late, and that must be found")
	store  = flag.String("store", "embedded", "embedded, zookeeper or etcd3")
)

// TestChaos is the long run.
func TestChaos(t *testing.T) {
	if os.Getenv("MATRIARCH_SLOW") != "1" {
		t.Skip("takes long: set MATRIARCH_SLOW=1")
	}
	chaos(t, "TestChaos", 10*time.Minute)
}

// TestShortChaos is the same for little more than a minute.
func TestShortChaos(t *testing.T) {
	if os.Getenv("MATRIARCH_CHAOS") != "1" {
		t.Skip("takes minutes: set MATRIARCH_CHAOS=1")
	}
	chaos(t, "TestShortChaos", 75*time.Second)
}

func chaos(t *testing.T, test string, usual time.Duration) {
	kernelFence = *fence
	if *length == 0 {
		*length = usual
	}
	var mu sync.Mutex
	var all []*judged
	t.Run("seeds", func(t *testing.T) { // which ends when all have ended
		for n := range *seeds {
			at := *seed + uint64(n)
			t.Run(fmt.Sprint(at), func(t *testing.T) {
				t.Parallel()
				w := run(t, Draw(at, *length), lab.StoreKind(*store))
				mu.Lock()
				defer mu.Unlock()
				all = append(all, &w.judged)
				if len(w.findings) == 0 {
					return
				}
				for _, f := range w.findings {
					t.Errorf("%s violated: %s", f.invariant, f.text)
				}
				t.Logf("again: MATRIARCH_SLOW=1 MATRIARCH_CHAOS=1 go test ./test/chaos -count=1 -timeout 2h -v -run '^%s$' -seed=%d -length=%s -store=%s", test, at, *length, *store)
			})
		}
	})
	t.Logf("faults × invariants\n\n%s", Table(all))
	if path := os.Getenv("MATRIARCH_CHAOS_TABLE"); path != "" {
		if err := os.WriteFile(path, []byte(Table(all)+"\n"), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// lastRound is what a round, its healing and the end of all take at most.
const lastRound = 5 * time.Minute

// run drives a cluster through a schedule, until something is violated.
func run(t *testing.T, s Schedule, store lab.StoreKind) *world {
	t.Logf("%s, %s", store, s)
	w := newWorld(t, s, store)
	w.judged.sync = s.Synchronous
	for i, r := range s.Rounds {
		if end, limited := t.Deadline(); limited && time.Until(end) < lastRound {
			// What was checked is told, and nothing is left running.
			t.Logf("ended after %d of %d rounds: -timeout leaves no time for another", i, len(s.Rounds))
			break
		}
		w.round = i
		w.judged.of(i)
		from := now()
		w.note("round %d", i+1)
		w.faultsOf(r)
		w.heal()
		w.pauses = append(w.pauses, w.pausedSince(from)...)
		w.look()
		if len(w.findings) > 0 {
			return w
		}
	}
	w.stopClients()
	w.finish()
	t.Logf("seed %d: %d rows acknowledged, %d lost, %d timelines, at most %.1f s from healing to a write", s.Seed, w.judged.acked, len(w.lost), w.judged.reign, w.judged.slow.Seconds())
	return w
}
