package sim

import "time"

// event is something that happens at one instant of true time. Events of one
// instant happen in the order in which they were planned, so that a seed has
// one course only.
type event struct {
	at  time.Duration
	seq uint64
	fn  func()
}

// queue is a binary heap of events. It is written out because container/heap
// boxes every event, and the queue is the hottest thing here.
type queue struct {
	heap []event
	seq  uint64
}

func (q *queue) push(at time.Duration, fn func()) {
	q.seq++
	e := event{at, q.seq, fn}
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !e.before(&q.heap[up]) {
			break
		}
		q.heap[i] = q.heap[up]
		i = up
	}
	q.heap[i] = e
}

func (q *queue) pop() event {
	top := q.heap[0]
	last := len(q.heap) - 1
	e := q.heap[last]
	q.heap[last] = event{}
	q.heap = q.heap[:last]
	if last > 0 {
		q.sink(e)
	}
	return top
}

// sink puts an event in at the top, which is free.
func (q *queue) sink(e event) {
	h, i := q.heap, 0
	for {
		least := 2*i + 1
		if least >= len(h) {
			break
		}
		if r := least + 1; r < len(h) && h[r].before(&h[least]) {
			least = r
		}
		if !h[least].before(&e) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = e
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }
