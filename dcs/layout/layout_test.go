package layout

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/wal"
)

// etcdSample reads a recording of alternating keys and values.
func etcdSample(t *testing.T, file string) dcs.Snapshot {
	t.Helper()
	return sample(t, file, func(lines []string, i int) (key, value string, used int) {
		return lines[i], lines[i+1], 2
	})
}

// zookeeperSample reads a recording of "path | version | kind | value" lines.
func zookeeperSample(t *testing.T, file string) dcs.Snapshot {
	t.Helper()
	return sample(t, file, func(lines []string, i int) (key, value string, used int) {
		parts := strings.SplitN(lines[i], " | ", 4)
		return parts[0], parts[3], 1
	})
}

func sample(t *testing.T, file string, next func([]string, int) (string, string, int)) dcs.Snapshot {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	s := dcs.Snapshot{StoreID: "s", Revision: 7}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for i := 0; i < len(lines); {
		key, value, used := next(lines, i)
		i += used
		if rel, ok := strings.CutPrefix(key, Prefix("service", "lab")+"/"); ok {
			s.Keys = append(s.Keys, dcs.KV{Key: rel, Value: value, Version: cluster.Version(rel + "-v"), Session: "abc"})
		}
	}
	return s
}

// encode writes a view's parts the way the keys of a snapshot are written.
func encode(v cluster.View, key string) (string, bool) {
	if name, ok := MemberName(key); ok {
		m, _ := v.Member(name)
		return EncodeMember(m), true
	}
	switch key {
	case KeyStatus:
		return EncodeStatus(v.Status), true
	case KeyHistory:
		return EncodeHistory(v.History), true
	case KeyFailover:
		return EncodeFailover(v.Failover), true
	case KeySync:
		return EncodeSync(v.Sync), true
	case KeyFailsafe:
		return EncodeFailsafe(v.Failsafe), true
	case KeyTimelines:
		return EncodeTimelines(v.Timelines), true
	case KeyHandover:
		return EncodeHandover(v.Handover), true
	case KeyInitialize:
		return v.Initialize.SystemID, true
	case KeyLeader:
		return v.Leader.Name, true
	case KeyConfig:
		return v.Config.JSON, true
	}
	return "", false
}

// TestRecordedSamplesSurvive: what another program wrote is understood whole,
// and written again it is the same text, except for the order of slots.
func TestRecordedSamplesSurvive(t *testing.T) {
	for name, s := range map[string]dcs.Snapshot{
		"etcd":       etcdSample(t, "etcd-keys.txt"),
		"switchover": etcdSample(t, "etcd-keys-after-switchover.txt"),
		"zookeeper":  zookeeperSample(t, "zookeeper-nodes.txt"),
	} {
		t.Run(name, func(t *testing.T) {
			v := Decode(s)
			if len(v.Unreadable) > 0 {
				t.Errorf("unreadable: %v", v.Unreadable)
			}
			if len(v.Members) != 3 || !v.Leader.Held() || v.Leader.Session != "abc" {
				t.Errorf("members %d, leader %+v", len(v.Members), v.Leader)
			}
			again := s
			again.Keys = nil
			for _, kv := range s.Keys {
				text, ok := encode(v, kv.Key)
				if !ok {
					if kv.Key != "members" {
						t.Errorf("no encoder for %s", kv.Key)
					}
					continue
				}
				if text != kv.Value && kv.Key != KeyStatus {
					t.Errorf("%s\n got %s\nwant %s", kv.Key, text, kv.Value)
				}
				kv.Value = text
				again.Keys = append(again.Keys, kv)
			}
			if diff := cmp.Diff(v, Decode(again)); diff != "" {
				t.Errorf("encoding changed the meaning (-first +again):\n%s", diff)
			}
		})
	}
}

func TestSampleAfterSwitchover(t *testing.T) {
	v := Decode(etcdSample(t, "etcd-keys-after-switchover.txt"))
	m, _ := v.LeaderMember()
	want := cluster.Member{Name: "n2", ConnURL: "postgres://10.77.0.12:5432/postgres", APIURL: "http://10.77.0.12:8008/patroni",
		State: cluster.StateRunning, Role: cluster.RolePrimary, Version: "4.1.5", XLog: 67109560, Timeline: 2}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	if v.History.Timeline() != 2 || v.History.Lines[0].NewLeader != "n2" || v.History.Lines[0].LSN != 67109240 {
		t.Errorf("history %+v", v.History)
	}
	if !v.Sync.Active() || !v.Sync.HasStandby("N3") || v.Failover.Requested() || v.Initialize.SystemID != "7711136292446967651" {
		t.Errorf("sync %+v failover %+v initialize %+v", v.Sync, v.Failover, v.Initialize)
	}
	if v.Status.Optime != 67109520 || len(v.Status.Slots) != 3 || len(v.Status.Retain) != 3 {
		t.Errorf("status %+v", v.Status)
	}
}

