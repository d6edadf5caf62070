package zookeeper

import (
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

// TestConfirm: a request proves nothing but those that were answered a tick
// before it was sent. A request that was long on its way is proven later: the
// server reported to the leader after it came, not after it was sent.
func TestConfirm(t *testing.T) {
	const tick = 2 * time.Second
	at := func(s float64) boot.Instant { return boot.Instant(100e9 + s*1e9) }
	l := &link{proved: at(0)} // the connect request proves itself
	for _, c := range []struct{ sent, answered, proves float64 }{
		{0.1, 0.1, 0}, {1.0, 1.0, 0}, {2.0, 2.0, 0}, {2.1, 2.1, 0.1}, {2.9, 2.9, 0.1}, {3.5, 3.5, 1.0}, {3.6, 3.6, 1.0},
		{9, 9, 3.6}, {10.9, 10.9, 3.6}, {11, 12.5, 9}, {13.1, 13.1, 10.9}, {14.4, 14.4, 10.9}, {14.5, 14.5, 11},
	} {
		if got := l.confirm(at(c.sent), at(c.answered), tick); got != at(c.proves) {
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
