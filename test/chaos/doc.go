// Package chaos drives clusters of real servers through schedules of faults and
// checks from outside what must hold. A schedule is drawn from a seed; each host
// is a network namespace (test/e2e/lab).
//
//	schedule.go   draws: rounds of overlapping faults, each followed by healing
//	faults_*.go   the faults, each with its undoing
//	world.go      one run: strikes the faults, heals, looks whether all recovers
//	client.go     writers through the entrypoint, and on every node's own port
//	              over the network and from within the node's own namespace;
//	              they remember on one clock what was acknowledged when
//	check.go      the invariants, judged from these memories alone
//	report.go     the table of faults × invariants
//	margin_test.go  how long nobody accepts writes between two primaries
//
// Where and when things happen on real servers differs from run to run of the same
// seed: the schedule is the same, the interleaving is not.
//
//	MATRIARCH_CHAOS=1 go test ./test/chaos -run TestShortChaos -v            one and a half minutes
//	MATRIARCH_SLOW=1 go test ./test/chaos -run TestChaos -seed=7 -length=10m -timeout 60m -v
package chaos
