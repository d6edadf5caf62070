package api

import (
	"encoding/json"
	"strings"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

// tagsObject writes tags as the wire has them: only those that are set.
func tagsObject(t cluster.Tags) pyjson.Object {
	var o pyjson.Object
	flag := func(name string, set bool) {
		if set {
			o = o.Set(name, true)
		}
	}
	flag("clonefrom", t.CloneFrom)
	flag("nofailover", t.NoFailover)
	flag("noloadbalance", t.NoLoadBalance)
	flag("nostream", t.NoStream)
	flag("nosync", t.NoSync)
	if t.ReplicateFrom != "" {
		o = o.Set("replicatefrom", t.ReplicateFrom)
	}
	if t.FailoverPriority != nil {
		o = o.Set("failover_priority", *t.FailoverPriority)
	}
	if t.SyncPriority != nil {
		o = o.Set("sync_priority", *t.SyncPriority)
	}
	for _, other := range t.Other {
		if v, err := pyjson.Parse([]byte(other.Value)); err == nil {
			o = o.Set(other.Name, v)
		}
	}
	return o
}

// tagTexts gives each set tag as the text a health check compares it with.
func tagTexts(t cluster.Tags) map[string]string {
	out := map[string]string{}
	for _, f := range tagsObject(t) {
		if s, ok := f.Value.(string); ok {
			out[f.Key] = s
			continue
		}
		text, err := json.Marshal(f.Value)
		if err == nil {
			out[f.Key] = strings.ToLower(string(text))
		}
	}
	return out
}
