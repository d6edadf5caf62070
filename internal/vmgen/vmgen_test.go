package vmgen

import (
	"context"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListen(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	kernel := os.NewFile(uintptr(pair[1]), "kernel")
	defer kernel.Close()
	ctx, cancel := context.WithCancel(t.Context())
	heard, done := make(chan bool, 8), make(chan error, 1)
	go func() {
		done <- listen(ctx, os.NewFile(uintptr(pair[0]), "events"), func() { heard <- true })
	}()
	for _, event := range []string{
		"add@/devices/virtual/net/v0\x00ACTION=add\x00SUBSYSTEM=net\x00",
		"change@/devices/x\x00NEW_VMGENID=10\x00XNEW_VMGENID=1\x00",
		"change@/devices/platform/QEMUVGID:00\x00ACTION=change\x00NEW_VMGENID=1\x00SEQNUM=77\x00",
	} {
		if _, err := kernel.Write([]byte(event)); err != nil {
			t.Fatal(err)
		}
	}
	<-heard
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(heard) > 0 {
		t.Error("other events count, too")
	}
}

// The kernel lets this process listen, or it says why not; either ends with ctx.
func TestWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Watch(ctx, func() {}) }()
	cancel()
	if err := <-done; err != nil {
		t.Log(err)
	}
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte("change@/x\x00NEW_VMGENID=1\x00"))
	f.Fuzz(func(_ *testing.T, event []byte) { isNewGeneration(event) })
}
