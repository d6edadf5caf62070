package dcs

import (
	"context"
	"errors"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
)

// Record is told of each call to a store: what was called, how it ended (an
// Outcome), and how long it took. It returns at once.
type Record func(op, outcome string, took time.Duration)

// Measured is the store with every call but Watch and Close told to record.
func Measured(s Store, record Record) Store { return &measured{s, record} }

// Outcome names the class of a call's result.
func Outcome(err error) string {
	for _, class := range []struct {
		err  error
		name string
	}{{nil, "ok"}, {ErrConflict, "conflict"}, {ErrUnavailable, "unavailable"}, {ErrUnknown, "unknown"},
		{ErrSessionGone, "session_gone"}, {ErrRefused, "refused"}} {
		if errors.Is(err, class.err) {
			return class.name
		}
	}
	return "error"
}

type measured struct {
	Store
	record Record
}

// done records a call that began at the time and ended with err.
func (r Record) done(op string, begin time.Time, err error) { r(op, Outcome(err), time.Since(begin)) }

func (m *measured) Load(ctx context.Context) (Snapshot, error) {
	begin := time.Now()
	s, err := m.Store.Load(ctx)
	m.record.done("load", begin, err)
	return s, err
}

func (m *measured) Put(ctx context.Context, key, value string, c Condition) (cluster.Version, error) {
	begin := time.Now()
	v, err := m.Store.Put(ctx, key, value, c)
	m.record.done("put", begin, err)
	return v, err
}

func (m *measured) Delete(ctx context.Context, key string, c Condition) error {
	begin := time.Now()
	err := m.Store.Delete(ctx, key, c)
	m.record.done("delete", begin, err)
	return err
}

func (m *measured) DeleteAll(ctx context.Context) error {
	begin := time.Now()
	err := m.Store.DeleteAll(ctx)
	m.record.done("delete", begin, err)
	return err
}

func (m *measured) Open(ctx context.Context, ttl time.Duration) (Session, error) {
	begin := time.Now()
	s, err := m.Store.Open(ctx, ttl)
	m.record.done("open", begin, err)
	if err != nil {
		return nil, err
	}
	return &measuredSession{s, m.record}, nil
}

func (m *measured) Resume(ctx context.Context, h Handle) (Session, error) {
	begin := time.Now()
	s, err := m.Store.Resume(ctx, h)
	m.record.done("resume", begin, err)
	if err != nil {
		return nil, err
	}
	return &measuredSession{s, m.record}, nil
}

type measuredSession struct {
	Session
	record Record
}

func (m *measuredSession) Renew(ctx context.Context) (Confirmation, error) {
	begin := time.Now()
	c, err := m.Session.Renew(ctx)
	m.record.done("renew", begin, err)
	return c, err
}

func (m *measuredSession) Put(ctx context.Context, key, value string, c Condition) (cluster.Version, error) {
	begin := time.Now()
	v, err := m.Session.Put(ctx, key, value, c)
	m.record.done("put", begin, err)
	return v, err
}

func (m *measuredSession) Delete(ctx context.Context, key string) error {
	begin := time.Now()
	err := m.Session.Delete(ctx, key)
	m.record.done("delete", begin, err)
	return err
}

func (m *measuredSession) End(ctx context.Context) error {
	begin := time.Now()
	err := m.Session.End(ctx)
	m.record.done("end", begin, err)
	return err
}
