package watchdog

import (
	"errors"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/watchdog/dogtest"
)

// TestKernelDevice: every call by way of the kernel.
func TestKernelDevice(t *testing.T) {
	m := &dogtest.Model{}
	path := dogtest.Mount(t, m)
	if err := Usable(path); err != nil || m.State().Active {
		t.Fatalf("asking whether it is usable: %v, %+v", err, m.State())
	}
	d, err := openDevice(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openDevice(path); err == nil || m.State().Left <= 0 {
		t.Errorf("opened twice: %v", err)
	}
	if got, err := d.SetTimeout(7 * time.Second); err != nil || got != 7*time.Second || m.Timeout() != got {
		t.Errorf("timeout %v (%v), in the device %v", got, err, m.Timeout())
	}
	before := m.State().Pings
	if err := d.Ping(); err != nil || m.State().Pings != before+1 || !d.Stoppable() {
		t.Errorf("ping: %v, %+v", err, m.State())
	}
	if err := d.Stop(); err != nil || m.State().Active {
		t.Errorf("stop: %v, %+v", err, m.State())
	}
	if err := d.Close(true); err != nil {
		t.Error(err)
	}
	eventually(t, "it is closed", func() bool { return !m.State().Open })
	if m.State().Active {
		t.Error("it runs")
	}
}

func TestKernelDeviceThatCannotDoAll(t *testing.T) {
	m := &dogtest.Model{NoWayOut: true, Fixed: true, Default: 9 * time.Second}
	d, err := openDevice(dogtest.Mount(t, m))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.SetTimeout(time.Second); !errors.Is(err, ErrFixed) || got != 9*time.Second {
		t.Errorf("a fixed timeout: %v %v", got, err)
	}
	if err := d.Stop(); !errors.Is(err, ErrNoWayOut) {
		t.Errorf("nowayout: %v", err)
	}
	if err := d.Close(false); err != nil {
		t.Error(err)
	}
	eventually(t, "it is closed", func() bool { return !m.State().Open })
	if !m.State().Active {
		t.Error("it was stopped")
	}

	letter := &dogtest.Model{NoOptions: true}
	if d, err = openDevice(dogtest.Mount(t, letter)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Stop(), d.Close(true)); err != nil {
		t.Error(err)
	}
	eventually(t, "the letter stopped it", func() bool { st := letter.State(); return !st.Open && !st.Active })

	mute := &dogtest.Model{NoOptions: true, NoMagic: true}
	if d, err = openDevice(dogtest.Mount(t, mute)); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(); !errors.Is(err, ErrNoWayOut) || d.Stoppable() {
		t.Errorf("a driver that knows no way to stop: %v", err)
	}
	d.Close(false)
}

func TestOpenErrors(t *testing.T) {
	for path, why := range map[string]error{"/nonexistent/watchdog": nil, "/dev/null": nil, t.TempDir(): nil} {
		if d, err := openDevice(path); err == nil {
			d.Close(true)
			t.Errorf("%s was opened as a watchdog (%v)", path, why)
		}
	}
	if Usable("/nonexistent/watchdog") == nil || Usable(t.TempDir()) == nil {
		t.Error("what is no device is said to be usable")
	}
}

// eventually waits for what another process, or the kernel, is about to do.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
