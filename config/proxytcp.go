package config

import "time"

// ProxyTCP is how the entrypoint notices peers that are gone.
type ProxyTCP struct {
	Client, Server     KeepAlive
	ReplicaUserTimeout time.Duration // bytes to a replica may stay unacknowledged; default 30 s
}

// KeepAlive is how a silent peer is asked whether it is there.
type KeepAlive struct {
	Idle, Interval time.Duration // before the first probe, between two
	Count          int           // of unanswered ones
}

func tcpFields() []field {
	var out []field
	for _, side := range []string{"client", "server"} {
		out = append(out, duration(side+"_keepalive_idle"), duration(side+"_keepalive_interval"), within(side+"_keepalive_count", 1, 127))
	}
	return append(out, duration("replica_user_timeout"))
}

func decodeTCP(d reader, r *report) ProxyTCP {
	side := func(name string, idle, interval time.Duration, count int64) KeepAlive {
		name += "_keepalive_"
		return KeepAlive{r.atLeastSecond(d, name+"idle", idle), r.atLeastSecond(d, name+"interval", interval), int(d.int(name+"count", "", count))}
	}
	return ProxyTCP{Client: side("client", time.Minute, 15*time.Second, 4), Server: side("server", 15*time.Second, 5*time.Second, 3),
		ReplicaUserTimeout: r.atLeastSecond(d, "replica_user_timeout", 30*time.Second)}
}

// atLeastSecond reads a time of proxy.tcp: the kernel counts probes in seconds, and has
// no use for none or for days.
func (r *report) atLeastSecond(d reader, key string, def time.Duration) time.Duration {
	v := d.duration(key, def)
	if v < time.Second || v > 9*time.Hour {
		r.problem("proxy.tcp."+key, d.n.get(key), "must be between 1s and 9h", "write a time such as "+def.String())
	}
	return v
}
