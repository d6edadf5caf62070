package zookeeper

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
)

// maxTurns bounds how often an unconditional write starts over because others
// change the same node all the time.
const maxTurns = 20

// owned is one writer: its nodes belong to the session owner, or are permanent
// when owner is 0.
type owned struct {
	link  *link
	acl   []zk.ACL
	owner int64
}

func (o owned) flags() int32 {
	if o.owner != 0 {
		return zk.FlagEphemeral
	}
	return 0
}

// put writes a node if the condition holds.
func (o owned) put(ctx context.Context, path, value string, c dcs.Condition) (cluster.Version, error) {
	if c.IsAbsent() {
		return o.create(ctx, path, value)
	}
	if v, ok := c.Version(); ok {
		stat, err := o.unchanged(ctx, path, v)
		if err != nil {
			return "", err
		}
		return o.over(ctx, path, value, stat)
	}
	for range maxTurns {
		stat, err := o.stat(ctx, path)
		if err != nil {
			return "", err
		}
		var v cluster.Version
		if stat == nil {
			v, err = o.create(ctx, path, value)
		} else {
			v, err = o.over(ctx, path, value, stat)
		}
		if err == nil || !lostRace(err) {
			return v, err
		}
	}
	return "", fmt.Errorf("%w: %s was changed by others %d times in a row", dcs.ErrConflict, path, maxTurns)
}

// create makes a node that must not exist, and its parents. The node is written
// twice in one transaction: only the answer to a second write tells the
// transaction's number, which the version needs.
func (o owned) create(ctx context.Context, path, value string) (cluster.Version, error) {
	make := func() (cluster.Version, error) {
		return o.multi(ctx, &zk.CreateRequest{Path: path, Data: []byte(value), Acl: o.acl, Flags: o.flags()},
			&zk.SetDataRequest{Path: path, Data: []byte(value), Version: 0})
	}
	v, err := make()
	if err != zk.ErrNoNode {
		return v, err
	}
	if err := o.createParents(ctx, path); err != nil {
		return "", err
	}
	return make()
}

// createParents makes the permanent nodes above path.
func (o owned) createParents(ctx context.Context, path string) error {
	for i := 1; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		_, err := do(ctx, o.link, func(c *zk.Conn) (string, error) { return c.Create(path[:i], []byte{}, 0, o.acl) })
		if err != nil && err != zk.ErrNodeExists {
			return err
		}
	}
	return nil
}

// over writes to the node that stat describes: in place where it is mine
// already, and otherwise by removing it and making it again, in one transaction.
func (o owned) over(ctx context.Context, path, value string, stat *zk.Stat) (cluster.Version, error) {
	if stat.EphemeralOwner != o.owner {
		return o.multi(ctx, &zk.DeleteRequest{Path: path, Version: stat.Version},
			&zk.CreateRequest{Path: path, Data: []byte(value), Acl: o.acl, Flags: o.flags()},
			&zk.SetDataRequest{Path: path, Data: []byte(value), Version: 0})
	}
	now, err := do(ctx, o.link, func(c *zk.Conn) (*zk.Stat, error) { return c.Set(path, []byte(value), stat.Version) })
	if err != nil {
		return "", err
	}
	if now.Czxid != stat.Czxid {
		return "", fmt.Errorf("%w: %s was removed and made again while it was written", dcs.ErrUnknown, path)
	}
	return version(now), nil
}

// multi carries out all or nothing, and returns the version that the last
// operation, a write, gave.
func (o owned) multi(ctx context.Context, ops ...any) (cluster.Version, error) {
	results, err := do(ctx, o.link, func(c *zk.Conn) ([]zk.MultiResponse, error) { return c.Multi(ops...) })
	if err != nil {
		return "", err
	}
	if len(results) != len(ops) || results[len(ops)-1].Stat == nil {
		return "", fmt.Errorf("%w: a transaction of %d parts got %d answers", dcs.ErrUnknown, len(ops), len(results))
	}
	return version(results[len(ops)-1].Stat), nil
}

// stat returns what is known of a node, nil when it does not exist.
func (o owned) stat(ctx context.Context, path string) (*zk.Stat, error) {
	type found struct {
		there bool
		stat  *zk.Stat
	}
	f, err := do(ctx, o.link, func(c *zk.Conn) (found, error) {
		there, stat, err := c.Exists(path)
		return found{there, stat}, err
	})
	if err != nil || !f.there {
		return nil, err
	}
	return f.stat, nil
}

// unchanged returns the node's stat if it still is at this version, and
// ErrConflict if not.
func (o owned) unchanged(ctx context.Context, path string, v cluster.Version) (*zk.Stat, error) {
	if err := o.link.sync(ctx, path); err != nil {
		return nil, notSent{err} // a read: the write was not made
	}
	stat, err := o.stat(ctx, path)
	if err != nil {
		return nil, notSent{err}
	}
	if stat == nil || version(stat) != v {
		return nil, fmt.Errorf("%w: %s is not at version %s", dcs.ErrConflict, path, v)
	}
	return stat, nil
}

// remove deletes the node that stat describes.
func (o owned) remove(ctx context.Context, path string, version int32) error {
	_, err := do(ctx, o.link, func(c *zk.Conn) (struct{}, error) { return struct{}{}, c.Delete(path, version) })
	return err
}

// removePermanent deletes a permanent node at this version, and never a leased one
// that was made in its place since it was looked at: that begins at version 0 as
// well, and may be somebody's leader key. Only a permanent node can have a child,
// so the transaction makes one and takes it away again.
func (o owned) removePermanent(ctx context.Context, path string, acl []zk.ACL, version int32) error {
	child := child(path, "removed")
	_, err := do(ctx, o.link, func(c *zk.Conn) ([]zk.MultiResponse, error) {
		return c.Multi(&zk.CreateRequest{Path: child, Data: []byte{}, Acl: acl}, &zk.DeleteRequest{Path: child, Version: 0},
			&zk.DeleteRequest{Path: path, Version: version})
	})
	if err == zk.ErrNoChildrenForEphemerals {
		return fmt.Errorf("%w: %s belongs to a session by now", dcs.ErrConflict, path)
	}
	return err
}

func lostRace(err error) bool {
	return err == zk.ErrNoNode || err == zk.ErrNodeExists || err == zk.ErrBadVersion
}

// version names one state of one life of a node: the transaction that created
// the node, and how often it was written since.
func version(s *zk.Stat) cluster.Version {
	return cluster.Version(strconv.FormatInt(s.Czxid, 16) + ":" + strconv.FormatInt(int64(s.Version), 10))
}

// sessionID is the text of a session id, as ZooKeeper's own tools print it
// after 0x.
func sessionID(id int64) string {
	if id == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(id), 16)
}

// child joins a path and a name.
func child(path, name string) string { return strings.TrimSuffix(path, "/") + "/" + name }
