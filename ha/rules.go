package ha

// The names of the rules.
const (
	LeaseLost        RuleID = "lease-lost"
	TaskRunning      RuleID = "task-running"
	ReleaseOnStop    RuleID = "release-on-stop"
	HandOver         RuleID = "hand-over"
	FailsafeLead     RuleID = "failsafe"
	StoreUnknown     RuleID = "store-unknown"
	Reclaim          RuleID = "reclaim"
	ForeignData      RuleID = "foreign-data"
	Reinitialize     RuleID = "reinitialize"
	Restart          RuleID = "restart"
	Paused           RuleID = "paused"
	PermanentLeader  RuleID = "permanent-leader"
	HoldBack         RuleID = "hold-back"
	UnfinishedData   RuleID = "unfinished-bootstrap"
	BootstrapCluster RuleID = "bootstrap"
	WaitForBootstrap RuleID = "wait-for-bootstrap"
	CloneData        RuleID = "clone"
	NoData           RuleID = "no-data"
	AdoptData        RuleID = "adopt-data"
	CrashedPrimary   RuleID = "crashed-primary"
	StalledPrimary   RuleID = "stalled-primary"
	SwitchoverAway   RuleID = "switchover-away"
	Lead             RuleID = "lead"
	TakeOver         RuleID = "promote"
	Diverged         RuleID = "diverged"
	CrashedReplica   RuleID = "crashed-replica"
	Race             RuleID = "race"
	FollowLeader     RuleID = "follow"
	Idle             RuleID = "idle"
)

// rule is a row of the table: its name, what it is about, and the function that
// answers, or says that it does not apply.
type rule struct {
	id    RuleID
	about string
	try   func(*turn) bool
}

// rules is the policy: the first rule that answers decides, so the order says
// what matters more.
var rules = []rule{
	// Safety first: whatever else is the case, nothing writes without a lease.
	{LeaseLost, "writable without a live lease: stop, or fence", (*turn).leaseLost},
	// A long action owns the server; nothing below may touch it meanwhile.
	{TaskRunning, "a long action owns the server: wait for it", (*turn).taskRunning},
	// A person's word to stop, and a handover that has begun, are finished even
	// when the store is away: both only ever make the server stop.
	{HandOver, "a clean handover is under way: stop, see a successor caught up, release", (*turn).handOver},
	{ReleaseOnStop, "the agent is told to stop: settle the server, give the lease up, end", (*turn).releaseOnStop},
	{FailsafeLead, "the store does not answer and failsafe_mode is on: lead on for as long as every recorded member accepts it", (*turn).failsafeLead},
	{StoreUnknown, "the store does not answer: keep what is, start nothing new", (*turn).storeUnknown},
	// From here on the view is current.
	{Reclaim, "the members' word kept the lease and its key is gone: take it again before anything else", (*turn).reclaim},
	{ForeignData, "the data belong to another cluster: refuse", (*turn).foreignData},
	// What a person asks of this one member is done in a pause too, and what was
	// begun is finished before anything else is.
	{Reinitialize, "a person wants the data here copied anew: stop the replica and copy", (*turn).reinitialize},
	{Restart, "a person wants PostgreSQL restarted: stop it and start it in its role, a primary under its lease", (*turn).restart},
	{Paused, "a person paused the cluster: keep the lease, change nothing", (*turn).paused},
	// Before anything that takes the key's word for a leader.
	{PermanentLeader, "the leader key belongs to no session and never expires: remove an old one of this member's name, report another's", (*turn).permanentLeader},
	// Before anything that could take the lease.
	{HoldBack, "nobody holds the key, but this member accepted a leader without the store: leave the lease alone until that promise is over", (*turn).holdBack},
	// Getting data.
	{UnfinishedData, "a bootstrap of ours was not accepted yet: finish it or set it aside", (*turn).unfinishedData},
	{BootstrapCluster, "nothing was ever initialised: claim it and make the database", (*turn).bootstrap},
	{WaitForBootstrap, "another member makes the database: wait", (*turn).waitForBootstrap},
	{CloneData, "no data here and somebody leads: copy them", (*turn).clone},
	{NoData, "no data here and nobody to copy from: wait", (*turn).noData},
	{AdoptData, "data here but the store knows no cluster: register the primary's", (*turn).adoptData},
	// Leading.
	{CrashedPrimary, "the leader's server is down: start it in place, or give the lease up", (*turn).crashedPrimary},
	// Before a switchover: what cannot commit cannot be shut down cleanly either.
	{StalledPrimary, "the primary cannot commit any more and another member can lead: kill it, give the lease up", (*turn).stalledPrimary},
	{SwitchoverAway, "a person wants another leader: find one that can, then hand over", (*turn).switchoverAway},
	{Lead, "this member leads: do the leader's duties", (*turn).lead},
	{TakeOver, "this member won the lease: claim a timeline and promote", (*turn).takeOver},
	// Following. Divergence comes before anything that would start or feed.
	{Diverged, "the server has what the leader never had: stop it, rewind or re-clone", (*turn).diverged},
	{CrashedReplica, "the server is down: start it as a standby", (*turn).crashedReplica},
	{Race, "nobody leads: promise, ask, and take the lease if this member is best", (*turn).race},
	{FollowLeader, "the standby follows the wrong server or none: point it at the leader", (*turn).follow},
	{Idle, "all is well", (*turn).idle},
}

// Decide says what this member should do about what it sees. It is total and
// pure: the same input always gives the same decision.
func Decide(o Observation, m Memory) Decision { return decide(rules, o, m) }

func decide(table []rule, o Observation, m Memory) Decision {
	t := newTurn(&o, &m)
	t.remember()
	t.followRestart()
	t.followReinit()
	for i := range table {
		if r := &table[i]; r.try(t) {
			t.d.Rule = r.id
			t.announce()
			t.answerPeople()
			t.d.Memory = t.m
			return t.d
		}
	}
	panic("unreachable: the last rule always answers")
}

// RuleIDs lists the rules in order of precedence, for metrics and checks.
func RuleIDs() []RuleID {
	var out []RuleID
	for _, r := range rules {
		out = append(out, r.id)
	}
	return out
}

// Table renders the rule table, one line per rule, for the documents.
func Table() string {
	var s string
	for i, r := range rules {
		s += sentence("| %d | `%s` | %s |\n", i+1, r.id, r.about)
	}
	return s
}
