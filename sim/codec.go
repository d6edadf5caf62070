package sim

import (
	"reflect"
	"slices"
	"strings"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
)

// What the store holds are keys and texts, as in a real store: whatever is
// written is encoded by package layout, and what anybody sees is what layout
// makes of the texts. Operations still change a view, as it is easier to read;
// commit turns what they changed into keys, and the keys into the next view. Only
// the keys that changed are encoded and decoded: the whole at every write would
// take most of the time of a world. A key in which nothing but a position moved
// is encoded when its text is looked at (texts). That the parts give the same
// view as the whole is looked at when a world ends (checkKeys).

// set writes a key, or removes it.
func (s *store) set(key, value string, version cluster.Version, session string, there bool) {
	i, found := slices.BinarySearchFunc(s.keys, key, func(kv dcs.KV, key string) int { return strings.Compare(kv.Key, key) })
	switch {
	case there && found:
		s.keys[i] = dcs.KV{Key: key, Value: value, Version: version, Session: session}
	case there:
		s.keys = slices.Insert(s.keys, i, dcs.KV{Key: key, Value: value, Version: version, Session: session})
	case found:
		s.keys = slices.Delete(s.keys, i, i+1)
	}
}

// put writes a key and returns what layout reads there.
func (s *store) put(key, value string, version cluster.Version, session string) cluster.View {
	s.set(key, value, version, session, true)
	one := layout.Decode(dcs.Snapshot{Keys: []dcs.KV{{Key: key, Value: value, Version: version, Session: session}}})
	if len(one.Unreadable) > 0 {
		s.w.check.violate("codec", "the value of key %s cannot be read: %s", key, value)
	}
	return one
}

// encode carries what was changed in the view since old, and in the sessions of
// keys, over into the keys, and makes the view what is read there.
func (s *store) encode(old *snapshot, memberAt []string, owner string) {
	was, v := &old.view, &s.view
	if v.Initialize != was.Initialize || owner != old.owner {
		s.encodeInitialize(owner)
	}
	if v.Leader != was.Leader {
		if v.Leader.Held() {
			v.Leader = s.put(layout.KeyLeader, v.Leader.Name, v.Leader.Version, v.Leader.Session).Leader
		} else {
			s.set(layout.KeyLeader, "", "", "", false)
		}
	}
	if v.Config.Version != was.Config.Version {
		v.Config = s.put(layout.KeyConfig, v.Config.JSON, v.Config.Version, "").Config
	}
	if v.Status.Version != was.Status.Version && !s.moved(&was.Status, &v.Status) {
		v.Status = s.put(layout.KeyStatus, layout.EncodeStatus(v.Status), v.Status.Version, "").Status
	}
	if v.History.Version != was.History.Version {
		v.History = s.put(layout.KeyHistory, layout.EncodeHistory(v.History), v.History.Version, "").History
	}
	if v.Failover.Version != was.Failover.Version {
		v.Failover = s.put(layout.KeyFailover, layout.EncodeFailover(v.Failover), v.Failover.Version, "").Failover
	}
	if v.Timelines.Version != was.Timelines.Version {
		v.Timelines = s.put(layout.KeyTimelines, layout.EncodeTimelines(v.Timelines), v.Timelines.Version, "").Timelines
	}
	if v.Sync.Version != was.Sync.Version {
		if v.Sync.Version == "" {
			s.set(layout.KeySync, "", "", "", false)
		} else {
			v.Sync = s.put(layout.KeySync, layout.EncodeSync(v.Sync), v.Sync.Version, "").Sync
		}
	}
	if v.Handover.Version != was.Handover.Version {
		if v.Handover.Version == "" {
			s.set(layout.KeyHandover, "", "", "", false)
		} else {
			v.Handover = s.put(layout.KeyHandover, layout.EncodeHandover(v.Handover), v.Handover.Version, "").Handover
		}
	}
	if v.FailsafeVersion != was.FailsafeVersion {
		if v.FailsafeVersion == "" {
			s.set(layout.KeyFailsafe, "", "", "", false)
		} else {
			v.Failsafe = s.put(layout.KeyFailsafe, layout.EncodeFailsafe(v.Failsafe), v.FailsafeVersion, "").Failsafe
		}
	}
	s.encodeMembers(old, memberAt)
}

