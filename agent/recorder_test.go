package agent

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
)

// counted is a Recorder that remembers.
type counted struct {
	mu    sync.Mutex
	rules map[ha.RuleID]int
	tasks map[ha.TaskKind]int
	bad   int // failed tasks, and negative durations
}

func (c *counted) Turn(took time.Duration, rule ha.RuleID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rules[rule]++
	if took < 0 {
		c.bad++
	}
}

func (c *counted) Task(kind ha.TaskKind, took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tasks[kind]++
	if took < 0 || err != nil {
		c.bad++
	}
}

// TestRecorderIsTold: founding a cluster shows as turns of several rules and as
// the task that made it.
func TestRecorderIsTold(t *testing.T) {
	c := &counted{rules: map[ha.RuleID]int{}, tasks: map[ha.TaskKind]int{}}
	inBubble(t, func(o *Options) { o.Recorder = c }, func(t *testing.T, r *rig) {
		alone(r)
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.rules) < 3 || c.tasks[ha.Bootstrap] != 1 || c.bad != 0 {
			t.Errorf("rules %v, tasks %v, %d wrong", slices.Sorted(maps.Keys(c.rules)), c.tasks, c.bad)
		}
	})
}
