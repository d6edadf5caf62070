package layout

import (
	"cmp"
	"slices"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
)

// Decode reads a snapshot as a view of the cluster. It accepts anything; see
// the package comment for what becomes of values that make no sense. Keys that
// mean nothing here (other programs' and nested ones) are passed over.
func Decode(s dcs.Snapshot) cluster.View {
	d := decoder{view: cluster.View{StoreID: s.StoreID, Revision: s.Revision}}
	for _, kv := range s.Keys {
		d.key(kv)
	}
	return d.finish()
}

// decoder collects what one pass over the keys cannot settle yet.
type decoder struct {
	view   cluster.View
	status bool // the status key was present
	optime cluster.Status
	owner  dcs.KV
}

func (d *decoder) key(kv dcs.KV) {
	v, ok := &d.view, true
	switch kv.Key {
	case KeyInitialize:
		v.Initialize = cluster.Initialize{Present: true, SystemID: kv.Value, Version: kv.Version}
	case KeyInitializeOwner:
		d.owner = kv
	case KeyConfig:
		v.Config, ok = decodeConfig(kv.Value)
		v.Config.Version = kv.Version
	case KeyLeader:
		v.Leader = cluster.Leader{Name: kv.Value, Session: kv.Session, Version: kv.Version}
	case KeyStatus:
		d.status = true
		v.Status, ok = decodeStatus(kv.Value)
		v.Status.Version = kv.Version
	case KeyOptime:
		d.optime, ok = decodeOptime(kv.Value)
	case KeyHistory:
		v.History, ok = decodeHistory(kv.Value)
		v.History.Version = kv.Version
	case KeyFailover:
		v.Failover, ok = decodeFailover(kv.Value)
		v.Failover.Version = kv.Version
	case KeySync:
		v.Sync, ok = decodeSync(kv.Value)
		v.Sync.Version = kv.Version
	case KeyFailsafe:
		v.Failsafe, ok = decodeFailsafe(kv.Value)
		v.FailsafeVersion = kv.Version
	case KeyTimelines:
		v.Timelines, ok = decodeTimelines(kv.Value)
		v.Timelines.Version = kv.Version
	case KeyHandover:
		v.Handover, ok = decodeHandover(kv.Value)
		v.Handover.Version = kv.Version
	default:
		if name, is := MemberName(kv.Key); is {
			var m cluster.Member
			m, ok = decodeMember(name, kv.Value)
			v.Members = append(v.Members, m)
		}
	}
	if !ok {
		v.Unreadable = append(v.Unreadable, kv.Key)
	}
}

// finish joins what came from two keys and sorts the lists.
func (d *decoder) finish() cluster.View {
	v := d.view
	if !d.status {
		// Members older than the status key left the position here. The version
		// stays empty: the status key itself is absent.
		v.Status = d.optime
	}
	if v.Initialize.Present && v.Initialize.SystemID == "" {
		v.Initialize.Owner, v.Initialize.OwnerSession = d.owner.Value, d.owner.Session
	}
	slices.SortFunc(v.Members, func(a, b cluster.Member) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(v.Unreadable)
	return v
}
