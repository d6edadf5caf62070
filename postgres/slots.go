package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/matriarch-ha/matriarch/postgres/probe"
	"github.com/matriarch-ha/matriarch/wal"
)

// SyncSlots makes the permanent physical slots be exactly want: missing ones
// are created with their log reserved at once, those that nobody wants and
// nobody uses are dropped, and on a standby inactive ones are advanced. Logical
// and temporary slots are left alone, and a slot in use is never dropped. It
// goes on after a failure and returns all errors.
func (s *Server) SyncSlots(ctx context.Context, want []Slot) error {
	c, err := s.session(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	st, err := probe.Ask(ctx, c, nil)
	if err != nil {
		return errors.New("slots: " + probe.Message(err))
	}
	have := map[string]probe.Slot{}
	for _, sl := range st.Slots {
		have[sl.Name] = sl
	}
	wanted := map[string]bool{}
	var errs []error
	for _, w := range want {
		wanted[w.Name] = true
		errs = append(errs, s.ensureSlot(ctx, c, st, w, have))
	}
	for _, sl := range st.Slots {
		if sl.Type == "physical" && !sl.Temporary && !sl.Active && !wanted[sl.Name] {
			errs = append(errs, s.slotSQL(ctx, c, "drop", sl.Name, "SELECT pg_catalog.pg_drop_replication_slot("+probe.Literal(sl.Name)+")"))
		}
	}
	return errors.Join(errs...)
}

func (s *Server) ensureSlot(ctx context.Context, c *probe.Conn, st probe.State, w Slot, have map[string]probe.Slot) error {
	name := probe.Literal(w.Name)
	sl, ok := have[w.Name]
	if ok && sl.Type != "physical" {
		return fmt.Errorf("slot %s exists and is %s, not physical", w.Name, sl.Type)
	}
	useless := ok && !sl.Active && (sl.WALStatus == "lost" || sl.Restart == 0 || st.Recovery && sl.Xmin)
	if useless {
		if err := s.slotSQL(ctx, c, "drop", w.Name, "SELECT pg_catalog.pg_drop_replication_slot("+name+")"); err != nil {
			return err
		}
	}
	if !ok || useless {
		err := s.slotSQL(ctx, c, "create", w.Name, "SELECT pg_catalog.pg_create_physical_replication_slot("+name+", true)")
		if err != nil {
			return err
		}
		rows, err := c.Query(ctx, "SELECT restart_lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = "+name)
		if err != nil || len(rows) == 0 {
			return err
		}
		at, _ := wal.ParseLSN(rows[0][0])
		sl = probe.Slot{Name: w.Name, Restart: probe.LSN(at)}
	}
	limit := wal.LSN(st.Replay)
	if !st.Recovery || sl.Active || w.LSN == 0 || wal.LSN(sl.Restart) >= min(w.LSN, limit) {
		return nil
	}
	return s.slotSQL(ctx, c, "advance", w.Name,
		"SELECT pg_catalog.pg_replication_slot_advance("+name+", "+probe.Literal(min(w.LSN, limit).String())+")")
}

func (s *Server) slotSQL(ctx context.Context, c *probe.Conn, what, name, sql string) error {
	if err := c.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s slot %s: %s", what, name, s.advised(probe.Message(err)))
	}
	return nil
}
