package route

import (
	"encoding/json"
	"strconv"

	"github.com/matriarch-ha/matriarch/cluster"
)

// TagZone names where a member stands.
const TagZone = "zone"

// tagWeight is a member's share of the sessions, against those of others.
const tagWeight = "weight"

// The bounds of a weight; without one it is 1.
const maxWeight = 256

// weight is what a member's key says.
func weight(m cluster.Member) float64 {
	for _, t := range m.Tags.Other {
		if t.Name != tagWeight {
			continue
		}
		if n, err := strconv.Atoi(TagText(json.RawMessage(t.Value))); err == nil && n >= 1 && n <= maxWeight {
			return float64(n)
		}
	}
	return 1
}

// leastShare is the share with which a slow start begins.
const leastShare = 0.05

// share is a member's weight, less of it while it starts slowly.
func (q Query) share(m cluster.Member) float64 {
	w := weight(m)
	if used := q.load(m.Name).Used; q.Policy.SlowStart > 0 && used < q.Policy.SlowStart {
		w *= max(leastShare, float64(used)/float64(q.Policy.SlowStart))
	}
	return w
}

// zone is a member's own word, or what its key says.
func zone(w Word, m cluster.Member) string {
	if w.Zone != "" {
		return w.Zone
	}
	for _, t := range m.Tags.Other {
		if t.Name == TagZone {
			return TagText(json.RawMessage(t.Value))
		}
	}
	return ""
}

// TagText is the value of a tag as people write it: a text without its quotes, a
// number or a word as it stands; what is neither has none.
func TagText(value json.RawMessage) string {
	var v any
	if json.Unmarshal(value, &v) != nil {
		return ""
	}
	switch t := v.(type) {
	case string:
		return t
	case float64, bool:
		return string(value)
	}
	return ""
}
