package ha_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/wal"
)

// verbs change what member a sees. Everywhere _ means unknown, and none that a
// key is absent; what a line does not name stays as it was.
//
//	world leading|following|leaderless|racing|empty   begin anew
//	tick 500ms                         time passes
//	self nofailover=yes …              tags of a; bootstrap=no, namesake=URL
//	set sync=on ttl=30s …              dynamic settings
//	server role=standby lsn=0/5000000 …  the local server
//	walsender b sync=sync flush=0/5000000 | walsender b none
//	task promote | task none | task ended promote "error"
//	lease held|renewed|none|refused    a's own lease
//	lease adrift                       the key is gone, and the members' word keeps it
//	recorded none | recorded a b c     the members that failsafe lists
//	question open | question accepted | question refused "why"   the latest round of questions to them
//	promise b                          a accepted b as leader just now
//	guard running=no
//	store down | up | unknown | new    the store
//	initialize none | initialize system=7000 owner=b
//	leader none | leader b | leader a session=other
//	member b none | member b state=stopped …
//	status optime=0/5000000 slots=b:0/5000000 retain=c
//	history none | 1@0/3000000 2@0/4000000
//	timelines none | 2:b:0/3000000:aa 3:c
//	failover none | failover leader=a candidate=b at=…
//	sync none | sync leader=a standbys=b
//	config none
//	handover none | handover leader=b lsn=0/5000000 tl=2 members=c term=2   term: the leader key that it ended with
//	peer c lsn=0/5000000 tl=2 voting=yes eligible=yes …   the answer to the latest question
//	peer c error=refused [closed|server-silent] | peer c silent
//	request restart id=1 role=primary … | request reinit id=2 force=yes … | request scheduled at=… … | request none
//	stopping
var verbs = map[string]func(*world, args) error{
	"world": func(w *world, a args) error {
		begin, ok := worlds[a.word(0)]
		if !ok {
			return fmt.Errorf("no such world")
		}
		*w = *begin()
		return nil
	},
	"tick": func(w *world, a args) error {
		d, err := time.ParseDuration(a.word(0))
		w.o.Now, w.o.Wall = w.o.Now.Add(d), w.o.Wall.Add(d)
		return err
	},
	"stopping": func(w *world, a args) error { w.o.Stopping = true; return nil },
	"self":     editSelf, "set": editSettings, "server": editServer, "walsender": editWalsender, "task": editTask,
	"lease": editLease, "store": editStore,
	"guard": func(w *world, a args) error {
		return a.each(fields{"running": yes(&w.o.Guard.Running), "required": yes(&w.o.Guard.Required),
			"watchdog": func(v string) error { w.o.Guard.Watchdog = v; return nil }})
	},
	"initialize": editInitialize, "leader": editLeader, "member": editMember, "status": editStatus,
	"history": editHistory, "timelines": editTimelines, "failover": editFailover, "sync": editSync,
	"config": func(w *world, a args) error {
		w.o.Store.View.Config = cluster.Config{}
		if a.word(0) != "none" {
			w.o.Store.View.Config = cluster.Config{Present: true, JSON: "{}", Version: w.version()}
		}
		return nil
	},
	"forget":   func(w *world, _ args) error { w.m = ha.Memory{}; return nil }, // another agent
	"recorded": editRecorded, "question": editQuestion,
	"promise": func(w *world, a args) error {
		w.o.Failsafe.Leader, w.o.Failsafe.Until = a.word(0), fence.Promised(w.o.Now, w.o.Settings.TTL)
		return nil
	},
	"handover": editHandover, "peer": editPeer, "request": editRequest,
}

// edit applies one line.
func (w *world) edit(line string) error {
	words, err := split(line)
	if err != nil || len(words) == 0 {
		return err
	}
	verb, ok := verbs[words[0]]
	if !ok {
		return fmt.Errorf("no such verb")
	}
	return verb(w, words[1:])
}

// version is a key's next version.
func (w *world) version() cluster.Version {
	w.rev++
	return cluster.Version(strconv.Itoa(w.rev))
}

// args are the words after a verb: bare ones and key=value.
type args []string

func (a args) word(i int) string {
	if i < len(a) {
		return a[i]
	}
	return ""
}

func (a args) rest(i int) args { return a[min(i, len(a)):] }

// fields say where the value of each key goes.
type fields map[string]func(string) error

func (a args) each(f fields) error {
	for _, arg := range a {
		k, v, ok := strings.Cut(arg, "=")
		set := f[k]
		if !ok || set == nil {
			return fmt.Errorf("no such field %q", arg)
		}
		if err := set(v); err != nil {
			return fmt.Errorf("%s: %w", arg, err)
		}
	}
	return nil
}

