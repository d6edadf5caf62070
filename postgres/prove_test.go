package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestPrimaryStallProof: what a commit that reaches the local disk looks like, and
// what does not count against the server.
func TestPrimaryStallProof(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	p := l.primary(ctx, "p")
	c := l.replica(ctx, "c", p)
	flushed := func() string { return p.sql(t, ctx, "SELECT pg_current_wal_flush_lsn()") }

	before := flushed()
	must(t, p.ProveCommit(ctx))
	if flushed() == before {
		t.Error("nothing was written")
	}

	// A commit that waits for a standby that is not there is no stall.
	must(t, p.SetSyncNames(ctx, []string{"nobody"}))
	must(t, p.ProveCommit(ctx))
	must(t, p.ReleaseSyncNames(ctx))

	// A standby is not asked to write.
	if err := c.ProveCommit(ctx); !errors.Is(err, ErrNotAsked) {
		t.Errorf("a standby: %v", err)
	}

	// Nobody answers: the process that serves the probe's connection is stopped.
	pid := p.prover.BackendPID()
	must(t, freeze(pid))
	defer thaw(pid)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := p.ProveCommit(short); err == nil || errors.Is(err, ErrNotAsked) || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("a server that does not answer: %v", err)
	}
	thaw(pid)
	must(t, p.ProveCommit(ctx)) // on a new connection

	// Where segments are archived by time an idle server is left alone, or each
	// question would fill a segment.
	cfg := testConfig(l.dir)
	cfg.Parameters = append(cfg.Parameters, Param{Name: "archive_mode", Value: "on"}, Param{Name: "archive_command", Value: "true"},
		Param{Name: "archive_timeout", Value: "1h"})
	p.SetConfig(cfg)
	must(t, restart(ctx, p))
	must(t, p.ProveCommit(ctx)) // what the start wrote may still wait to be flushed
	before = flushed()
	must(t, p.ProveCommit(ctx))
	if now := flushed(); now != before {
		t.Errorf("an idle server that archives by time was made to write: %s to %s", before, now)
	}
	p.sql(t, ctx, "SELECT pg_switch_wal()")
	must(t, p.ProveCommit(ctx))
	if now := p.sql(t, ctx, "SELECT pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn() <= 40"); now != "t" {
		t.Error("after a switch it is not taken for idle")
	}
}

// TestWhatCountsAgainstThePrimary: a server that takes no more sessions, or no more
// transactions, says nothing about its disk.
func TestWhatCountsAgainstThePrimary(t *testing.T) {
	for _, code := range []string{"53200", "53300", "28P01", "57P03", "42501", "54000", "25006", "55000", "P0001"} {
		if !refusesToAsk(code) {
			t.Errorf("%s counts against the server", code)
		}
	}
	for _, code := range []string{"", "53100", "58030", "XX000", "XX001"} {
		if refusesToAsk(code) {
			t.Errorf("%s does not count", code)
		}
	}
}