// encodeInitialize writes the two keys of the bootstrap.
func (s *store) encodeInitialize(owner string) {
	i := &s.view.Initialize
	if owner != "" && i.Owner != "" {
		s.ownerName = i.Owner
	}
	s.set(layout.KeyInitializeOwner, s.ownerName, "1", owner, owner != "")
	if !i.Present {
		s.set(layout.KeyInitialize, "", "", "", false)
		return
	}
	read := s.put(layout.KeyInitialize, i.SystemID, i.Version, "").Initialize
	if read.SystemID == "" && owner != "" {
		read.Owner, read.OwnerSession = s.ownerName, owner
	}
	*i = read
}

// encodeMembers writes the members' own keys that changed.
func (s *store) encodeMembers(old *snapshot, at []string) {
	was, now := old.view.Members, s.view.Members
	if len(was) == len(now) && (len(now) == 0 || &was[0] == &now[0]) {
		return
	}
	for i := range was {
		if !slices.ContainsFunc(now, func(m cluster.Member) bool { return m.Name == was[i].Name }) {
			s.set(layout.KeyMember(was[i].Name), "", "", "", false)
		}
	}
	for i := range now {
		j := slices.IndexFunc(was, func(m cluster.Member) bool { return m.Name == now[i].Name })
		if j >= 0 && old.memberAt[j] == at[i] && s.written != now[i].Name {
			continue
		}
		if key := layout.KeyMember(now[i].Name); j >= 0 && onlyMoved(&was[j], &now[i]) {
			x, replayed := now[i].XLog, now[i].Replayed
			now[i] = was[j]
			now[i].XLog, now[i].Replayed = x, replayed
			s.late(key, "1", at[i])
			continue
		}
		text := layout.EncodeMember(now[i])
		now[i] = s.put(layout.KeyMember(now[i].Name), text, "1", at[i]).Members[0]
	}
	s.written = ""
}

// onlyMoved: of a member's key nothing changed but the position.
func onlyMoved(was, now *cluster.Member) bool {
	if !equalBut(was, now) { // most often
		return false
	}
	moved := *was
	moved.XLog, moved.Replayed = now.XLog, now.Replayed
	return reflect.DeepEqual(&moved, now)
}

// moved writes a status in which nothing changed but positions; it reports
// whether it is one.
func (s *store) moved(was, now *cluster.Status) bool {
	same := slices.EqualFunc(was.Slots, now.Slots, func(a, b cluster.SlotState) bool { return a.Name == b.Name })
	if was.Version == "" || was.Optime == 0 || now.Optime == 0 || !same || !slices.Equal(was.Retain, now.Retain) {
		return false
	}
	if now.Retain = was.Retain; len(now.Slots) == 0 {
		now.Slots = nil
	}
	s.late(layout.KeyStatus, now.Version, "")
	return true
}

// late writes a key whose text is made when it is looked at.
func (s *store) late(key string, version cluster.Version, session string) {
	s.set(key, "", version, session, true)
	if s.stale == nil {
		s.stale = map[string]bool{}
	}
	s.stale[key] = true
}

// texts makes the texts that are not there yet, from the view.
func (s *store) texts() {
	for i := range s.keys {
		kv := &s.keys[i]
		if !s.stale[kv.Key] || kv.Value != "" {
			continue
		}
		if kv.Key == layout.KeyStatus {
			kv.Value = layout.EncodeStatus(s.view.Status)
		} else if name, ok := layout.MemberName(kv.Key); ok {
			m, _ := s.view.Member(name)
			kv.Value = layout.EncodeMember(m)
		}
	}
	clear(s.stale)
}

// checkKeys compares the view, put together key by key, with what layout reads
// in all of them.
func (s *store) checkKeys() {
	s.texts()
	whole := layout.Decode(dcs.Snapshot{StoreID: s.view.StoreID, Revision: s.view.Revision, Keys: s.keys})
	if !reflect.DeepEqual(whole, s.view) {
		s.w.check.violate("codec", "the keys read as a whole give\n%+v\nand one by one\n%+v", whole, s.view)
	}
}
