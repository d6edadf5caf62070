package agent

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/ha"
)

// viewer keeps the last view of the cluster, wakes the loop when something that
// matters changed, and notices when the store is another one than before.
type viewer struct {
	opt  Options
	wake func()

	mu      sync.Mutex
	state   ha.Store
	led     string   // who held the leader key in the last view in which anybody did
	mark    dcs.Mark // of the view
	saved   time.Time
	saving  bool
	pending *known // to be saved next
	noted   known  // what was saved last, or read
}

// known is what is remembered of the store across restarts of the agent, to
// notice one that was replaced or restored from an older backup.
type known struct {
	dcs.Mark
	// Unsure: the member may have data that another store's leader is still writing
	// to, and has not waited for a ttl yet. New: nor has it since it saw that the store
	// is another one than before, or went back.
	Unsure bool `json:"unsure,omitempty"`
	New    bool `json:"new,omitempty"`
	// Handover is the version of the record of a clean stop that was there then.
	Handover cluster.Version `json:"handover,omitempty"`
	// LongestTTL is the longest lease that may have been in force there.
	LongestTTL time.Duration `json:"longest_ttl,omitempty"`
}

// readAgain is how often a store that counts as lost is read beside the watch.
const readAgain = time.Second

func newViewer(o Options, wake func()) *viewer {
	return &viewer{opt: o, wake: wake}
}

func (v *viewer) run(ctx context.Context) {
	updates := v.opt.Store.Watch(ctx)
	again := time.NewTicker(readAgain)
	defer again.Stop()
	var reading sync.WaitGroup
	defer reading.Wait()
	one := make(chan struct{}, 1) // one reading at a time
	for {
		select {
		case u, open := <-updates:
			if !open {
				return
			}
			v.update(ctx, u)
		case <-again.C:
			// The watch says nothing of a reading that failed beside it, and a store
			// that counts as lost is not written to: nothing would ever change. The
			// watch is not held up: it may be the one that knows first.
			if v.current("").Reachable {
				continue
			}
			select {
			case one <- struct{}{}:
				reading.Go(func() { _ = v.look(ctx); <-one })
			default:
			}
		}
	}
}

// update takes what the watch says.
func (v *viewer) update(ctx context.Context, u dcs.Update) {
	switch {
	case u.Err != nil:
		v.lost(u.Err)
	case v.older(u.Snapshot):
		// Either this snapshot was overtaken by our own reading, or the store
		// went back in time: only a linearizable reading can tell.
		v.refresh(ctx)
	default:
		v.take(u.Snapshot, 0)
	}
}

// refresh reads the store now; the caller's next look sees the result.
func (v *viewer) refresh(ctx context.Context) {
	if err := v.look(ctx); err != nil {
		v.lost(err)
	}
}

// look reads the store and takes what it says.
func (v *viewer) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	// A linearizable reading cannot be older than what was known when it began.
	floor := v.revision()
	s, err := v.opt.Store.Load(ctx)
	if err != nil {
		return err
	}
	v.take(s, floor)
	return nil
}

func (v *viewer) revision() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state.View.Revision
}

// load is refresh for those who want the view itself.
func (v *viewer) load(ctx context.Context) (cluster.View, error) {
	s, err := v.opt.Store.Load(ctx)
	if err != nil {
		return cluster.View{}, err
	}
	return layout.Decode(s), nil
}

// lastLeader is who led last as far as it was seen here; empty if nobody was.
func (v *viewer) lastLeader() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.led
}

func (v *viewer) older(s dcs.Snapshot) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state.Known && v.mark.Before(s)
}

func (v *viewer) lost(err error) {
	v.mu.Lock()
	was := v.state.Reachable
	v.state.Reachable, v.state.LastError = false, err.Error()
	v.mu.Unlock()
	if was {
		v.wake()
	}
}

// take makes a snapshot the current one. The watch and several readings run at
// the same time, so one may arrive after a newer one: that is no store that went
// back in time, unless the snapshot is older than floor, what was known when the
// reading began.
func (v *viewer) take(s dcs.Snapshot, floor int64) {
	view := layout.Decode(s)
	v.mu.Lock()
	before := v.state
	if now := before.View; before.Known && s.StoreID == now.StoreID && s.Revision < now.Revision && s.Revision >= floor {
		v.mu.Unlock()
		return
	}
	news := matters(before.View, view, v.opt.Name)
	v.noticeAnother(s, view.Handover.Version, news)
	v.mark = s.Mark()
	v.state.Known, v.state.Reachable, v.state.LastError = true, true, ""
	v.state.View, v.state.Seen = view, v.opt.Clock.Now()
	if view.Leader.Held() {
		v.led = view.Leader.Name
	}
	v.mu.Unlock()
	v.opt.Keeper.Observed(view)
	if !before.Reachable || news {
		v.wake()
	}
}

