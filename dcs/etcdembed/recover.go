package etcdembed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// revisionBump is added to the revision of a recovered store: the former one may
// have gone further, and a revision must never name two writes.
const revisionBump = 1_000_000_000

// Recover makes the data of this member a new store of one member and the next
// generation: a person's decision after the majority was lost for good. What only
// the lost members had confirmed is lost. It refuses while a majority answers,
// while a partner is of a later store, and while this member's process runs. Then
// the member is started as usual. Members that have no directory join; one that
// has an old directory refuses to start as soon as it hears of the new store, and
// must be given none.
func Recover(ctx context.Context, c Config) (Identity, error) {
	return decideAlone(ctx, c, func(s *server, g ground, generation int) error {
		if g.dir != aLog {
			return fmt.Errorf("%s holds no data of the store: do this on a member that has kept its directory, or found the store anew when none has", c.DataDir)
		}
		return s.rebuild(ctx, generation)
	})
}

// Found makes this member alone a new, empty store: a person's decision when no
// store ever existed and not all members can be there, or when all directories
// are lost. The others join when they start.
func Found(ctx context.Context, c Config) (Identity, error) {
	return decideAlone(ctx, c, func(s *server, g ground, generation int) error {
		if g.dir == aLog {
			return fmt.Errorf("%s holds data of store %s: recover it instead, or move it away first", s.cfg.DataDir, g.own)
		}
		f, err := newFounding(s.cfg, generation, true)
		if err != nil {
			return err
		}
		return writeFounding(s.cfg, f)
	})
}

// decideAlone carries out a person's decision that makes this member a store of
// its own, of a generation that nobody has heard of.
func decideAlone(ctx context.Context, c Config, act func(s *server, g ground, generation int) error) (Identity, error) {
	c, err := c.absolute()
	if err != nil {
		return 0, err
	}
	if err := c.Validate(); err != nil {
		return 0, err
	}
	if err := prepareDir(c); err != nil {
		return 0, err
	}
	if err := ownedByUs(c.DataDir); err != nil {
		return 0, err
	}
	lock, err := lockDir(c)
	if err != nil {
		return 0, fmt.Errorf("%w: stop the agent (or the witness) of this node first", err)
	}
	defer lock.Close()
	s := &server{cfg: c}
	if s.ask, err = newAsker(c); err != nil {
		return 0, err
	}
	if err := finishRecovery(c); err != nil {
		return 0, err
	}
	g, err := survey(c)
	if err != nil {
		return 0, err
	}
	generation, err := s.nextGeneration(ctx, g)
	if err != nil {
		return 0, err
	}
	if err := act(s, g, generation); err != nil {
		return 0, err
	}
	if g, err = survey(c); err != nil {
		return 0, err
	}
	return g.own, record(c, g.own)
}

// nextGeneration is higher than all that this node and those that answer know
// of. It refuses where there is nothing to decide.
func (s *server) nextGeneration(ctx context.Context, g ground) (int, error) {
	highest := max(g.own.Generation(), g.marker.Generation())
	partners := s.ask.all(ctx)
	for _, a := range partners {
		if a.kind == running && s.majority(ctx, a.id, partners) {
			return 0, fmt.Errorf("a majority of store %s answers: nothing is to be decided, start this member as usual%s", a.id, asideHint(g, a.id))
		}
	}
	for _, a := range partners {
		if a.id.supersedes(g.own) && g.dir == aLog {
			return 0, fmt.Errorf("%s knows of store %s, which is later than this one, %s: decide there, or move this directory away first", a.from.Name, a.id, g.own)
		}
		highest = max(highest, a.id.Generation())
	}
	return highest + 1, nil
}

func asideHint(g ground, live Identity) string {
	if g.dir == aLog && g.own != live {
		return " once its directory, which is of another store, is moved away"
	}
	return ""
}

// ownedByUs: files made as another user could not be used by the agent.
func ownedByUs(dir string) error {
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d: run this as that user", dir, sys.Uid)
	}
	return nil
}