func TestEncodedTexts(t *testing.T) {
	zero, two := 0, 2
	full := cluster.Member{Name: "n1", ConnURL: "postgres://[::1]:5432/postgres", APIURL: "https://h:8008/patroni",
		State: cluster.StateRunning, Role: cluster.RolePrimary, Version: "4.1.4", Matriarch: "0.1.0", Guarded: true,
		Tags: cluster.Tags{CloneFrom: true, ReplicateFrom: "nö\"1", FailoverPriority: &two, SyncPriority: &zero,
			Other: []cluster.Tag{{Name: "dc", Value: `"größe 😀"`}, {Name: "rack", Value: "[1, 2]"}}},
		Timeline: 3, XLog: 10, CheckpointPending: true, PendingRestart: true,
		PendingRestartReason: []cluster.SettingChange{{Name: "max_connections", Old: "100", New: "200"}}, Paused: true}
	for _, c := range []struct{ name, got, want string }{
		{"member", EncodeMember(full), `{"conn_url":"postgres://[::1]:5432/postgres","api_url":"https://h:8008/patroni","state":"running","role":"primary","version":"4.1.4","checkpoint_after_promote":false,"tags":{"clonefrom":true,"replicatefrom":"n\u00f6\"1","failover_priority":2,"sync_priority":0,"dc":"gr\u00f6\u00dfe \ud83d\ude00","rack":[1,2]},"pending_restart":true,"pending_restart_reason":{"max_connections":{"old_value":"100","new_value":"200"}},"xlog_location":10,"timeline":3,"pause":true,"matriarch":"0.1.0","guarded":true}`},
		{"bare member", EncodeMember(cluster.Member{Name: "n", State: cluster.StateStopped, Role: cluster.RoleUninitialized}), `{"conn_url":"","api_url":"","state":"stopped","role":"uninitialized","version":""}`},
		{"status", EncodeStatus(cluster.Status{Optime: 5, Slots: []cluster.SlotState{{Name: "a", LSN: 1}}, Retain: []string{"a", "b"}}), `{"optime":5,"slots":{"a":1},"retain_slots":["a","b"]}`},
		{"bare status", EncodeStatus(cluster.Status{}), `{"optime":0}`},
		{"history", EncodeHistory(cluster.History{Lines: []cluster.HistoryLine{{Timeline: 1, LSN: 2, Reason: "r"}, {Timeline: 2, LSN: 3, Reason: "q", Timestamp: "t", NewLeader: "n"}}}), `[[1,2,"r"],[2,3,"q","t","n"]]`},
		{"no history", EncodeHistory(cluster.History{}), `[]`},
		{"no request", EncodeFailover(cluster.Failover{}), `{}`},
		{"switchover", EncodeFailover(cluster.Failover{Leader: "a", Candidate: "b", ScheduledAt: "2030-01-01T00:00:00+00:00"}), `{"leader":"a","member":"b","scheduled_at":"2030-01-01T00:00:00+00:00"}`},
		{"sync", EncodeSync(cluster.SyncState{Leader: "a", Standbys: []string{"c", "b"}}), `{"leader":"a","quorum":0,"sync_standby":"b,c"}`},
		{"sync alone", EncodeSync(cluster.SyncState{Leader: "a"}), `{"leader":"a","quorum":0,"sync_standby":null}`},
		{"sync before a promotion", EncodeSync(cluster.SyncState{Leader: "a", Before: &cluster.SyncBefore{SyncState: cluster.SyncState{Leader: "b", Standbys: []string{"a"}}, Timeline: 4}}), `{"leader":"a","quorum":0,"sync_standby":null,"before":{"leader":"b","quorum":0,"sync_standby":"a","timeline":4}}`},
		{"sync off", EncodeSync(cluster.SyncState{}), `{"leader":null,"quorum":0,"sync_standby":null}`},
		{"failsafe", EncodeFailsafe([]cluster.FailsafeMember{{Name: "a", APIURL: "http://a"}}), `{"a":"http://a"}`},
		{"timelines", EncodeTimelines(cluster.Timelines{Claims: []cluster.TimelineClaim{{Timeline: 2, Winner: "a", Identity: cluster.TimelineIdentity{Switch: 9, CRC: 8}}, {Timeline: 3, Winner: "b"}}}), `{"claims":[{"timeline":2,"winner":"a","switch":9,"crc":8},{"timeline":3,"winner":"b"}]}`},
		{"no handover", EncodeHandover(cluster.Handover{}), `{}`},
		{"handover", EncodeHandover(cluster.Handover{Leader: "a", Timeline: 2, LSN: 9, Members: []string{"b"}}), `{"leader":"a","timeline":2,"lsn":9,"members":["b"]}`},
	} {
		if c.got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.name, c.got, c.want)
		}
	}
	if m, ok := decodeMember("n1", EncodeMember(full)); !ok || m.Tags.ReplicateFrom != full.Tags.ReplicateFrom || !m.CheckpointPending {
		t.Errorf("full member reads back as %+v", m)
	}
}