// noticeAnother compares with what was known, under the lock.
func (v *viewer) noticeAnother(s dcs.Snapshot, handover cluster.Version, news bool) {
	if !v.state.Known {
		v.begin()
	}
	was := v.noted
	if v.state.Known {
		was.Mark = v.mark
	}
	lost := was.Lost(s)
	if lost {
		v.state.NewSince, v.state.NewHandover = v.opt.Clock.Now(), handover
		was.New, was.Handover = true, handover // also to an agent that is started meanwhile
		v.opt.Logger.Warn("the store is another one than before, or was restored from an older state: nobody is promoted for a full ttl",
			"store", s.StoreID, "revision", s.Revision, "known_store", was.StoreID, "known_revision", was.Revision)
	}
	// A ZooKeeper in which nothing was written yet has no identity.
	changed := news || v.noted.StoreID != s.StoreID || v.opt.Clock.Wall().Sub(v.saved) > time.Minute
	if lost || s.StoreID != "" && changed {
		was.Mark = s.Mark()
		v.save(was)
	}
}

// begin reads what was noted before the first view.
func (v *viewer) begin() {
	was, err := v.read()
	if err != nil {
		was = known{Unsure: true}
		if !errors.Is(err, fs.ErrNotExist) {
			v.opt.Logger.Warn("the note of the store cannot be read: this store may be another one", "file", v.path(), "error", err)
		}
	}
	if was.Unsure {
		v.state.FirstSeen = v.opt.Clock.Now()
	}
	if was.New {
		v.state.NewSince, v.state.NewHandover = v.opt.Clock.Now(), was.Handover
	}
	v.noted, v.state.LongestTTL = was, was.LongestTTL
}

// learned notes beside the store's identity what a turn concluded. That is how long
// a lease may be in force: an agent that restarts would not know that ttl was
// lowered; and whether an agent that restarts may take this store for its own. A
// turn that began before the store was first read, or was seen to be another one,
// knows nothing of it, and must not undo what was noted.
func (v *viewer) learned(of ha.Store, ttl time.Duration, sure bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	k := v.noted
	if ttl != 0 {
		k.LongestTTL = ttl
	}
	if sure && of.Known && of.NewSince == v.state.NewSince {
		k.Unsure, k.New, k.Handover = false, false, ""
	}
	was := v.noted
	if k.StoreID == "" || k.LongestTTL == was.LongestTTL && k.Unsure == was.Unsure && k.New == was.New {
		return
	}
	v.save(k)
}

// save writes beside everything else, the newest last: a disk that hangs must hold
// up neither the view nor the loop. It is called under the lock.
func (v *viewer) save(k known) {
	v.pending, v.noted, v.saved = &k, k, v.opt.Clock.Wall()
	if v.saving {
		return
	}
	v.saving = true
	go func() {
		for {
			v.mu.Lock()
			next := v.pending
			v.pending, v.saving = nil, next != nil
			v.mu.Unlock()
			if next == nil {
				return
			}
			v.write(*next)
		}
	}()
}

func (v *viewer) path() string { return filepath.Join(v.opt.StateDir, "store_seen.json") }

func (v *viewer) read() (known, error) {
	var k known
	err := readState(v.path(), &k)
	return k, err
}

func (v *viewer) write(k known) {
	if err := writeState(v.path(), k); err != nil {
		v.opt.Logger.Warn("could not remember the store's identity", "file", v.path(), "error", err)
	}
}

// current returns the state of knowledge. A keeper that cannot reach the store
// means that the view may be old although the watch has not noticed yet.
func (v *viewer) current(keeperError string) ha.Store {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.state
	if s.Known && s.Reachable && keeperError != "" {
		s.Reachable, s.LastError = false, keeperError
	}
	return s
}

// matters reports whether the loop must look at once. Positions that move all
// the time, and this member's own key, do not wake it: two members would keep
// each other awake.
func matters(a, b cluster.View, me string) bool {
	return !reflect.DeepEqual(still(a, me), still(b, me))
}

func still(v cluster.View, me string) cluster.View {
	v.Revision, v.Status, v.Sync.Version = 0, cluster.Status{}, ""
	members := make([]cluster.Member, 0, len(v.Members))
	for _, m := range v.Members {
		if m.Name != me {
			m.XLog, m.Received, m.Replayed = 0, 0, 0
			members = append(members, m)
		}
	}
	v.Members = members
	return v
}
