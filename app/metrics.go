package app

import (
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/matriarch-ha/matriarch/agent"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/proxy"
)

// statistics counts what the parts of one process do, for GET /metrics.
type statistics struct {
	gather   prometheus.Gatherer
	register prometheus.Registerer

	turns   prometheus.Histogram
	rules   *prometheus.CounterVec
	tasks   *prometheus.HistogramVec
	store   *prometheus.HistogramVec
	margins prometheus.Histogram
}

var _ agent.Recorder = (*statistics)(nil)

func newStatistics(scope, name string) *statistics {
	r := prometheus.NewRegistry()
	s := &statistics{
		gather: r, register: prometheus.WrapRegistererWith(prometheus.Labels{"scope": scope, "name": name}, r),
		turns: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "matriarch_turn_duration_seconds",
			Help: "Time that one turn of the loop took.", Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}),
		rules: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "matriarch_rule_firings_total",
			Help: "Turns that a rule decided."}, []string{"rule"}),
		tasks: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "matriarch_task_duration_seconds",
			Help: "Time that a long action took until it ended.", Buckets: []float64{.1, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200}},
			[]string{"task", "outcome"}),
		store: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "matriarch_store_request_duration_seconds",
			Help: "Time that a request to the store took.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}},
			[]string{"request", "outcome"}),
		margins: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "matriarch_lease_margin_seconds",
			Help:    "Time that was left before the soft deadline when the leader's lease was renewed.",
			Buckets: []float64{0, .5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60}}),
	}
	s.register.MustRegister(s.turns, s.rules, s.tasks, s.store, s.margins)
	return s
}

// Turn counts a turn of the agent's loop.
func (s *statistics) Turn(took time.Duration, rule ha.RuleID) {
	s.turns.Observe(took.Seconds())
	s.rules.WithLabelValues(string(rule)).Inc()
}

// Task counts a long action that ended.
func (s *statistics) Task(kind ha.TaskKind, took time.Duration, err error) {
	outcome := "done"
	if err != nil {
		outcome = "failed"
	}
	s.tasks.WithLabelValues(string(kind), outcome).Observe(took.Seconds())
}

// measured counts what is asked of the store.
func (s *statistics) measured(store dcs.Store) dcs.Store {
	return dcs.Measured(store, func(op, outcome string, took time.Duration) {
		s.store.WithLabelValues(op, outcome).Observe(took.Seconds())
	})
}

func (s *statistics) renewed(left time.Duration) { s.margins.Observe(left.Seconds()) }

func (s *statistics) gauge(name, help string, read func() float64) {
	s.register.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// watch shows the guard and the hard deadline of an agent.
func (s *statistics) watch(a *agent.Agent, clk clock.Clock) {
	flag := func(on bool) float64 {
		if on {
			return 1
		}
		return 0
	}
	s.gauge("matriarch_guard_required", "Value is 1 if a primary may run under a guard only, 0 otherwise.",
		func() float64 { return flag(a.Snapshot().Observation.Guard.Required) })
	s.gauge("matriarch_guard_running", "Value is 1 if the guard process runs, 0 otherwise.",
		func() float64 { return flag(a.Snapshot().Observation.Guard.Running) })
	s.gauge("matriarch_guard_mute", "Value is 1 if the guard did not acknowledge the newest deadline, 0 otherwise.",
		func() float64 { return flag(a.Lease().GuardError != "") })
	s.gauge("matriarch_guard_armed_seconds", "Seconds until the guard would stop the server, 0 when it is not armed.",
		func() float64 {
			if armed := a.Lease().Armed; !armed.IsZero() {
				return max(0, armed.Sub(clk.Now()).Seconds())
			}
			return 0
		})
}

// entrypoint shows the numbers of the entrypoint that runs in this process.
func (s *statistics) entrypoint(stats func() proxy.Stats) {
	s.register.MustRegister(proxy.NewCollector(stats))
}

// Write writes everything in the text format.
func (s *statistics) Write(w io.Writer) error {
	families, err := s.gather.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return err
		}
	}
	return nil
}
