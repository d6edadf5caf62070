package up

import (
	"context"
	"errors"
	"time"
)

// stop ends everything, in the order in which nobody misses anybody: clients'
// way in, those who follow, the one who leads, the votes.
func (r *runner) stop() error {
	r.screen.mu.Lock()
	r.screen.ready = true
	r.screen.mu.Unlock()
	r.screen.say("stopping. Ctrl-C again ends everything at once, without waiting for the servers")
	ctx, hard := context.WithCancel(context.Background())
	defer hard()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-r.opt.Hard:
			r.screen.say("ending everything at once: committed data stays, the next start begins with crash recovery")
			hard()
		case <-done:
		}
	}()
	errs := []error{r.stopStep(ctx, "the entrypoint", r.entry)}
	fresh, cancel := context.WithTimeout(ctx, askTimeout)
	lead := leaderOf(look(fresh, r.client, r.plan.servers()[:len(r.agents)]))
	cancel()
	var replicas []*keeper
	for i, k := range r.agents {
		if i != lead {
			replicas = append(replicas, k)
		}
	}
	errs = append(errs, r.stopStep(ctx, "the replicas", replicas...))
	if lead >= 0 {
		errs = append(errs, r.stopStep(ctx, "the primary", r.agents[lead]))
	}
	for _, m := range r.plan.servers() {
		killServer(m.data(), 5*time.Second) // of agents that were killed or lost
	}
	errs = append(errs, r.stopStores(ctx))
	if err := errors.Join(errs...); err != nil && ctx.Err() == nil {
		return err
	}
	r.screen.say("stopped. The same command brings the cluster back with its data")
	return nil
}

// stopStep stops processes at once and says that they are.
func (r *runner) stopStep(ctx context.Context, what string, ks ...*keeper) error {
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	var list []func() error
	for _, k := range ks {
		if k != nil {
			list = append(list, func() error { return k.stop(ctx) })
		}
	}
	return r.together(what, list)
}

func (r *runner) stopStores(ctx context.Context) error {
	var list []func() error
	for i, s := range r.stores {
		list = append(list, func() error {
			return errors.Join(s.Stop(ctx), stopLeftStore(ctx, r.plan.members[i]))
		})
	}
	return r.together("the store", list)
}

func (r *runner) together(what string, list []func() error) error {
	if len(list) == 0 {
		return nil
	}
	begun := time.Now()
	errs := make(chan error, len(list))
	for _, f := range list {
		go func() { errs <- f() }()
	}
	var all []error
	for range list {
		all = append(all, <-errs)
	}
	err := errors.Join(all...)
	if err == nil {
		r.screen.say("stopped %s (%.1f s)", what, time.Since(begun).Seconds())
	}
	return err
}
