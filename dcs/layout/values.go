package layout

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// EncodeStatus writes the status key.
func EncodeStatus(s cluster.Status) string {
	var w writer
	w.open('{')
	w.uintField("optime", uint64(s.Optime))
	if len(s.Slots) > 0 {
		w.name("slots")
		w.open('{')
		for _, slot := range s.Slots {
			w.uintField(slot.Name, uint64(slot.LSN))
		}
		w.close('}')
	}
	if len(s.Retain) > 0 {
		w.name("retain_slots")
		w.strings(s.Retain)
	}
	w.close('}')
	return w.text()
}

func decodeStatus(value string) (cluster.Status, bool) {
	if s, ok := decodeOptime(value); ok {
		return s, true // a bare number, as old members wrote it
	}
	o, ok := parseObject(value)
	if !ok {
		return cluster.Status{}, false
	}
	s := cluster.Status{Optime: wal.LSN(o.uint("optime", 64))}
	if slots, ok := parseObject(string(unwrap(o["slots"]))); ok {
		for _, name := range slots.keys() {
			if lsn, ok := asUint(slots[name], 64); ok {
				s.Slots = append(s.Slots, cluster.SlotState{Name: name, LSN: wal.LSN(lsn)})
			}
		}
	}
	s.Retain = sortedSet(parseStrings(unwrap(o["retain_slots"])))
	return s, true
}

func decodeOptime(value string) (cluster.Status, bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
	if err != nil {
		return cluster.Status{}, false
	}
	return cluster.Status{Optime: wal.LSN(n)}, true
}

// EncodeHistory writes the history key. A line's time, and the leader after it,
// are written only where they are known.
func EncodeHistory(h cluster.History) string {
	var w writer
	w.open('[')
	for _, l := range h.Lines {
		w.open('[')
		w.uint(uint64(l.Timeline))
		w.uint(uint64(l.LSN))
		w.string(l.Reason)
		if l.Timestamp != "" || l.NewLeader != "" {
			w.string(l.Timestamp)
		}
		if l.NewLeader != "" {
			w.string(l.NewLeader)
		}
		w.close(']')
	}
	w.close(']')
	return w.text()
}

func decodeHistory(value string) (cluster.History, bool) {
	var lines [][]json.RawMessage
	if json.Unmarshal([]byte(value), &lines) != nil || lines == nil {
		return cluster.History{}, false
	}
	h := cluster.History{Present: true}
	var last wal.Timeline
	for _, fields := range lines {
		l, ok := decodeHistoryLine(fields)
		// Half a history would give a wrong current timeline: all or nothing.
		if !ok || l.Timeline <= last {
			return cluster.History{}, false
		}
		last = l.Timeline
		h.Lines = append(h.Lines, l)
	}
	return h, true
}

func decodeHistoryLine(fields []json.RawMessage) (cluster.HistoryLine, bool) {
	if len(fields) < 2 {
		return cluster.HistoryLine{}, false
	}
	// The number after the last line's must still be a timeline.
	tl, ok := asUint(fields[0], 32)
	lsn, ok2 := asUint(fields[1], 64)
	if !ok || !ok2 || tl == 0 || tl == 1<<32-1 {
		return cluster.HistoryLine{}, false
	}
	text := func(i int) string {
		if i >= len(fields) {
			return ""
		}
		s, _ := asString(fields[i])
		return s
	}
	return cluster.HistoryLine{Timeline: wal.Timeline(tl), LSN: wal.LSN(lsn),
		Reason: text(2), Timestamp: text(3), NewLeader: text(4)}, true
}

// EncodeFailover writes the failover key; without a request it is {}, which is
// how a request is cleared.
func EncodeFailover(f cluster.Failover) string {
	var w writer
	w.open('{')
	w.optString("leader", f.Leader)
	w.optString("member", f.Candidate)
	w.optString("scheduled_at", f.ScheduledAt)
	w.close('}')
	return w.text()
}

func decodeFailover(value string) (cluster.Failover, bool) {
	if o, ok := parseObject(value); ok {
		return cluster.Failover{Leader: o.str("leader"), Candidate: o.str("member"), ScheduledAt: o.str("scheduled_at")}, true
	}
	// The oldest form is leader:candidate. Only a single line with a colon is
	// taken for it: a request must not be made up from rubbish.
	leader, candidate, ok := strings.Cut(value, ":")
	if !ok || strings.ContainsAny(value, "{}[]\"\r\n\x00") || !utf8.ValidString(value) {
		return cluster.Failover{}, strings.TrimSpace(value) == ""
	}
	return cluster.Failover{Leader: strings.TrimSpace(leader), Candidate: strings.TrimSpace(candidate)}, true
}

