package drill

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// drilled runs a whole drill through the server; the cluster is make-believe,
// the table and the writing client are real.
func drilled(t *testing.T, s *server) Report {
	t.Helper()
	db, err := Open(s.dsn())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Claim(t.Context(), "7"); err != nil {
		t.Fatal(err)
	}
	writer, err := NewWriter(db, 2, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld()
	watch, ended := second(PostgresUndoers())
	quick := Timing{Look: 10 * time.Millisecond, Before: 50 * time.Millisecond, After: 20 * time.Millisecond, Effect: time.Minute,
		Whole: time.Minute, Undo: time.Minute, Clean: time.Minute, PerRetry: time.Millisecond}
	r := (&Run{Scenario: Switchover, Objective: Objective{RTO: time.Minute}, Clients: 2, Before: w.picture(), Steps: plans(w)[Switchover],
		Cluster: w, Table: db, Writing: writer, Undoers: PostgresUndoers(), Watch: watch, Progress: quietly{}, Timing: quick}).Do(t.Context(), t.Context())
	watch.Release()
	<-ended
	if s.schema != "" {
		t.Errorf("the schema is left: %s", s.schema)
	}
	return r
}

// TestHonestServer: with a server that keeps its word the objective is met.
func TestHonestServer(t *testing.T) {
	s := serve(t)
	r := drilled(t, s)
	if r.Verdict == nil || !r.Verdict.Met || r.Measured.Check.Lost != 0 || r.Measured.Writes.Acknowledged == 0 {
		t.Errorf("%s %+v %+v", r.Failed, r.Verdict, r.Measured)
	}
}

// TestLossyServer: a server that acknowledges and drops is found out.
func TestLossyServer(t *testing.T) {
	s := serve(t)
	s.insert = func(id RowID) (bool, pgproto3.BackendMessage, bool) { return id.Seq != 3, nil, false }
	r := drilled(t, s)
	if r.Verdict == nil || r.Verdict.Met || r.Measured.Check.Lost != 2 || !strings.Contains(r.Text(), "NOT MET") || !strings.Contains(r.Text(), "connection 1, write 3") {
		t.Errorf("%s\n%+v", r.Failed, r.Measured)
	}
}

// TestBreakingServer: writes that break off are unknown, whether they are kept
// or not; those that are refused must not be there.
func TestBreakingServer(t *testing.T) {
	refusal := &pgproto3.ErrorResponse{Severity: "FEHLER", SeverityUnlocalized: "ERROR", Code: "53100", Message: "no space"}
	fatal := &pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P01", Message: "the end"}
	warning := &pgproto3.NoticeResponse{Severity: "WARNUNG", SeverityUnlocalized: "WARNING", Code: "01000", Message: "not replicated"}
	s := serve(t)
	s.insert = func(id RowID) (bool, pgproto3.BackendMessage, bool) {
		switch {
		case id.Client == 1:
			return true, nil, false
		case id.Seq == 1:
			return true, nil, true // kept, and no answer
		case id.Seq == 2:
			return false, nil, true
		case id.Seq == 3:
			return false, refusal, false
		case id.Seq == 4:
			return true, fatal, false
		case id.Seq == 5:
			return false, warning, false
		}
		return true, nil, false
	}
	r := drilled(t, s)
	m := r.Measured
	if r.Verdict == nil || !r.Verdict.Met || m.Writes.Failed != 1 || m.Writes.Unknown != 4 || m.Check.Kept != 2 {
		t.Fatalf("%s %+v", r.Failed, m)
	}
	for _, want := range []string{"ERROR 53100: no space", "FATAL 57P01: the end", "acknowledged with a warning: not replicated"} {
		found := false
		for _, e := range m.Errors {
			found = found || e.Text == want && e.Count == 1
		}
		if !found {
			t.Errorf("%q is not among %+v", want, m.Errors)
		}
	}
}

// TestClaim: each reason not to begin, before anything is changed.
func TestClaim(t *testing.T) {
	for _, k := range []struct {
		says   string
		change func(*server)
	}{
		{"the entrypoint leads to a server that is in recovery", func(s *server) { s.answers["has_database_privilege"] = "t|t|app|app" }},
		{"GRANT CREATE ON DATABASE app TO app", func(s *server) { s.answers["has_database_privilege"] = "f|f|app|app" }},
		{"the entrypoint leads to the database system 8, the members have 7", func(s *server) { s.answers["pg_control_system"] = "8" }},
		{ErrOther.Error(), func(s *server) { s.claimed = true }},
		{"DROP SCHEMA matriarch_drill_00 CASCADE", func(s *server) { s.others = [][3]string{{"matriarch_drill_00", "noon", "t"}} }},
	} {
		s := serve(t)
		k.change(s)
		db, err := Open(s.dsn())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Claim(t.Context(), "7"); err == nil || !strings.Contains(err.Error(), k.says) {
			t.Errorf("want %q, got %v", k.says, err)
		}
		if db.claim != nil || s.schema != "" {
			t.Errorf("%s: something is left", k.says)
		}
	}
	s := serve(t)
	s.others = [][3]string{{"matriarch_drill_00", "noon", "f"}}
	db, err := Open(s.dsn())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if notes, err := db.Claim(t.Context(), "7"); err != nil || len(notes) != 1 || !strings.Contains(notes[0], "was left by a drill") {
		t.Errorf("%q, %v", notes, err)
	}
	if _, err := Open("host=x port=nonsense password=secret"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

// TestDropRefuses: nothing but a drill's schema is ever dropped.
func TestDropRefuses(t *testing.T) {
	for _, name := range []string{"public", "matriarch_drill_x", "matriarch_drill_0123456789abcdef; DROP TABLE t", ""} {
		if err := drop(t.Context(), map[string]string{"schema": name}); err == nil || !strings.Contains(err.Error(), "is no schema of a drill") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestClassify(t *testing.T) {
	for _, k := range []struct {
		err    error
		warned string
		want   Outcome
	}{
		{nil, "", Acknowledged},
		{nil, "careful", Unknown},
		{&pgconn.PgError{Severity: "ERROR"}, "", Failed},
		{&pgconn.PgError{Severity: "FEHLER", SeverityUnlocalized: "ERROR"}, "", Failed},
		{&pgconn.PgError{Severity: "FATAL"}, "", Unknown},
		{&pgconn.PgError{Severity: "PANIC"}, "", Unknown},
		{context.DeadlineExceeded, "", Unknown},
		{errors.New("unexpected EOF"), "", Unknown},
	} {
		if got, text := classify(k.err, k.warned); got != k.want || (got == Acknowledged) != (text == "") {
			t.Errorf("%v %q: %d %q", k.err, k.warned, got, text)
		}
	}
}
