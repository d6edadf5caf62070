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
	q.heap = append(q.heap, event{at, q.seq, fn})
	i := len(q.heap) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !q.less(i, up) {
			break
		}
		q.heap[i], q.heap[up] = q.heap[up], q.heap[i]
		i = up
	}
}

func (q *queue) pop() event {
	top := q.heap[0]
	last := len(q.heap) - 1
	q.heap[0] = q.heap[last]
	q.heap[last] = event{}
	q.heap = q.heap[:last]
	for i := 0; ; {
		least, l, r := i, 2*i+1, 2*i+2
		if l < last && q.less(l, least) {
			least = l
		}
		if r < last && q.less(r, least) {
			least = r
		}
		if least == i {
			return top
		}
		q.heap[i], q.heap[least] = q.heap[least], q.heap[i]
		i = least
	}
}

func (q *queue) less(i, j int) bool {
	a, b := &q.heap[i], &q.heap[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}