// maxSyncBefore is how many promotions that never came about, each of another
// member and on top of the one before, the sync key remembers.
const maxSyncBefore = 8

// EncodeSync writes the sync key: three fields, always, and while its leader is
// still to be promoted the added field before. Without a leader it says that
// synchronous mode is not active.
func EncodeSync(s cluster.SyncState) string {
	var w writer
	writeSync(&w, s, 0, maxSyncBefore)
	return w.text()
}

// writeSync writes one level of the key; the timeline is that of a level before.
func writeSync(w *writer, s cluster.SyncState, tl wal.Timeline, left int) {
	w.open('{')
	w.name("leader")
	stringOrNull(w, s.Leader)
	w.name("quorum")
	w.raw(strconv.Itoa(s.Quorum))
	w.name("sync_standby")
	stringOrNull(w, strings.Join(sortedSet(slices.Clone(s.Standbys)), ","))
	w.optUint("timeline", uint64(tl))
	if b := s.Before; b != nil && left > 0 {
		w.name("before")
		writeSync(w, b.SyncState, b.Timeline, left-1)
	}
	w.close('}')
}

func stringOrNull(w *writer, s string) {
	if s == "" {
		w.raw("null")
		return
	}
	w.string(s)
}

func decodeSync(value string) (cluster.SyncState, bool) {
	o, ok := parseObject(value)
	if !ok {
		return cluster.SyncState{}, false
	}
	return syncOf(o, maxSyncBefore), true
}

// syncOf reads one level of the key, and at most so many before it.
func syncOf(o object, left int) cluster.SyncState {
	names := parseStrings(o["sync_standby"])
	if joined, ok := asString(o["sync_standby"]); ok {
		names = strings.Split(joined, ",")
	}
	quorum, _ := asInt(o["quorum"])
	s := cluster.SyncState{Leader: o.str("leader"), Quorum: max(0, quorum), Standbys: sortedSet(names)}
	if b, ok := parseObject(string(o["before"])); ok && left > 0 {
		inner := syncOf(b, left-1)
		tl := wal.Timeline(b.uint("timeline", 32))
		// An empty leader frees everybody to lead: it must have been said.
		if said := string(bytes.TrimSpace(b["leader"])); tl != 0 && (inner.Leader != "" || said == "null") {
			s.Before = &cluster.SyncBefore{SyncState: inner, Timeline: tl}
		}
	}
	return s
}

// EncodeFailsafe writes the failsafe key.
func EncodeFailsafe(members []cluster.FailsafeMember) string {
	var w writer
	w.open('{')
	for _, m := range members {
		w.stringField(m.Name, m.APIURL)
	}
	w.close('}')
	return w.text()
}

func decodeFailsafe(value string) ([]cluster.FailsafeMember, bool) {
	o, ok := parseObject(value)
	if !ok {
		return nil, false
	}
	var out []cluster.FailsafeMember
	for _, name := range o.keys() {
		// An entry without an address counts too: all recorded members must answer.
		out = append(out, cluster.FailsafeMember{Name: name, APIURL: withoutCredentials(o.str(name))})
	}
	return out, true
}

// decodeConfig keeps the text as it is: settings of other programs survive.
func decodeConfig(value string) (cluster.Config, bool) {
	if _, ok := parseObject(value); !ok {
		return cluster.Config{}, false
	}
	return cluster.Config{Present: true, JSON: value}, true
}

// parseStrings reads a JSON array's strings and passes over everything else.
func parseStrings(raw json.RawMessage) []string {
	var items []json.RawMessage
	if len(raw) == 0 || json.Unmarshal(raw, &items) != nil {
		return nil
	}
	var out []string
	for _, item := range items {
		if s, ok := asString(item); ok {
			out = append(out, s)
		}
	}
	return out
}

// sortedSet sorts names in place, without empty and repeated ones.
func sortedSet(names []string) []string {
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	names = slices.DeleteFunc(names, func(s string) bool { return s == "" })
	slices.SortFunc(names, cmp.Compare[string])
	names = slices.Compact(names)
	if len(names) == 0 {
		return nil
	}
	return names
}
