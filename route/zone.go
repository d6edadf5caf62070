package route

import (
	"encoding/json"

	"github.com/matriarch-ha/matriarch/cluster"
)

// TagZone names where a member stands.
const TagZone = "zone"

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
