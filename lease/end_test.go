package lease

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
)

// A renewal that is under way when the keeper ends is no fault of the store.
func TestEndDuringARenewalIsNoFault(t *testing.T) {
	for _, c := range []struct {
		what fault
		told bool
	}{{hangBefore, false}, {down, true}} {
		var log bytes.Buffer
		run(t, func(w *world) { w.log = slog.New(slog.NewTextHandler(&log, nil)) }, func(t *testing.T, w *world) {
			w.take()
			asked := make(chan struct{}, 100)
			w.store.setFaults(func(op string) fault {
				if op != "renew" {
					return none
				}
				asked <- struct{}{}
				return c.what
			})
			<-asked
			synctest.Wait()
			if err := w.k.Close(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := strings.Contains(log.String(), "store does not serve the lease"); got != c.told {
				t.Errorf("told: %t, not %t:\n%s", got, c.told, &log)
			}
		})
	}
}
