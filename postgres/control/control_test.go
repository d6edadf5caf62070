package control

import "testing"

const sample = `pg_control version number:            1300
Catalog version number:               202209061
Database system identifier:           7654321098765432109
Database cluster state:               in archive recovery
Latest checkpoint location:           0/3000060
Latest checkpoint's REDO location:    0/3000028
Latest checkpoint's TimeLineID:       3
Latest checkpoint's PrevTimeLineID:   2
Minimum recovery ending location:     0/30001A0
Min recovery ending loc's timeline:   3
End-of-backup record required:        no
wal_log_hints setting:                on
max_connections setting:              200
Current max_locks_per_xact setting:   64
Bytes per WAL segment:                16777216
Data page checksum version:           1
`

func TestParse(t *testing.T) {
	d, err := Parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	if d.SystemID != "7654321098765432109" || d.State != InArchiveRecovery || d.Timeline != 3 || d.PrevTimeline != 2 || d.MinRecovery != 0x30001A0 ||
		!d.WALLogHints || !d.Checksums || d.MaxConnections != 200 || d.MaxLocks != 64 || d.SegmentSize != 16<<20 || d.Clean() {
		t.Errorf("%+v", d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Add("Database system identifier: x\nLatest checkpoint location: 1/2/3")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := Parse(s); err == nil && (d.SystemID == "" || d.State == "" || d.Checkpoint == 0) {
			t.Error("an empty control file was accepted")
		}
	})
}
