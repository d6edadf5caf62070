package proxy

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// NewCollector shows the numbers of an entrypoint to Prometheus.
func NewCollector(read func() Stats) prometheus.Collector {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("matriarch_entrypoint_"+name, help, labels, nil)
	}
	at := []string{"port", "member"}
	return &collector{read: read,
		accepted:   describe("connections_accepted_total", "Connections accepted."),
		held:       describe("connections_held", "Connections that wait for a server now."),
		refused:    describe("connections_refused_total", "Connections turned away."),
		terminated: describe("sessions_terminated_total", "Sessions ended because their server was lost."),
		sessions:   describe("sessions", "Sessions with a member now.", "member"),
		served:     describe("sessions_total", "Sessions with a member ever.", "member"),
		in:         describe("member_in", "Value is 1 if the port uses the member, 0 otherwise.", at...),
		falls:      describe("member_falls_total", "Times that the port stopped using the member.", at...),
		failed:     describe("connect_failures_total", "Attempts to reach the member that failed.", at...),
		bytes:      describe("bytes_total", "Bytes passed on.", "port", "member", "direction"),
		connects:   describe("connect_duration_seconds", "Time from the call of a member to its first answer.", at...),
		lasted:     describe("session_duration_seconds", "Time that sessions lasted.", at...),
		hold:       describe("hold_duration_seconds", "Time that connections waited for a server.", "port"),
		delay:      describe("added_latency_seconds", "Time from having read to having sent, of every sixteenth chunk.", "port"),
	}
}

type collector struct {
	read                                                  func() Stats
	accepted, held, refused, terminated, sessions, served *prometheus.Desc
	in, falls, failed, bytes                              *prometheus.Desc
	connects, lasted, hold, delay                         *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.accepted, c.held, c.refused, c.terminated, c.sessions, c.served,
		c.in, c.falls, c.failed, c.bytes, c.connects, c.lasted, c.hold, c.delay} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	// Names come from the store, and are what anybody wrote there.
	made := func(d *prometheus.Desc, m prometheus.Metric, err error) {
		if err != nil {
			m = prometheus.NewInvalidMetric(d, err)
		}
		ch <- m
	}
	send := func(d *prometheus.Desc, kind prometheus.ValueType, n int64, labels ...string) {
		m, err := prometheus.NewConstMetric(d, kind, float64(n), valid(labels)...)
		made(d, m, err)
	}
	times := func(d *prometheus.Desc, t Times, labels ...string) {
		m, err := prometheus.NewConstHistogram(d, t.seconds.count, t.seconds.sum, t.seconds.buckets, valid(labels)...)
		made(d, m, err)
	}
	st := c.read()
	send(c.accepted, prometheus.CounterValue, st.Accepted)
	send(c.held, prometheus.GaugeValue, st.Held)
	send(c.refused, prometheus.CounterValue, st.Refused)
	send(c.terminated, prometheus.CounterValue, st.Terminated)
	for _, b := range st.Backends {
		send(c.sessions, prometheus.GaugeValue, b.Sessions, b.Member)
		send(c.served, prometheus.CounterValue, b.Served, b.Member)
	}
	for _, p := range st.Ports {
		times(c.hold, p.Hold, p.Port)
		times(c.delay, p.Delay, p.Port)
		for _, m := range p.Members {
			in := int64(0)
			if m.In {
				in = 1
			}
			send(c.in, prometheus.GaugeValue, in, p.Port, m.Member)
			send(c.falls, prometheus.CounterValue, m.Falls, p.Port, m.Member)
			send(c.failed, prometheus.CounterValue, m.Failed, p.Port, m.Member)
			send(c.bytes, prometheus.CounterValue, m.ToServer, p.Port, m.Member, "to_server")
			send(c.bytes, prometheus.CounterValue, m.ToClient, p.Port, m.Member, "to_client")
			times(c.connects, m.Connect, p.Port, m.Member)
			times(c.lasted, m.Lasted, p.Port, m.Member)
		}
	}
}

func valid(labels []string) []string {
	out := make([]string, len(labels))
	for i, l := range labels {
		out[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	return out
}
