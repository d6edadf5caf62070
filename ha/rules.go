package ha

// The rules, in order of precedence: the first whose condition holds answers.
// See rules table below.

// The names of the rules.
const (
	LeaseLost        RuleID = "lease-lost"
	StoreUnknown     RuleID = "store-unknown"
	ForeignData      RuleID = "foreign-data"
	TaskRunning      RuleID = "task-running"
	PausedRule       RuleID = "paused"
	UnfinishedData   RuleID = "unfinished-bootstrap"
	BootstrapRule    RuleID = "bootstrap"
	WaitForBootstrap RuleID = "wait-for-bootstrap"
	AdoptData        RuleID = "adopt-data"
	CloneRule        RuleID = "clone"
	HandOver         RuleID = "hand-over"
	ReleaseOnStop    RuleID = "release-on-stop"
	SwitchoverAway   RuleID = "switchover-away"
	CrashedPrimary   RuleID = "crashed-primary"
	Lead             RuleID = "lead"
	PromoteRule      RuleID = "promote"
	Diverged         RuleID = "diverged"
	CrashedReplica   RuleID = "crashed-replica"
	Race             RuleID = "race"
	FollowRule       RuleID = "follow"
	Idle             RuleID = "idle"
)

// Decide says what this member should do about what it sees.
func Decide(o Observation, m Memory) Decision { return Decision{Rule: Idle, Memory: m} }
