package zookeeper

import (
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

// TestConfirm: a request proves nothing but those that are a tick older.
func TestConfirm(t *testing.T) {
	const tick = 2 * time.Second
	at := func(s float64) boot.Instant { return boot.Instant(100e9 + s*1e9) }
	l := &link{proved: at(0)} // the connect request proves itself
	for _, c := range []struct{ sent, proves float64 }{
		{0.1, 0}, {1.0, 0}, {2.0, 0}, {2.1, 0.1}, {2.9, 0.1}, {3.5, 1.0}, {3.6, 1.0}, {9, 3.6}, {10.9, 3.6}, {11, 9},
	} {
		if got := l.confirm(at(c.sent), tick); got != at(c.proves) {
			t.Errorf("the request of %v proves %v, want %v", c.sent, time.Duration(got-at(0)), c.proves)
		}
	}
}

func TestConfig(t *testing.T) {
	good := Config{Hosts: []string{"h:1"}, Prefix: "/x"}
	if c, err := good.complete(); err != nil || c.TickTime != DefaultTickTime || c.RequestTimeout != DefaultRequestTimeout {
		t.Errorf("%+v %v", c, err)
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.Hosts = nil }, func(c *Config) { c.Hosts = []string{"h"} }, func(c *Config) { c.Prefix = "x" },
		func(c *Config) { c.Prefix = "/x/" }, func(c *Config) { c.ACL = []ACL{{Scheme: "world", ID: "anyone", Permissions: []string{"SOME"}}} },
	} {
		bad := good
		change(&bad)
		if _, err := bad.complete(); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}