func TestEscapingIsThatOfTheReference(t *testing.T) {
	var b strings.Builder
	writeString(&b, "a\"\\/\b\f\n\r\t\x00\x1f\x7f<>&é\u2028\U0001F600")
	want := `"a\"\\/\b\f\n\r\t\u0000\u001f\u007f<>&\u00e9\u2028\ud83d\ude00"`
	if b.String() != want {
		t.Errorf("got %s, want %s", b.String(), want)
	}
}

// one decodes a snapshot of a single key.
func one(key, value string) cluster.View {
	return Decode(dcs.Snapshot{Keys: []dcs.KV{{Key: key, Value: value, Version: "5"}}})
}

func TestGarbageCountsAsAbsentButKeepsItsVersion(t *testing.T) {
	for _, bad := range []string{"{", "[", `"x"`, "null", "truely", "\xff"} {
		for key, version := range map[string]func(cluster.View) cluster.Version{
			KeyConfig:    func(v cluster.View) cluster.Version { return v.Config.Version },
			KeyStatus:    func(v cluster.View) cluster.Version { return v.Status.Version },
			KeyHistory:   func(v cluster.View) cluster.Version { return v.History.Version },
			KeyFailover:  func(v cluster.View) cluster.Version { return v.Failover.Version },
			KeySync:      func(v cluster.View) cluster.Version { return v.Sync.Version },
			KeyTimelines: func(v cluster.View) cluster.Version { return v.Timelines.Version },
			KeyHandover:  func(v cluster.View) cluster.Version { return v.Handover.Version },
		} {
			v := one(key, bad)
			if version(v) != "5" || len(v.Unreadable) != 1 || v.Unreadable[0] != key {
				t.Errorf("%s = %q: version %q, unreadable %v", key, bad, version(v), v.Unreadable)
			}
			if v.Config.Present || v.History.Present || v.Failover.Requested() || v.Sync.Active() || v.Handover.Present() {
				t.Errorf("%s = %q was understood: %+v", key, bad, v)
			}
		}
	}
	v := one("members/n1", "{")
	if m, ok := v.Member("n1"); !ok || m.State != cluster.StateUnknown || len(v.Unreadable) != 1 {
		t.Errorf("unreadable member: %+v", v)
	}
}

func TestHistoryIsReadWholeOrNotAtAll(t *testing.T) {
	for _, bad := range []string{`[[1]]`, `[[1,"x"]]`, `[[2,5],[1,6]]`, `[[0,5]]`, `[[1,5],null]`, `[[4294967295,1]]`} {
		if v := one(KeyHistory, bad); v.History.Present || len(v.Unreadable) != 1 {
			t.Errorf("%s gave %+v", bad, v.History)
		}
	}
	if v := one(KeyHistory, ` [ [ 1 , 5 ] ] `); v.History.Timeline() != 2 {
		t.Errorf("short line: %+v", v.History)
	}
	if v := one(KeyHistory, `[]`); v.History.Timeline() != 1 {
		t.Errorf("empty history: %+v", v.History)
	}
}

