package chaos

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
	"github.com/matriarch-ha/matriarch/wal"
)

// look judges all that was seen so far, with the cluster whole.
func (w *world) look() {
	acks := w.acks()
	rs := reigns(acks)
	w.judged.reigns(w.round, rs)
	for _, text := range checkOnePrimary(rs, w.stalls.lateness, w.pauses) {
		w.found("I1", "%s", text)
	}
	for _, text := range checkTimelines(rs) {
		w.found("I5", "%s", text)
	}
	lead, there := w.rows()
	if lead == nil {
		return
	}
	for id := range w.lost {
		if there[id] {
			w.found("I4", "row %d was lost, and %s has it again", id, lead.Name)
		}
	}
	var lost []Ack
	for _, a := range missing(acks, there) {
		if !w.lost[a.ID] {
			lost = append(lost, a)
		}
	}
	w.judged.rows(w.round, len(acks))
	w.judgeLost(lost, rs, lead)
}

// rows reads the rows of all members, replicas first: what they have the primary
// has (I4).
func (w *world) rows() (*lab.Member, map[int64]bool) {
	var err error
	for range 20 {
		lead := w.c.Leader()
		if lead == nil {
			time.Sleep(200 * time.Millisecond)
			continue
		}
		theirs := map[string]map[int64]bool{}
		for _, m := range w.c.Others(lead) {
			if theirs[m.Name], err = rowsOf(m); err != nil {
				break
			}
		}
		var there map[int64]bool
		if err == nil {
			there, err = rowsOf(lead)
		}
		if err != nil || w.unwell() != "" || w.c.Leader() != lead { // a switchover came in between
			time.Sleep(200 * time.Millisecond)
			continue
		}
		for name, rows := range theirs {
			for id := range rows {
				if !there[id] {
					w.found("I4", "%s has row %d, and %s, which it follows, has not", name, id, lead.Name)
					break
				}
			}
		}
		w.judged.compared(w.round, len(theirs))
		return lead, there
	}
	w.found("I6", "the members' rows could not be read: %v; %s", err, w.unwell())
	return nil, nil
}

// judgeLost: rows that were acknowledged and are gone are none in a synchronous
// cluster (I2), few in an asynchronous one (I3), and everywhere somebody still has
// them and says so (I8).
func (w *world) judgeLost(lost []Ack, rs []*reign, lead *lab.Member) {
	if len(lost) == 0 {
		return
	}
	w.losses.read(w.c)
	unreported, unwarned := 0, 0
	var example Ack
	for _, a := range lost {
		w.lost[a.ID] = true
		if !w.losses.has(a) {
			unreported++
			example = a
		}
		if !a.Warned {
			unwarned++
		}
	}
	w.judged.lost(w.round, len(lost))
	w.note("%d acknowledged rows lost, %d of them without a warning", len(lost), unwarned)
	if w.s.Synchronous && unwarned > 0 {
		w.found("I2", "%d rows that were acknowledged without a warning are lost, such as %+v", unwarned, lost[0])
	}
	for _, text := range checkLoss(lost, rs, forks(lead)) {
		if !w.s.Synchronous {
			w.found("I3", "%s", text)
		}
	}
	if unreported > 0 {
		w.found("I8", "%d of %d lost rows are in no member's list of lost transactions, such as %+v", unreported, len(lost), example)
	}
}

// forks are where the timelines of the cluster's history were left.
func forks(m *lab.Member) map[uint32]wal.LSN {
	out := map[uint32]wal.LSN{}
	_, body, _ := m.Get("/history")
	var lines [][]any
	_ = json.Unmarshal([]byte(body), &lines)
	for _, l := range lines {
		if len(l) < 2 {
			continue
		}
		tl, ok1 := l[0].(float64)
		lsn, ok2 := l[1].(float64)
		if ok1 && ok2 {
			out[uint32(tl)] = wal.LSN(uint64(lsn))
		}
	}
	return out
}

// finish stops the clients and compares the members row by row.
func (w *world) finish() {
	var last string
	for began := now(); now().Sub(began) < 60*time.Second; time.Sleep(200 * time.Millisecond) {
		if last = w.unequal(); last == "" {
			break
		}
	}
	if last != "" {
		w.found("I4", "%s", last)
	}
	for _, text := range w.told() {
		w.found("I9", "%s", text)
	}
}

// unequal says in what the members differ when nobody writes.
func (w *world) unequal() string {
	lead := w.c.Leader()
	if lead == nil {
		return "nobody leads"
	}
	const query = `SELECT count(*) || ' rows, sum ' || coalesce(sum(id),0) || ', history ' || md5(coalesce(pg_read_file('pg_wal/' || lpad(upper(to_hex(received_tli)),8,'0') || '.history', 0, 1000000, true),''))
 FROM written, (SELECT coalesce((SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint())) AS received_tli) t GROUP BY received_tli`
	want := ""
	for _, m := range append([]*lab.Member{lead}, w.c.Others(lead)...) {
		got, err := lab.SQL(m.DSN(), query)
		if err != nil {
			return err.Error()
		}
		if m == lead {
			want = strings.Join(got, "")
		} else if s := strings.Join(got, ""); s != want {
			return fmt.Sprintf("%s has %s; %s, which it follows, %s", m.Name, s, lead.Name, want)
		}
	}
	return ""
}

var crash = regexp.MustCompile(`(?m)^(panic: .*|fatal error: .*|WARNING: DATA RACE)$`)

// told looks through all that was written for people: no secret, and no crash of a
// program of ours.
func (w *world) told() (wrong []string) {
	_ = filepath.WalkDir(w.c.Net.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		log := strings.HasSuffix(path, ".log") || strings.Contains(path, "journal/")
		if !log {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		for _, secret := range []string{"secret-super", "secret-rep", "secret-rewind"} {
			if strings.Contains(string(b), secret) {
				wrong = append(wrong, path+" holds the password "+secret)
			}
		}
		if m := crash.FindString(string(b)); m != "" {
			wrong = append(wrong, path+": "+m)
		}
		return nil
	})
	return wrong
}
