package zookeeper

import (
	"context"
	"time"
)

// checkTick warns, once, when the servers' tickTime seems to be longer than the
// one that all confirmations are counted with. Servers do not tell it, but by
// default their shortest session is two ticks long, and whoever asks for less is
// given that. The session made for the question runs out by itself.
func (s *Store) checkTick(ctx context.Context, addr string) {
	s.mu.Lock()
	known := s.tickChecked
	s.mu.Unlock()
	if known {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	l, err := open(ctx, addr, s.client.cfg, s.clk, time.Millisecond, nil, true)
	if err != nil {
		return // asked again with the next session
	}
	l.kill()
	s.mu.Lock()
	known, s.tickChecked = s.tickChecked, true
	s.mu.Unlock()
	if shortest, tick := l.wire.granted, s.client.cfg.TickTime; shortest > 2*tick && !known {
		s.client.cfg.Logger.Warn("the store's shortest session suggests a longer tickTime than zookeeper.tick_time says, "+
			"and a lease would be counted too long: set zookeeper.tick_time to the tickTime of the ZooKeeper servers",
			"server", addr, "shortest_session", shortest, "suggested", shortest/2, "tick_time", tick)
	}
}