func TestTimelinesAreReadWholeOrNotAtAll(t *testing.T) {
	for _, bad := range []string{`{"claims":[{"timeline":2}]}`, `{"claims":[{"winner":"a"}]}`, `{"claims":5}`,
		`{"claims":[{"timeline":2,"winner":"a"},{"timeline":2,"winner":"b"}]}`} {
		if v := one(KeyTimelines, bad); len(v.Timelines.Claims) != 0 || len(v.Unreadable) != 1 {
			t.Errorf("%s gave %+v", bad, v.Timelines)
		}
	}
}

func TestLegacyForms(t *testing.T) {
	if v := one(KeyStatus, "67108864"); v.Status.Optime != 67108864 || v.Status.Version != "5" {
		t.Errorf("bare status: %+v", v.Status)
	}
	if v := one(KeyOptime, "42"); v.Status.Optime != 42 || v.Status.Version != "" {
		t.Errorf("optime alone: %+v", v.Status)
	}
	both := Decode(dcs.Snapshot{Keys: []dcs.KV{{Key: KeyOptime, Value: "42"}, {Key: KeyStatus, Value: "{", Version: "9"}}})
	if both.Status.Optime != 0 || both.Status.Version != "9" {
		t.Errorf("optime beside an unreadable status: %+v", both.Status)
	}
	if v := one(KeyStatus, `{"optime":1,"slots":"{\"a\":2}","retain_slots":"[\"a\"]"}`); len(v.Status.Slots) != 1 || len(v.Status.Retain) != 1 {
		t.Errorf("string-encoded slots: %+v", v.Status)
	}
	if v := one(KeyFailover, "a:b"); v.Failover.Leader != "a" || v.Failover.Candidate != "b" {
		t.Errorf("failover: %+v", v.Failover)
	}
	m, _ := one("members/o", `{"role":"master","conn_kwargs":{"host":"::1","port":5433,"dbname":"d"},"xlog_location":"7"}`).Member("o")
	if m.Role != cluster.RolePrimary || m.ConnURL != "postgresql://[::1]:5433/d" || m.XLog != 7 || m.State != cluster.StateUnknown {
		t.Errorf("old member: %+v", m)
	}
	m, _ = one("members/o", "postgres://u:secret@h:5432/postgres?application_name=http://h:8008/patroni").Member("o")
	if m.ConnURL != "postgres://h:5432/postgres" || m.APIURL != "http://h:8008/patroni" {
		t.Errorf("oldest member: %+v", m)
	}
}

func TestTags(t *testing.T) {
	tags := func(text string) cluster.Tags {
		m, _ := one("members/n", `{"tags":`+text+`}`).Member("n")
		return m.Tags
	}
	if got := tags(`{"nofailover":false,"failover_priority":0}`); !got.MayLead() {
		t.Errorf("the boolean must win: %+v", got)
	}
	if got := tags(`{"failover_priority":"0"}`); got.MayLead() {
		t.Errorf("priority 0 as text: %+v", got)
	}
	if got := tags(`{"nosync":true,"sync_priority":0,"z":null,"a":{"b": 1}}`); !got.NoSync || len(got.Other) != 2 || got.Other[0] != (cluster.Tag{Name: "a", Value: `{"b":1}`}) {
		t.Errorf("others: %+v", got)
	}
	if got := tags(`[1]`); got.NoSync || got.Other != nil {
		t.Errorf("no object: %+v", got)
	}
}

func TestInitializeOwner(t *testing.T) {
	keys := []dcs.KV{{Key: KeyInitialize, Version: "1"}, {Key: KeyInitializeOwner, Value: "n1", Session: "s"}}
	if v := Decode(dcs.Snapshot{Keys: keys}); !v.Initialize.Present || v.Initialize.Owner != "n1" {
		t.Errorf("claim: %+v", v.Initialize)
	}
	keys[0].Value = "123"
	if v := Decode(dcs.Snapshot{Keys: keys}); v.Initialize.Owner != "" || v.Initialize.SystemID != "123" {
		t.Errorf("done: %+v", v.Initialize)
	}
}

