package memory

import (
	"errors"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/dcs"
)

// TestSessionEndsByTheStoresTime: not an instant earlier than granted, and its
// keys vanish with it.
func TestSessionEndsByTheStoresTime(t *testing.T) {
	c := NewCore("x")
	c.MaxTTL = 10 * time.Second
	c.Tick(100)
	id, granted := c.OpenSession(time.Minute)
	if granted != 10*time.Second {
		t.Fatalf("granted %v", granted)
	}
	if _, err := c.Put(id, "leader", "n1", dcs.Absent()); err != nil {
		t.Fatal(err)
	}
	end := boot.Instant(100).Add(granted)
	if c.NextExpiry() != end {
		t.Errorf("next expiry %d, want %d", c.NextExpiry(), end)
	}
	c.Tick(end - 1)
	if !c.Alive(id) {
		t.Fatal("the session ended early")
	}
	c.Tick(end)
	if c.Alive(id) || len(c.Snapshot().Keys) != 0 {
		t.Errorf("the session or its keys outlived it: %+v", c.Snapshot())
	}
	if _, err := c.Renew(id); !errors.Is(err, dcs.ErrSessionGone) {
		t.Errorf("renewing it gave %v", err)
	}
}

func TestDisasters(t *testing.T) {
	c := NewCore("x")
	id, _ := c.OpenSession(time.Second)
	_, _ = c.Put(id, "leader", "n1", dcs.Absent())
	before := c.Snapshot()
	b := c.Backup()
	c.EndSession(id)
	if c.Snapshot().Revision <= before.Revision {
		t.Error("a removal must count as a write")
	}
	c.Restore(b)
	if got := c.Snapshot(); got.Revision != before.Revision || len(got.Keys) != 1 || !c.Alive(id) {
		t.Errorf("restored: %+v", got)
	}
	c.Replace("y")
	if got := c.Snapshot(); got.StoreID != "y" || len(got.Keys) != 0 || c.Alive(id) {
		t.Errorf("replaced: %+v", got)
	}
}

// TestRecreatedKeyHasANewVersion: an old version never fits a key again.
func TestRecreatedKeyHasANewVersion(t *testing.T) {
	c := NewCore("x")
	v, _ := c.Put("", "k", "1", dcs.Absent())
	if err := c.Delete("k", dcs.Unchanged(v)); err != nil {
		t.Fatal(err)
	}
	w, _ := c.Put("", "k", "1", dcs.Absent())
	if _, err := c.Put("", "k", "2", dcs.Unchanged(v)); !errors.Is(err, dcs.ErrConflict) {
		t.Errorf("the version of a deleted key was accepted: %v", err)
	}
	if v == w {
		t.Error("two lives of one key have one version")
	}
}
