package app

import (
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/guard"
)

// An agent whose program was replaced by a newer one starts that one's guard.
func TestGuardArguments(t *testing.T) {
	want := guard.Duty{DataDir: "/data", Port: 5432, KernelFence: guard.KernelFenceRequired,
		Grace: 3 * time.Second, CleanStop: 1500 * time.Millisecond, Handover: "/state/guard.sock"}
	if d, err := dutyOf(guardArgs(want)[1:]); d != want || err != nil {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := dutyOf([]string{"/data"}); d.DataDir != "/data" || d.KernelFence != guard.KernelFenceOff || err != nil {
		t.Errorf("of the release before: %+v, %v", d, err)
	}
	if d, err := dutyOf([]string{"/data", "5432", "off"}); d.Port != 5432 || d.Grace >= 0 || d.Handover != "" || err != nil {
		t.Errorf("of the release before: %+v, %v", d, err)
	}
	for _, args := range [][]string{{"/data", "5432"}, {"/data", "x", "off"}, {"/data", "65536", "off"},
		{"/data", "5432", "off", "3s"}, {"/data", "5432", "off", "3", "2s", "/s"}} {
		if d, err := dutyOf(args); err == nil {
			t.Errorf("%q: %+v", args, d)
		}
	}
	c := guardCommand()
	if err := c.Args(c, []string{"/data"}); err != nil {
		t.Error(err)
	}
}
