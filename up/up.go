package up

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/dcs/etcdembed"
)

const (
	lookOften  = 100 * time.Millisecond // while it starts
	lookSteady = time.Second
	// askTimeout bounds a question to a member on this machine.
	askTimeout = 2 * time.Second
	// stopPatience is how long one step of the stop may take before its
	// processes are killed. A server that has much to write needs it.
	stopPatience = 2 * time.Minute
)

// Run starts the cluster (or takes over what runs of it), watches it until ctx
// ends, and then stops everything in order. Nothing is started when the error
// is about flags, the directory, programs or ports.
func Run(ctx context.Context, o Options) error {
	o, err := o.check()
	if err != nil {
		return err
	}
	r := &runner{opt: o, screen: newScreen(o.Out)}
	held, err := r.prepare()
	if held != nil {
		defer held.Close()
	}
	if err != nil {
		return err
	}
	if r.client, err = client.New(client.Options{Timeout: askTimeout}); err != nil {
		return err
	}
	defer r.client.Close()
	err = r.start()
	if err == nil {
		r.watch(ctx)
	}
	return errors.Join(err, r.stop())
}

// runner is one run of `up`.
type runner struct {
	opt    Options
	plan   plan
	owner  owner
	screen *screen
	client *client.Client

	stores []*etcdembed.Supervisor // as plan.members
	agents []*keeper               // as plan.servers()
	entry  *keeper

	seen  []sight // the last look
	told  []told  // what was said of each member
	votes string  // what was said of the store
	ready bool
	late  bool // it was said that the start takes long
}

// prepare does all that can fail before anything starts. The file is the
// directory's lock.
func (r *runner) prepare() (held *os.File, err error) {
	dir := r.opt.Dir
	if r.owner, err = findOwner(); err != nil {
		return nil, err
	}
	if err := makeDir(dir, r.owner); err != nil {
		return nil, err
	}
	if held, err = lock(dir); err != nil {
		return nil, err
	}
	rec, known, err := settle(r.opt)
	if err != nil {
		return held, err
	}
	if err := findPrograms(rec.PgBin); err != nil {
		return held, err
	}
	r.plan = newPlan(dir, rec)
	if err := checkPorts(r.plan, r.wantedPorts(), known); err != nil {
		return held, err
	}
	s, err := loadSecrets(dir)
	if err != nil {
		return held, err
	}
	if err := makeCertificate(dir, rec.Scope); err != nil {
		return held, err
	}
	if err := writeJSON(filepath.Join(dir, recordName), rec); err != nil {
		return held, err
	}
	return held, r.plan.writeFiles(r.owner, s)
}

// wantedPorts are those that nothing of ours listens on yet.
func (r *runner) wantedPorts() []port {
	var list []port
	if !runs(r.entryCommand().pid) {
		list = r.plan.entryPorts()
	}
	for _, m := range r.plan.members {
		if !m.witness && postmaster(m.data()) == 0 {
			list = append(list, m.serverPorts()...)
		}
		if !m.witness && !runs(r.agentCommand(m).pid) {
			list = append(list, m.agentPorts()...)
		}
		if !storeRuns(m) {
			list = append(list, m.storePorts()...)
		}
	}
	slices.SortFunc(list, func(a, b port) int { return a.number - b.number })
	return list
}

// runs reports whether the process of a pid file lives.
func runs(pidFile string) bool {
	var p pidRecord
	return readJSON(pidFile, &p) == nil && p.Alive()
}

func (r *runner) agentCommand(m member) command {
	return command{name: m.name + "'s agent", program: r.opt.Program, args: []string{"agent", m.file()}, env: cleanEnv(r.opt.Env),
		dir: m.dir, log: filepath.Join(m.dir, "agent.log"), pid: filepath.Join(m.dir, "agent.pid")}
}

func (r *runner) entryCommand() command {
	dir := r.plan.entryDir
	return command{name: "the entrypoint", program: r.opt.Program, args: []string{"proxy", r.plan.entryFile()}, env: cleanEnv(r.opt.Env),
		dir: dir, log: filepath.Join(dir, "entrypoint.log"), pid: filepath.Join(dir, "entrypoint.pid")}
}

// cleanEnv drops what would change a member's configuration behind our back, or
// talk to our service manager in our name.
func cleanEnv(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		for _, p := range []string{"PATRONI", "MATRIARCH_", "NOTIFY_SOCKET=", "PGPASSFILE=", "PGPASSWORD=", "PGSERVICE", "PGOPTIONS=", "PGDATA="} {
			if strings.HasPrefix(kv, p) {
				return true
			}
		}
		return false
	})
}

// start sets everything going at once; what needs another waits for it.
func (r *runner) start() error {
	if r.opt.Env == nil {
		r.opt.Env = os.Environ()
	}
	p := r.plan
	r.screen.say("starting %s in %s: %s", p.Scope, p.dir, size(p.Members))
	for _, m := range p.members {
		s, err := p.newStore(m, r.opt.Program, func() {})
		if err == nil {
			err = s.Start()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		r.stores = append(r.stores, s)
	}
	for i, m := range p.servers() {
		k := &keeper{command: r.agentCommand(m), say: r.screen.say, held: func() string { return heldDown(m, false) }}
		r.agents = append(r.agents, k)
		// The agent takes over the store that runs; were it first, it would start one.
		k.start(func(ctx context.Context) error {
			_, err := r.stores[i].Wait(ctx, func(s etcdembed.State) bool { return s.Settings != "" && s.PID != 0 })
			return err
		})
	}
	r.entry = &keeper{command: r.entryCommand(), say: r.screen.say}
	r.entry.start(r.stores[0].Ready)
	r.told = make([]told, p.Members)
	return nil
}

func size(members int) string {
	switch {
	case members == 1:
		return "1 server. It is not highly available: one server, one vote; -n 3 is"
	case members%2 == 0:
		return fmt.Sprintf("%d servers and a witness, %d votes", members, votes(members))
	}
	return fmt.Sprintf("%d servers, %d votes", members, votes(members))
}

// watch looks and tells until ctx ends.
func (r *runner) watch(ctx context.Context) {
	defer r.screen.show("")
	for {
		seen := look(ctx, r.client, r.plan.servers())
		if ctx.Err() != nil {
			return
		}
		r.seen = seen
		r.tell()
		pause := lookOften
		if r.ready {
			pause = lookSteady
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