// split cuts a line at blanks; double quotes keep blanks together.
func split(line string) ([]string, error) {
	var out []string
	var cur strings.Builder
	quoted, any := false, false
	for _, r := range line {
		switch {
		case r == '"':
			quoted, any = !quoted, true
		case r == ' ' && !quoted:
			if any {
				out = append(out, cur.String())
			}
			cur.Reset()
			any = false
		default:
			cur.WriteRune(r)
			any = true
		}
	}
	if quoted {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if any {
		out = append(out, cur.String())
	}
	return out, nil
}

func yes(p *bool) func(string) error {
	return func(s string) error {
		if s != "yes" && s != "no" && s != "_" {
			return fmt.Errorf("want yes, no or _")
		}
		*p = s == "yes"
		return nil
	}
}

func text[T ~string](p *T) func(string) error {
	return func(s string) error {
		*p = T(s)
		if s == "_" || s == "none" {
			*p = ""
		}
		return nil
	}
}

func duration(p *time.Duration) func(string) error {
	return func(s string) (err error) { *p, err = time.ParseDuration(s); return err }
}

func number[T ~int | ~uint32 | ~uint64](p *T) func(string) error {
	return func(s string) error {
		if s == "_" {
			*p = 0
			return nil
		}
		n, err := strconv.ParseUint(s, 10, 32)
		*p = T(n)
		return err
	}
}

func lsn(p *wal.LSN) func(string) error {
	return func(s string) (err error) {
		*p = 0
		if s != "_" {
			*p, err = wal.ParseLSN(s)
		}
		return err
	}
}

func words(p *[]string) func(string) error {
	return func(s string) error {
		*p = nil
		if s != "none" && s != "_" {
			*p = strings.Split(s, ",")
		}
		return nil
	}
}

// ident reads switch:checksum.
func ident(p *cluster.TimelineIdentity) func(string) error {
	return func(s string) error {
		*p = cluster.TimelineIdentity{}
		if s == "_" {
			return nil
		}
		at, crc, _ := strings.Cut(s, ":")
		if err := lsn(&p.Switch)(at); err != nil {
			return err
		}
		n, err := strconv.ParseUint(crc, 16, 32)
		p.CRC = uint32(n)
		return err
	}
}

// switches reads 1@0/3000000,2@0/4000000.
func switches(s string) (wal.History, error) {
	if s == "_" || s == "none" {
		return nil, nil
	}
	var out wal.History
	for _, one := range strings.Split(s, ",") {
		tl, at, _ := strings.Cut(one, "@")
		var sw wal.Switch
		if err := number(&sw.Timeline)(tl); err != nil {
			return nil, err
		}
		if err := lsn(&sw.LSN)(at); err != nil {
			return nil, err
		}
		out = append(out, sw)
	}
	return out, nil
}

// slotStates reads b:0/5000000,c.
func slotStates(p *[]cluster.SlotState) func(string) error {
	return func(s string) error {
		*p = nil
		if s == "none" || s == "_" {
			return nil
		}
		for _, one := range strings.Split(s, ",") {
			name, at, ok := strings.Cut(one, ":")
			st := cluster.SlotState{Name: name}
			if ok {
				if err := lsn(&st.LSN)(at); err != nil {
					return err
				}
			}
			*p = append(*p, st)
		}
		return nil
	}
}

func tagFields(t *cluster.Tags) fields {
	return fields{
		"nofailover": yes(&t.NoFailover), "nosync": yes(&t.NoSync), "nostream": yes(&t.NoStream), "clonefrom": yes(&t.CloneFrom),
		"replicatefrom": text(&t.ReplicateFrom),
		"priority": func(s string) error {
			n, err := strconv.Atoi(s)
			t.FailoverPriority = &n
			return err
		},
		"sync_priority": func(s string) error {
			n, err := strconv.Atoi(s)
			t.SyncPriority = &n
			return err
		},
	}
}

func join(fs ...fields) fields {
	out := fields{}
	for _, f := range fs {
		for k, v := range f {
			out[k] = v
		}
	}
	return out
}

func editSelf(w *world, a args) error {
	s := &w.o.Self
	return a.each(join(tagFields(&s.Tags), fields{"bootstrap": yes(&s.CanBootstrap), "namesake": text(&s.Namesake)}))
}

func editSettings(w *world, a args) error {
	s := &w.o.Settings
	return a.each(fields{
		"ttl": duration(&s.TTL), "loop_wait": duration(&s.LoopWait), "sync": text(&s.SyncMode), "paused": yes(&s.Paused), "failsafe": yes(&s.Failsafe),
		"lag": number(&s.MaxLagOnFailover), "check_timeline": yes(&s.CheckTimeline), "max_history": number(&s.MaxHistory),
		"start_timeout": duration(&s.PrimaryStartTimeout), "stall_timeout": duration(&s.PrimaryStallTimeout), "veto": duration(&s.UnguardedVeto), "lose": yes(&s.LoseLastRecord), "stop_timeout": duration(&s.PrimaryStopTimeout), "slots": yes(&s.UseSlots), "slots_ttl": duration(&s.SlotsTTL),
		"rewind": yes(&s.UsePgRewind), "reclone_on_failure": yes(&s.RecloneOnRewindFailure), "reclone_on_divergence": yes(&s.RecloneOnDivergence),
	})
}

func editServer(w *world, a args) error {
	s := &w.o.Server
	return a.each(fields{
		"dir": text(&s.Dir), "process": text(&s.Process), "role": text(&s.Role), "system": text(&s.SystemID),
		"tl": number(&s.Position.Timeline),
		"lsn": func(v string) error {
			err := lsn(&s.Position.LSN)(v)
			if s.Replayed != 0 {
				s.Replayed = s.Position.LSN
			}
			return err
		},
		"replayed": lsn(&s.Replayed), "replay_done": yes(&s.ReplayDone), "receiver": yes(&s.Receiver), "streaming": yes(&s.Streaming),
		"upstream": text(&s.Upstream), "identity": ident(&s.Identity),
		"history": func(v string) (err error) { s.History, err = switches(v); return err },
		"clean":   yes(&s.Clean), "shut_down": yes(&s.ShutDown), "rewinding": yes(&s.Rewinding), "unproven": yes(&s.RewindUnproven), "can_rewind": yes(&s.CanRewind),
		"checkpoint_tl": number(&s.CheckpointTimeline), "sync_names": words(&s.SyncNames), "slots": slotStates(&s.Slots),
		"error": text(&s.LastError), "ended": text(&s.Ended), "claim": text(&s.Claim), "version": number(&s.Version), "started": instantOf(&s.PostmasterStart),
		"pending": func(v string) error {
			s.Pending = nil
			if v == "yes" {
				s.Pending = []cluster.SettingChange{{Name: "shared_buffers", Old: "1", New: "2"}}
			}
			return nil
		},
		"since": w.ago(&s.RoleSince), "proven": w.ago(&s.Proven), "proof_error": text(&s.Unproven), "heard": w.ago(&s.Heard),
	})
}

// ago reads how long ago an instant was.
func (w *world) ago(p *boot.Instant) func(string) error {
	return func(v string) error {
		ago, err := time.ParseDuration(v)
		*p = w.o.Now.Add(-ago)
		return err
	}
}

// instantOf reads the time of a day in the worlds' year.
func instantOf(p *time.Time) func(string) error {
	return func(s string) (err error) {
		*p = time.Time{}
		if s != "_" {
			*p, err = time.Parse(time.RFC3339, s)
		}
		return err
	}
}

func conditionFields(c *cluster.RestartConditions) fields {
	return fields{"role": text(&c.Role), "older_than": number(&c.OlderThan), "pending": yes(&c.OnlyPending), "timeout": duration(&c.Timeout)}
}

func editRequest(w *world, a args) error {
	r := &w.o.Requests
	switch a.word(0) {
	case "none":
		*r = ha.Requests{}
	case "restart":
		return a.rest(1).each(join(conditionFields(&r.Restart.Conditions), fields{"id": number(&r.Restart.ID)}))
	case "reinit":
		return a.rest(1).each(fields{"id": number(&r.Reinit.ID), "force": yes(&r.Reinit.Force), "from_leader": yes(&r.Reinit.FromLeader)})
	case "scheduled":
		return a.rest(1).each(join(conditionFields(&r.Scheduled.Conditions),
			fields{"at": instantOf(&r.Scheduled.At), "started": instantOf(&r.Scheduled.PostmasterStart)}))
	default:
		return fmt.Errorf("want restart, reinit, scheduled or none")
	}
	return nil
}

func editWalsender(w *world, a args) error {
	r := &w.o.Server.Replication
	name := a.word(0)
	i := slices.IndexFunc(*r, func(s ha.Walsender) bool { return s.Name == name })
	if a.word(1) == "none" {
		*r = slices.DeleteFunc(slices.Clone(*r), func(s ha.Walsender) bool { return s.Name == name })
		return nil
	}
	if i < 0 {
		*r = append(slices.Clone(*r), streaming(name))
		slices.SortFunc(*r, func(x, y ha.Walsender) int { return strings.Compare(x.Name, y.Name) })
		return editWalsender(w, a)
	}
	s := &(*r)[i]
	return a.rest(1).each(fields{"state": text(&s.State), "sync": text(&s.SyncState), "flush": lsn(&s.Flush)})
}

func editTask(w *world, a args) error {
	t := &w.o.Task
	switch a.word(0) {
	case "none":
		t.Kind, t.Progress = "", ""
	case "ended":
		t.Kind, t.Progress = "", ""
		t.Last = ha.TaskResult{Seq: t.Last.Seq + 1, Kind: ha.ActionKind(a.word(1)), Error: a.word(2), At: w.o.Now}
	default:
		t.Kind, t.Since, t.Progress = ha.ActionKind(a.word(0)), w.o.Now, a.word(1)
		if !t.Kind.IsTask() {
			return fmt.Errorf("no such task")
		}
	}
	return nil
}
