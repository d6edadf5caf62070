package up

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/internal/proc"
)

// TestHold: a hold counts while its holder lives and its time is not over, and
// for the vote only where that was said.
func TestHold(t *testing.T) {
	m := member{name: "n1", dir: t.TempDir()}
	held := func(store bool) bool { return heldDown(m, store) != "" }
	if held(false) || held(true) {
		t.Error("held without a hold")
	}
	if err := holdDown(m, false, time.Hour); err != nil {
		t.Fatal(err)
	}
	if !held(false) || held(true) {
		t.Error("the agent alone was to be held")
	}
	if err := holdDown(m, true, time.Hour); err == nil || !strings.Contains(err.Error(), "held down already") {
		t.Errorf("a second hold: %v", err)
	}
	for range 2 {
		if err := release(m.holdFile()); err != nil || held(false) {
			t.Errorf("released: %v, %v", err, held(false))
		}
	}
	if err := holdDown(m, true, 0); err != nil || held(false) {
		t.Errorf("a hold whose time is over: %v, %v", err, held(false))
	}
	if err := release(filepath.Join(m.dir, "n1.yml")); err == nil {
		t.Error("another file was taken for a hold")
	}
}

// TestHoldOfTheDead: a hold ends with the process that wrote it, however it ends.
func TestHoldOfTheDead(t *testing.T) {
	m := member{name: "n1", dir: t.TempDir()}
	c := exec.Command("sleep", "60")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	who, err := proc.Of(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeJSON(m.holdFile(), hold{Holder: who, Until: time.Now().Add(time.Hour), Store: true}); err != nil {
		t.Fatal(err)
	}
	if heldDown(m, true) == "" {
		t.Error("not held")
	}
	c.Process.Kill()
	c.Wait()
	if who := heldDown(m, true); who != "" {
		t.Error(who)
	}
}

// TestKeeperWaits: a process that is held is not started before it is released.
func TestKeeperWaits(t *testing.T) {
	dir := t.TempDir()
	m := member{name: "n1", dir: dir}
	if err := holdDown(m, false, time.Hour); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 100)
	k := &keeper{command: command{name: "it", program: "/bin/sleep", args: []string{"600"}, dir: dir, log: filepath.Join(dir, "log"), pid: filepath.Join(dir, "pid")},
		say: func(format string, _ ...any) { said <- format }, held: func() string { return heldDown(m, false) }}
	k.start(nil)
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		k.stop(ctx)
	}()
	if text := <-said; !strings.Contains(text, "stays down") {
		t.Errorf("said %q", text)
	}
	if _, err := os.Stat(k.pid); err == nil {
		t.Error("it was started all the same")
	}
	if err := release(m.holdFile()); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(time.Minute); !runs(k.pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it was not started after the release")
		}
	}
}

// TestSignals: a process is stopped and goes on by its record; one that has
// ended needs nothing.
func TestSignals(t *testing.T) {
	c := exec.Command("sleep", "60")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	r, err := proc.Of(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	undo := continuing(member{name: "n1"}, r)
	if err := Undoers().Do(t.Context(), *undo); err != nil {
		t.Errorf("going on: %v", err)
	}
	go c.Wait() // what has ended and was not waited for is still there
	if err := end(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := Undoers().Do(t.Context(), *undo); err != nil {
		t.Errorf("after its end: %v", err)
	}
	undo.Args["start_time"] = "1" // another process of the same number
	if err := Undoers().Do(t.Context(), *undo); err != nil {
		t.Errorf("of another: %v", err)
	}
}