func TestPrefixAndKeys(t *testing.T) {
	for _, c := range [][3]string{
		{"service", "lab", "/service/lab"}, {"/service/", "lab", "/service/lab"},
		{"//a//b/", "x/", "/a/b/x"}, {"/", "lab", "/lab"}, {"", "lab", "/lab"},
	} {
		if got := Prefix(c[0], c[1]); got != c[2] {
			t.Errorf("Prefix(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
	for key, want := range map[string]string{"members/a": "a", "members/": "", "members/a/b": "", "leader": "", "members": ""} {
		if got, _ := MemberName(key); got != want {
			t.Errorf("MemberName(%q) = %q", key, got)
		}
	}
	v := Decode(dcs.Snapshot{Keys: []dcs.KV{{Key: "0/leader", Value: "x"}, {Key: "members/z", Value: "{}"}, {Key: "members/b", Value: "{}"}, {Key: "other", Value: "{"}}})
	if v.Leader.Held() || len(v.Unreadable) != 0 || v.Members[0].Name != "b" {
		t.Errorf("%+v", v)
	}
}

// FuzzDecode: nothing panics, and for every value understood, writing it and
// reading it again gives the same facts.
func FuzzDecode(f *testing.F) {
	keys := []string{KeyInitialize, KeyInitializeOwner, KeyConfig, KeyLeader, KeyStatus, KeyOptime, KeyHistory,
		KeyFailover, KeySync, KeyFailsafe, KeyTimelines, KeyHandover, "members/n1"}
	seeds := []string{"", "{}", "[]", "null", "12", "a:b", `[[1,2,"r","t","n"]]`, `{"leader":"a","sync_standby":"b,c","quorum":"1"}`,
		`{"leader":"a","before":{"leader":null,"timeline":2,"before":{"leader":"b","timeline":1}}}`,
		`{"optime":1,"slots":{"a":2},"retain_slots":["b"]}`, `{"claims":[{"timeline":2,"winner":"a","crc":4294967295}]}`,
		`{"leader":"a","lsn":5,"members":["b"]}`, "postgres://u@h/d?application_name=x", `{"api_url":"http://a@b/"}`,
		`{"conn_url":"postgres://u:p@h/","tags":{"nofailover":0,"x":"é","sync_priority":-1},"pending_restart_reason":{"a":{}}}`, "\xff"}
	for i := range keys {
		for _, s := range seeds {
			f.Add(uint8(i), s)
		}
	}
	f.Fuzz(func(t *testing.T, k uint8, value string) {
		key := keys[int(k)%len(keys)]
		v := one(key, value)
		if len(v.Unreadable) > 0 || key == KeyOptime || key == KeyInitializeOwner {
			return
		}
		text, ok := encode(v, key)
		if !ok {
			t.Fatalf("no encoder for %s", key)
		}
		if diff := cmp.Diff(v, one(key, text)); diff != "" {
			t.Errorf("%s: %q was written as %q, which reads differently:\n%s", key, value, text, diff)
		}
	})
}

func TestLargestValuesFit(t *testing.T) {
	v := one(KeyStatus, `{"optime":18446744073709551615}`)
	if v.Status.Optime != wal.LSN(1<<64-1) {
		t.Errorf("optime %d", v.Status.Optime)
	}
	if v := one(KeyStatus, `{"optime":-1}`); v.Status.Optime != 0 {
		t.Errorf("negative optime %d", v.Status.Optime)
	}
}

// TestSyncBefore: what a sync key says of the time before a promotion is put back when
// that does not come about. Rubbish there must not free everybody to lead.
func TestSyncBefore(t *testing.T) {
	for value, want := range map[string]*cluster.SyncBefore{
		`{"leader":"a","before":{"leader":"b","sync_standby":"c,a","timeline":3}}`: {SyncState: cluster.SyncState{Leader: "b", Standbys: []string{"a", "c"}}, Timeline: 3},
		`{"leader":"a","before":{"leader":null,"sync_standby":null,"timeline":3}}`: {Timeline: 3},
		`{"leader":"a","before":{"leader":"b"}}`:                                   nil,
		`{"leader":"a","before":{"timeline":3}}`:                                   nil,
		`{"leader":"a","before":{"leader":7,"timeline":3}}`:                        nil,
		`{"leader":"a","before":[]}`:                                               nil,
		`{"leader":"a"}`:                                                           nil,
	} {
		if diff := cmp.Diff(want, one(KeySync, value).Sync.Before); diff != "" {
			t.Errorf("%s:\n%s", value, diff)
		}
	}
	deep := cluster.SyncState{Leader: "a"}
	for range 100 {
		deep = cluster.SyncState{Leader: "a", Before: &cluster.SyncBefore{SyncState: deep, Timeline: 1}}
	}
	depth := 0
	for b := one(KeySync, EncodeSync(deep)).Sync.Before; b != nil; b = b.Before {
		depth++
	}
	if depth != maxSyncBefore {
		t.Errorf("%d levels are kept, not %d", depth, maxSyncBefore)
	}
}
