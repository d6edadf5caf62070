package agent

import (
	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/ha"
)

// heartbeat is the state of the lines that repeat.
type heartbeat struct {
	text string
	at   boot.Instant
}

// beat says once per loop_wait, and when it changes, how this member stands.
func (a *Agent) beat(o ha.Observation, d ha.Decision) {
	if a.opt.Heartbeat == nil {
		return
	}
	text, calm := stand(o, d)
	// A turn that comes a little early, as timers do, is still the next loop's.
	if text == a.beating.text && o.Now.Sub(a.beating.at) < o.Settings.LoopWait*9/10 {
		return
	}
	a.beating = heartbeat{text, o.Now}
	if !calm {
		owner := o.Store.View.Leader.Name
		if owner == "" {
			owner = "None"
		}
		a.opt.Heartbeat("Lock owner: " + owner + "; I am " + a.opt.Name)
	}
	a.opt.Heartbeat(text)
}

// stand is how a member stands, in the words that operators of Patroni search
// their logs for where it has such words, and whether all is well.
func stand(o ha.Observation, d ha.Decision) (text string, calm bool) {
	me, leader := "I am ("+o.Self.Name+"), ", o.Store.View.Leader.Name
	switch {
	case d.Situation == ha.SituationLeading && (d.Rule == ha.Lead || d.Rule == ha.Paused):
		text, calm = "no action. "+me+"the leader with the lock", true
	case d.Situation == ha.SituationFollowing && (d.Rule == ha.Idle || d.Rule == ha.Paused):
		text, calm = "no action. "+me+"a secondary, and following a leader ("+leader+")", true
	default:
		text = phrase(o, d, leader)
	}
	if o.Settings.Paused {
		text = "PAUSE: " + text
	}
	return text, calm
}

// phrase is the line of a turn with something to do. What the reference has no
// words for, or means something else by, is said in ours.
func phrase(o ha.Observation, d ha.Decision, leader string) string {
	running := o.Task.Kind
	for _, act := range d.Actions {
		if act.Kind.IsTask() {
			running = act.Kind
		}
	}
	switch {
	case d.Rule == ha.TakeOver || running == ha.Promote:
		return "promoted self to leader by acquiring session lock"
	case d.Rule == ha.BootstrapCluster || running == ha.Bootstrap:
		return "trying to bootstrap a new cluster"
	case d.Rule == ha.WaitForBootstrap:
		return "waiting for leader to bootstrap"
	case running == ha.Clone && leader != "":
		return "trying to bootstrap from leader '" + leader + "'"
	case running == ha.Rewind && leader != "":
		return "running pg_rewind from " + leader
	case running == ha.StartPrimary:
		return "starting primary after failure"
	case running == ha.StartReplica:
		return "starting as a secondary"
	case d.Rule == ha.SwitchoverAway || d.Rule == ha.HandOver && !o.Stopping:
		return "switchover: demoting myself"
	case d.Rule == ha.FailsafeLead && o.Failsafe.Error == "":
		return "continue to run as a leader because failsafe mode is enabled and all members are accessible"
	case d.Rule == ha.StoreUnknown || d.Rule == ha.FailsafeLead:
		return "DCS is not accessible"
	case d.Rule == ha.LeaseLost:
		return "demoted self because failed to update leader lock in DCS"
	case d.Rule == ha.Race && len(d.Actions) == 0:
		return "following a different leader because i am not the healthiest node"
	}
	return d.Why
}
