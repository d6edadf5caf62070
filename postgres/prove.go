package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/matriarch-ha/matriarch/postgres/probe"
)

// ErrNotAsked: the server answered that it will not be asked now. That says
// nothing about whether it can commit.
var ErrNotAsked = errors.New("the server did not let itself be asked")

// proveSQL commits a message that nobody reads: a record of a few dozen bytes, and
// no table of ours. A message costs nothing but that, except where segments are
// archived by time: there each one would fill a segment of an idle server. So
// nothing is written there while nothing waits to be flushed either. (After a
// switch the insert position stands behind a page's header, the flushed one before.)
const proveSQL = `SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'recovery'
 WHEN pg_catalog.current_setting('archive_mode') <> 'off' AND pg_catalog.current_setting('archive_timeout') <> '0'
  AND pg_catalog.pg_current_wal_insert_lsn() - pg_catalog.pg_current_wal_flush_lsn() <= 40 THEN 'idle'
 ELSE (pg_catalog.pg_logical_emit_message(true, 'matriarch', ''))::text END`

// ProveCommit shows that a primary can commit: a transaction reaches the local
// disk. It does not wait for standbys, so it is no measure of them. It returns
// when the proof is there, the context ends, or the server refuses; errors that
// prove nothing either way are ErrNotAsked.
func (s *Server) ProveCommit(ctx context.Context) error {
	s.proveMu.Lock()
	defer s.proveMu.Unlock()
	if s.prover != nil && s.prover.Broken() {
		s.dropProver()
	}
	kept := s.prover != nil
	err := s.proveOnce(ctx)
	if err != nil && kept && s.prover == nil && ctx.Err() == nil {
		err = s.proveOnce(ctx) // the kept connection belonged to a server that is gone
	}
	switch {
	case err == nil, errors.Is(err, ErrNotAsked):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("no answer in %s", s.proveTook.Round(time.Second))
	case refusesToAsk(probe.Code(err)):
		return fmt.Errorf("%w: %s", ErrNotAsked, probe.Message(err))
	}
	return errors.New(probe.Message(err))
}

// refusesToAsk: the server answered, and its answer is not about writing: it is
// about sessions or rights, about memory, or about a limit (transaction numbers
// that run out stop every member of the cluster: another leader would not help, and
// be replaced in its turn). Only silence, an error of the disk, a full one, and an
// internal error count.
func refusesToAsk(code string) bool {
	if code == "" || code == "53100" {
		return false
	}
	class := code[:min(2, len(code))]
	return class != "58" && class != "XX"
}

func (s *Server) proveOnce(ctx context.Context) error {
	began := s.opt.Clock.Now()
	defer func() { s.proveTook = s.opt.Clock.Now().Sub(began) }()
	if s.prover == nil {
		c, err := probe.Open(ctx, s.localDial(proveApp, map[string]string{
			"statement_timeout": "0", "synchronous_commit": "local", "default_transaction_read_only": "off",
			"pg_stat_statements.track": "none", "log_statement": "none",
		}))
		if err != nil {
			return err
		}
		s.prover = c
	}
	v, err := s.prover.Value(ctx, proveSQL)
	if err != nil && (s.prover.Broken() || probe.Code(err) == "") {
		s.dropProver()
	}
	if err == nil && v == "recovery" {
		return fmt.Errorf("%w: it is in recovery", ErrNotAsked)
	}
	return err
}

// DropProof closes the connection that ProveCommit keeps.
func (s *Server) DropProof() {
	s.proveMu.Lock()
	defer s.proveMu.Unlock()
	s.dropProver()
}

// dropProver closes the kept connection. Called with proveMu held.
func (s *Server) dropProver() {
	if s.prover != nil {
		s.prover.Close()
		s.prover = nil
	}
}
