package api

import (
	"context"
	"errors"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// Source is what the server serves: the agent, or a fake in tests. All methods
// may be called from several goroutines. Methods that take a context return
// when it ends.
type Source interface {
	// Status is this member's snapshot, from memory, without waiting: health
	// checks call it many times a second. Lease is as the lease keeper has it
	// now, the server's facts are those of the last probe.
	Status() Status

	// Fresh is Status after asking the local server again, so that positions
	// are current: peers compare them in a race. When the server does not
	// answer before ctx ends it is the last known, with Facts false.
	Fresh(ctx context.Context) Status

	// Cluster reads the store now.
	Cluster(ctx context.Context) (cluster.View, error)

	// WriteConfig replaces the dynamic configuration if the key still has the
	// version was, and wakes the loop. Errors: ErrConflict, a *Refusal for
	// values that are wrong, or any other (outcome unknown).
	WriteConfig(ctx context.Context, json string, was cluster.Version) error

	// WriteFailover puts the request to move the leadership (its Version is
	// ignored) and wakes the loop, or refuses with a *Refusal.
	WriteFailover(ctx context.Context, f cluster.Failover) error

	// ClearFailover withdraws the request if the key still has the version was;
	// ErrConflict otherwise.
	ClearFailover(ctx context.Context, was cluster.Version) error

	// CanLead asks the member itself whether it could take over: nil, or why
	// not (unreachable, tagged, watchdog failed).
	CanLead(ctx context.Context, m cluster.Member) error

	// Restart restarts the local server if the conditions hold, and returns when
	// it is up again, or with a *Refusal that says why not. When ctx ends first,
	// the restart goes on and the error is ctx's.
	Restart(ctx context.Context, c cluster.RestartConditions) error

	// ScheduleRestart keeps a restart for its time; ErrConflict when one is
	// scheduled already. PostmasterStart is the Source's business.
	ScheduleRestart(ctx context.Context, r cluster.ScheduledRestart) error

	// CancelRestart forgets the scheduled restart; had is false when there was
	// none.
	CancelRestart(ctx context.Context) (had bool, err error)

	// Reinitialize begins to copy the data of this member anew and returns when
	// that has begun, or a *Refusal. force cancels an action under way first;
	// fromLeader copies from the leader and from nobody else.
	Reinitialize(ctx context.Context, force, fromLeader bool) error

	// Accept answers a leader that cannot reach the store: nil is the promise that
	// this member leaves the lease alone for that long (0: the leader does not say),
	// and a *Refusal that it gives none. It also says how far the log here reaches.
	Accept(ctx context.Context, leader string, promise time.Duration) (wal.LSN, error)

	// Reload reads the configuration files and certificates again. An error
	// says what is wrong with them: then nothing changed.
	Reload() error

	// Wake makes the loop look again now.
	Wake()
}

// ErrConflict says that a key changed meanwhile: the write did not happen.
var ErrConflict = errors.New("the key changed meanwhile")

// Refusal is an answer for the person who asked: nothing was started.
type Refusal struct {
	Code int // HTTP status, 4xx or 5xx
	Text string
}

// Error is the text for the person.
func (r *Refusal) Error() string { return r.Text }

func refuse(code int, text string) *Refusal { return &Refusal{Code: code, Text: text} }
