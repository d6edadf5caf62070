package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-zookeeper/zk"

	"github.com/matriarch-ha/matriarch/dcs"
)

// node is one node as it was read.
type node struct {
	path  string
	value []byte
	stat  *zk.Stat
}

// errMoved: nodes changed while they were read.
var errMoved = errors.New("nodes changed while they were read")

// maxReadings bounds how often a reading starts over because nodes change
// under it; each takes milliseconds.
const maxReadings = 100

// collect reads all nodes below root consistently. It reads each node twice, all
// of them once and then all of them again: where nothing differs, all of the
// states were true together between the two. With a watcher, changes after the
// first reading wake it.
func collect(ctx context.Context, l *link, root string, w *watcher) (dcs.Snapshot, error) {
	for range maxReadings {
		nodes, err := walk(ctx, l, root, w)
		if err == nil {
			err = still(ctx, l, nodes)
		}
		if err == nil {
			return snapshot(root, nodes), nil
		}
		if !errors.Is(err, errMoved) {
			return dcs.Snapshot{}, err
		}
	}
	return dcs.Snapshot{}, fmt.Errorf("%w: %s: %w", dcs.ErrUnavailable, root, errMoved)
}

// walk reads root and everything below it; nothing when there is no root.
func walk(ctx context.Context, l *link, root string, w *watcher) ([]node, error) {
	there, err := exists(ctx, l, root, w)
	if err != nil || !there {
		return nil, err
	}
	return walkNode(ctx, l, root, true, w)
}

func walkNode(ctx context.Context, l *link, path string, isRoot bool, w *watcher) ([]node, error) {
	n, err := get(ctx, l, path, w)
	if err != nil {
		return nil, moved(err)
	}
	out := []node{n}
	if !isRoot && !mayHaveChildren(n.stat, n.value) {
		return out, nil
	}
	names, err := children(ctx, l, path, w)
	if err != nil {
		return nil, moved(err)
	}
	below := make([][]node, len(names))
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { below[i], errs[i] = walkNode(ctx, l, child(path, name), false, w) })
	}
	all.Wait()
	return append(out, slices.Concat(below...)...), errors.Join(errs...)
}

// mayHaveChildren says whether to look for children, now or later: a node that
// has or had some, and one that may have been made just to be a parent.
func mayHaveChildren(s *zk.Stat, value []byte) bool {
	return isParent(s) || len(value) == 0 && s.EphemeralOwner == 0
}

// isParent says that a node is there to hold others and is no key itself.
func isParent(s *zk.Stat) bool { return s.NumChildren > 0 || s.Cversion > 0 }

// moved turns the absence of a node that was listed a moment ago into errMoved.
func moved(err error) error {
	if err == zk.ErrNoNode {
		return errMoved
	}
	return err
}

// still checks that no node has changed, nor got or lost children.
func still(ctx context.Context, l *link, nodes []node) error {
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() {
			now, err := owned{link: l}.stat(ctx, n.path)
			switch {
			case err != nil:
				errs[i] = err
			case now == nil || now.Czxid != n.stat.Czxid || now.Mzxid != n.stat.Mzxid || now.Pzxid != n.stat.Pzxid:
				errs[i] = errMoved
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// snapshot makes keys of nodes; the first node is the root.
func snapshot(root string, nodes []node) dcs.Snapshot {
	var snap dcs.Snapshot
	for i, n := range nodes {
		snap.Revision = max(snap.Revision, n.stat.Czxid, n.stat.Mzxid, n.stat.Pzxid)
		if i == 0 {
			// ZooKeeper has no identity that can be read. The cluster's own node,
			// made by one transaction at one time, serves instead: it is not removed
			// while the cluster lives, a backup has it, and another ensemble has another.
			snap.StoreID = strconv.FormatInt(n.stat.Czxid, 16) + "-" + strconv.FormatInt(n.stat.Ctime, 16)
			continue
		}
		if isParent(n.stat) {
			continue
		}
		snap.Keys = append(snap.Keys, dcs.KV{Key: strings.TrimPrefix(n.path, root+"/"), Value: string(n.value),
			Version: version(n.stat), Revision: n.stat.Mzxid, Session: sessionID(n.stat.EphemeralOwner)})
	}
	slices.SortFunc(snap.Keys, func(a, b dcs.KV) int { return strings.Compare(a.Key, b.Key) })
	return snap
}

// The three reads, each setting a watch where the watcher has none.

func get(ctx context.Context, l *link, path string, w *watcher) (node, error) {
	return do(ctx, l, func(c *zk.Conn) (n node, err error) {
		n.path = path
		if !w.arm(dataWatch, path) {
			n.value, n.stat, err = c.Get(path)
			return n, err
		}
		n.value, n.stat, _, err = c.GetW(path)
		w.armed(dataWatch, path, err)
		return n, err
	})
}

func children(ctx context.Context, l *link, path string, w *watcher) ([]string, error) {
	return do(ctx, l, func(c *zk.Conn) ([]string, error) {
		if !w.arm(childWatch, path) {
			names, _, err := c.Children(path)
			return names, err
		}
		names, _, _, err := c.ChildrenW(path)
		w.armed(childWatch, path, err)
		return names, err
	})
}

func exists(ctx context.Context, l *link, path string, w *watcher) (bool, error) {
	return do(ctx, l, func(c *zk.Conn) (bool, error) {
		if !w.arm(existWatch, path) {
			there, _, err := c.Exists(path)
			return there, err
		}
		there, _, _, err := c.ExistsW(path)
		w.armed(existWatch, path, err)
		return there, err
	})
}
