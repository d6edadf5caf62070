package up

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/matriarch-ha/matriarch/internal/proc"
)

// pollHold is how often it is looked whether a hold has ended.
const pollHold = 200 * time.Millisecond

// hold is a wish that a member's processes stay down although they are kept: a
// drill that cuts the power of a member must not see it come back after half a
// second. It counts while the process that wrote it lives, and until its time
// is over, so that nothing can leave a member down.
type hold struct {
	Holder pidRecord `json:"holder"`
	Until  time.Time `json:"until"`
	Store  bool      `json:"store"` // the member's vote too, not only its agent
}

func (m member) holdFile() string { return filepath.Join(m.dir, "hold.json") }

// heldDown says who wants a member's agent (or its vote) to stay down, empty for
// nobody.
func heldDown(m member, store bool) string {
	var h hold
	if readJSON(m.holdFile(), &h) != nil || store && !h.Store || !time.Now().Before(h.Until) || !h.Holder.Alive() {
		return ""
	}
	return fmt.Sprintf("a drill (process %d) keeps it so, until %s at the latest", h.Holder.PID, h.Until.Format("15:04:05"))
}

// holdDown begins a hold of this process.
func holdDown(m member, store bool, within time.Duration) error {
	if who := heldDown(m, false); who != "" {
		return fmt.Errorf("%s is held down already: %s", m.name, who)
	}
	self, err := proc.Of(os.Getpid())
	if err != nil {
		return err
	}
	return writeJSON(m.holdFile(), hold{Holder: self, Until: time.Now().Add(within), Store: store})
}

// release ends a hold.
func release(file string) error {
	if filepath.Base(file) != "hold.json" {
		return fmt.Errorf("%s is no hold", file)
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
