package dcs

// Mark is what is kept of a snapshot to notice that the store is another one, or
// went back: the revision alone does not tell where it makes leaps, as that of a
// ZooKeeper ensemble does at each election. One that was restored and written to
// is ahead of all that was known before.
type Mark struct {
	StoreID  string `json:"store_id"`
	Revision int64  `json:"revision"`
	// Keys says at which revision each key got its value.
	Keys map[string]int64 `json:"keys,omitempty"`
}

// Mark returns the mark of this state.
func (s Snapshot) Mark() Mark {
	m := Mark{StoreID: s.StoreID, Revision: s.Revision, Keys: make(map[string]int64, len(s.Keys))}
	for _, kv := range s.Keys {
		m.Keys[kv.Key] = kv.Revision
	}
	return m
}

// Before reports whether s, of the same store, is a state before the mark: the
// store went back, or s was overtaken on its way.
func (m Mark) Before(s Snapshot) bool { return s.StoreID == m.StoreID && m.ahead(s) }

// Lost reports whether s, which was not overtaken, does not come from the store
// of the mark, or from one that went back. Nothing is lost to an empty mark.
func (m Mark) Lost(s Snapshot) bool {
	return m.StoreID != "" && (s.StoreID != m.StoreID || m.ahead(s))
}

// ahead: in the life of one store no key's value becomes an earlier one.
func (m Mark) ahead(s Snapshot) bool {
	if s.Revision < m.Revision {
		return true
	}
	for _, kv := range s.Keys {
		if kv.Revision < m.Keys[kv.Key] {
			return true
		}
	}
	return false
}
