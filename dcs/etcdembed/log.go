package etcdembed

import (
	"errors"
	"io"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// votes is what etcd's log says of this member's votes and of the entries that
// it confirmed to have, from the last snapshot on.
type votes struct {
	store   Identity
	state   *raftpb.HardState
	entries []*raftpb.Entry
	begun   bool // something was written since the log was made
}

// opener is wal.Open or wal.OpenForRead.
type opener func(*zap.Logger, string, *walpb.Snapshot) (*wal.WAL, error)

// readVotes reads the log of a server that does not run.
func readVotes(dir string, open opener) (*wal.WAL, votes, error) {
	var v votes
	snaps, err := wal.ValidSnapshotEntries(zap.NewNop(), dir)
	if err != nil {
		return nil, v, err
	}
	last := &walpb.Snapshot{}
	if len(snaps) > 0 {
		last = snaps[len(snaps)-1]
	}
	w, err := open(zap.NewNop(), dir, last)
	if err != nil {
		return nil, v, err
	}
	var raw []byte
	var meta etcdserverpb.Metadata
	raw, v.state, v.entries, err = w.ReadAll()
	if err == nil {
		err = proto.Unmarshal(raw, &meta)
	}
	if err != nil {
		return nil, v, errors.Join(err, w.Close())
	}
	v.store = Identity(meta.GetClusterID())
	v.begun = last.GetIndex() > 0 || len(v.entries) > 0 || v.state.GetTerm() > 0
	return w, v, nil
}

// confirmAll declares the whole log confirmed. A member learns only with later
// messages how much of its log the majority has, so what was confirmed last is in
// the log of one that was killed, and not marked. What was not confirmed has an
// unknown outcome for whoever wrote it, and may stay.
func confirmAll(dir string) error {
	w, v, err := readVotes(dir, wal.Open)
	if errors.Is(err, io.ErrUnexpectedEOF) && wal.Repair(zap.NewNop(), dir) {
		w, v, err = readVotes(dir, wal.Open)
	}
	if err != nil {
		return err
	}
	if n := len(v.entries); n > 0 {
		v.state.Commit = v.entries[n-1].Index
	}
	return errors.Join(w.Save(v.state, nil), w.Close())
}
