package layout

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// EncodeTimelines writes the register of claimed timelines.
func EncodeTimelines(t cluster.Timelines) string {
	var w writer
	w.open('{')
	w.name("claims")
	w.open('[')
	for _, c := range t.Claims {
		w.open('{')
		w.uintField("timeline", uint64(c.Timeline))
		w.stringField("winner", c.Winner)
		w.optUint("switch", uint64(c.Identity.Switch))
		w.optUint("crc", uint64(c.Identity.CRC))
		w.close('}')
	}
	w.close(']')
	w.close('}')
	return w.text()
}

// decodeTimelines reads the register whole or not at all: a claim that is
// overlooked would let a second member take the same number.
func decodeTimelines(value string) (cluster.Timelines, bool) {
	o, ok := parseObject(value)
	if !ok {
		return cluster.Timelines{}, false
	}
	var items []object
	if raw, there := o["claims"]; there && json.Unmarshal(raw, &items) != nil {
		return cluster.Timelines{}, false
	}
	var t cluster.Timelines
	for _, item := range items {
		c := cluster.TimelineClaim{
			Timeline: wal.Timeline(item.uint("timeline", 32)),
			Winner:   item.str("winner"),
			Identity: cluster.TimelineIdentity{Switch: wal.LSN(item.uint("switch", 64)), CRC: uint32(item.uint("crc", 32))},
		}
		if c.Timeline == 0 || c.Winner == "" {
			return cluster.Timelines{}, false
		}
		t.Claims = append(t.Claims, c)
	}
	slices.SortStableFunc(t.Claims, func(a, b cluster.TimelineClaim) int { return cmp.Compare(a.Timeline, b.Timeline) })
	for i := 1; i < len(t.Claims); i++ {
		if t.Claims[i].Timeline == t.Claims[i-1].Timeline {
			return cluster.Timelines{}, false
		}
	}
	return t, true
}

// EncodeHandover writes where a clean stop left off; {} when nothing binds.
func EncodeHandover(h cluster.Handover) string {
	var w writer
	w.open('{')
	if h.Present() {
		w.stringField("leader", h.Leader)
		w.optString("term", string(h.Term))
		w.optUint("timeline", uint64(h.Timeline))
		w.uintField("lsn", uint64(h.LSN))
		if len(h.Members) > 0 {
			w.name("members")
			w.strings(h.Members)
		}
	}
	w.close('}')
	return w.text()
}

func decodeHandover(value string) (cluster.Handover, bool) {
	o, ok := parseObject(value)
	if !ok {
		return cluster.Handover{}, false
	}
	h := cluster.Handover{
		Leader:   o.str("leader"),
		Term:     cluster.Version(o.str("term")),
		Timeline: wal.Timeline(o.uint("timeline", 32)),
		LSN:      wal.LSN(o.uint("lsn", 64)),
		Members:  sortedSet(parseStrings(o["members"])),
	}
	if !h.Present() {
		return cluster.Handover{}, len(o) == 0
	}
	return h, true
}
