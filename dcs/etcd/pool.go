package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

const (
	// hedgeDelay is how long a server may stay silent before the next is asked.
	hedgeDelay = 250 * time.Millisecond
	// againDelay is how long all servers may stay silent before they are asked
	// again: a question that a server passed on to a leader that is gone is lost.
	againDelay = time.Second
	// aliveFor is how long ago a server must have answered to be sent a write.
	aliveFor = time.Second
)

// pool chooses among the servers and remembers which one to ask first.
type pool struct {
	endpoints []*endpoint
	clk       clock.Clock
	log       *slog.Logger
	store     identity
	belongs   func(clusterID uint64) error // nil: all do

	mu      sync.Mutex
	current int
}

// order returns the servers, the one to ask first in front.
func (p *pool) order() []*endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(append([]*endpoint(nil), p.endpoints[p.current:]...), p.endpoints[:p.current]...)
}

// prefer asks e first from now on.
func (p *pool) prefer(e *endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.endpoints[p.current] == e {
		return
	}
	for i := range p.endpoints {
		if p.endpoints[i] == e {
			p.log.Info("another etcd server answers now", "from", p.endpoints[p.current].addr, "to", e.addr)
			p.current = i
		}
	}
}

// distrust makes sure that e must answer a read before it is sent a write.
func (p *pool) distrust(e *endpoint) { e.answeredAt(0) }

// accept checks an answer that a quorum stands behind, to a question sent at m.
func (p *pool) accept(e *endpoint, h *pb.ResponseHeader, m mark) error {
	if p.belongs != nil {
		if err := p.belongs(h.GetClusterId()); err != nil {
			p.distrust(e)
			return fmt.Errorf("%w at %s: %w", errForeign, e.addr, err)
		}
	}
	if err := p.store.check(e.addr, h, m); err != nil {
		return err
	}
	e.answeredAt(p.clk.Now())
	return nil
}

// result is one server's answer to a hedged call.
type result[T any] struct {
	value T
	from  *endpoint
	err   error
}

// hedge makes a harmless call at one server after the other until one answers.
// Every call has ended when it returns.
func hedge[T any](ctx context.Context, p *pool, call func(context.Context, *endpoint) (T, error)) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()

	order := p.order()
	results := make(chan result[T])
	start := func(e *endpoint) {
		running.Go(func() {
			v, err := call(ctx, e)
			select {
			case results <- result[T]{v, e, classify(err, false)}:
			case <-ctx.Done():
			}
		})
	}
	var none T
	var errs []error
	asked, pending := 0, 0
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return none, errors.Join(append(errs, unanswered(ctx))...)
		case <-next.C:
			start(order[asked%len(order)])
			asked++
			pending++
			if asked < len(order) {
				next.Reset(hedgeDelay)
			} else {
				next.Reset(againDelay)
			}
		case r := <-results:
			pending--
			if r.err == nil || final(r.err) {
				p.prefer(r.from)
				return r.value, r.err
			}
			errs = append(errs, r.err)
			if asked < len(order) {
				next.Reset(0)
			} else if pending == 0 {
				return none, errors.Join(errs...)
			}
		}
	}
}

// unanswered is the error of a call that its context ended.
func unanswered(ctx context.Context) error {
	return fmt.Errorf("%w: no etcd server answered: %w", dcs.ErrUnavailable, ctx.Err())
}

// once makes a call that changes something. It goes to one server, and to
// another only while it certainly has not left this host.
func once[T any](ctx context.Context, p *pool, probe func(context.Context, *endpoint) error, call func(context.Context, *endpoint) (T, error)) (T, error) {
	var none T
	if !p.order()[0].alive(p.clk.Now()) {
		_, err := hedge(ctx, p, func(ctx context.Context, e *endpoint) (struct{}, error) { return struct{}{}, probe(ctx, e) })
		if err != nil {
			return none, err
		}
	}
	var errs []error
	for i, e := range p.order() {
		if i > 0 && !e.alive(p.clk.Now()) {
			continue
		}
		var sent atomic.Bool
		v, err := undropped(ctx, func() (T, error) { return call(withSent(ctx, &sent), e) })
		if err == nil {
			e.answeredAt(p.clk.Now())
			p.prefer(e)
			return v, nil
		}
		err = classify(err, sent.Load())
		errs = append(errs, err)
		if !errors.Is(err, dcs.ErrUnavailable) {
			if errors.Is(err, dcs.ErrUnknown) {
				p.distrust(e)
			}
			return none, err
		}
		p.distrust(e)
	}
	return none, errors.Join(errs...)
}

// droppedDelay is how long a server is left alone that dropped a proposal.
const droppedDelay = 50 * time.Millisecond

// undropped makes a call again as long as its server drops it, which changes nothing:
// a leader does so while it hands the leadership on, for a moment. Another server
// would pass the call to that leader and wait in vain.
func undropped[T any](ctx context.Context, call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if err == nil || !dropped(err) {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, err
		case <-time.After(droppedDelay):
		}
	}
}