func (c Config) scratch() string   { return filepath.Join(c.DataDir, "recovering") }
func (c Config) recovered() string { return filepath.Join(c.DataDir, "recovered") }

// rebuild writes the new store's files beside the old ones, and then takes them
// into use. Until the old ones are moved away nothing has happened; from then on
// finishRecovery completes it, whenever it was broken off.
func (s *server) rebuild(ctx context.Context, generation int) error {
	c := s.cfg
	for _, left := range []string{c.scratch(), c.recovered()} { // of an attempt that was broken off
		if err := os.RemoveAll(left); err != nil {
			return err
		}
	}
	old := filepath.Join(c.scratch(), "old")
	if err := os.CopyFS(filepath.Join(old, "member"), os.DirFS(c.memberDir())); err != nil {
		return fmt.Errorf("copy the store's directory: %w", err)
	}
	reached("copied")
	if err := confirmAll(filepath.Join(old, "member", "wal")); err != nil {
		return fmt.Errorf("read the store's log: %w", err)
	}
	if err := s.settleLog(ctx, old); err != nil {
		return err
	}
	f, err := newFounding(c, generation, true)
	if err != nil {
		return err
	}
	to := filepath.Join(c.scratch(), "new")
	if err := s.restore(f, filepath.Join(old, "member", "snap", "db"), to); err != nil {
		return fmt.Errorf("write the new store: %w", err)
	}
	if err := syncTree(to); err != nil {
		return err
	}
	reached("restored")
	if err := os.Rename(to, c.recovered()); err != nil {
		return err
	}
	if err := syncDir(c.DataDir); err != nil {
		return err
	}
	reached("prepared")
	aside := c.memberDir() + ".former-" + time.Now().UTC().Format("20060102T150405.000000000")
	if err := os.Rename(c.memberDir(), aside); err != nil {
		return err
	}
	if err := syncDir(c.DataDir); err != nil {
		return err
	}
	reached("moved")
	return finishRecovery(c)
}

// finishRecovery completes a recovery whose old files are moved away already.
func finishRecovery(c Config) error {
	files := filepath.Join(c.recovered(), "member")
	if !exists(c.recovered()) || exists(c.memberDir()) && exists(files) {
		return nil
	}
	if exists(files) {
		if err := os.Rename(files, c.memberDir()); err != nil {
			return fmt.Errorf("finish the store's recovery: %w", err)
		}
		reached("renamed")
	}
	return errors.Join(syncDir(c.DataDir), os.RemoveAll(c.scratch()), os.RemoveAll(c.recovered()))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// settleLog lets etcd apply the log, since the database alone may lack the
// newest of it. It works on a copy and listens nowhere.
func (s *server) settleLog(ctx context.Context, dir string) error {
	ec := tuned()
	ec.Name, ec.Dir = s.cfg.Name, dir
	ec.ListenPeerUrls, ec.ListenClientUrls = nil, nil
	ec.ForceNewCluster = true
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(s.logger())
	e, err := s.start(ec)
	if err != nil {
		return err
	}
	defer e.Close()
	select {
	case <-e.Server.ReadyNotify():
		return nil
	case err := <-e.Err():
		return fmt.Errorf("apply the store's log: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// restore writes a store of one member with the data of a database.
func (s *server) restore(f founding, db, dir string) error {
	self := s.cfg.mustURL(s.cfg.advertisePeer())
	return snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: db, SkipHashCheck: true, // a file of ours, not one that travelled
		Name: s.cfg.Name, OutputDataDir: dir, PeerURLs: []string{self.String()},
		InitialCluster: f.cluster(s.cfg), InitialClusterToken: f.etcdToken(s.cfg),
		RevisionBump: revisionBump, MarkCompacted: true,
	})
}

// syncTree puts a directory on disk with all that is in it.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncDir(path) // works for files, too
	})
}
