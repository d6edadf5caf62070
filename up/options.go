package up

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
)

// Limits of a cluster on one machine.
const (
	defaultMembers = 3
	// maxMembers: more votes than seven make a store slower, not safer.
	maxMembers   = 7
	defaultScope = "demo"
)

// Limits of the first port: all of the largest cluster's must exist, and none
// be one of root's.
const minBase = 1024

var maxBase = 65535 - portCount(maxMembers)

// Options say which cluster to run.
type Options struct {
	// Members is the number of servers, 1 to 7; 0: as many as the directory's
	// cluster has, 3 for a new one.
	Members int
	// Dir is the cluster's directory; empty: below /var/lib/matriarch for root,
	// else below ~/.local/share/matriarch, named after Scope.
	Dir string
	// BasePort is the first of a contiguous range of ports; 0: what the
	// directory's cluster has, the usual ports for a new one.
	BasePort int
	// PgBin is where PostgreSQL's programs are; empty: they are searched for.
	PgBin string
	// Scope is the cluster's name; empty: that of the directory, demo for a new one.
	Scope string
	// Synchronous makes a new cluster wait for a standby at every commit.
	Synchronous bool

	// Out gets the progress and the summary.
	Out io.Writer
	// Env is the environment of the processes, in the form of os.Environ.
	Env []string
	// Program is this binary; empty: the running one.
	Program string
	// Hard, when it is closed during a stop, ends everything at once.
	Hard <-chan struct{}
	// Ready, if set, is called once, when the cluster is complete.
	Ready func(Summary)
}

// Summary is what people need to use the cluster. It holds no password.
type Summary struct {
	Scope     string
	Dir       string
	Leader    string
	ReadWrite string   // libpq URI that works without a prompt
	ReadOnly  string   // the same for the replicas
	REST      []string // base address per member
	Config    string   // a member's file, for the other commands
}

var scopeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)

// check completes what needs no look at the machine.
func (o Options) check() (Options, error) {
	if o.Members < 0 || o.Members > maxMembers {
		return o, wrongMembers(o.Members)
	}
	if o.BasePort != 0 && (o.BasePort < minBase || o.BasePort > maxBase) {
		return o, wrongBase(o.BasePort)
	}
	if o.Scope != "" && !scopeName.MatchString(o.Scope) {
		return o, fmt.Errorf("--scope %q: use letters, digits, -, _ and ., at most 63", o.Scope)
	}
	if o.Dir == "" {
		dir, err := defaultDir(firstOf(o.Scope, defaultScope))
		if err != nil {
			return o, err
		}
		o.Dir = dir
	}
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return o, err
	}
	if o.PgBin != "" {
		// The agents work in directories of their own.
		if o.PgBin, err = filepath.Abs(o.PgBin); err != nil {
			return o, err
		}
		if err := findPrograms(o.PgBin); err != nil {
			return o, err
		}
	}
	if o.Program == "" {
		if o.Program, err = os.Executable(); err != nil {
			return o, fmt.Errorf("find this program: %w", err)
		}
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	return o, nil
}

func wrongMembers(n int) error {
	return fmt.Errorf("-n %d: a cluster on one machine has 1 to %d members", n, maxMembers)
}

func wrongBase(port int) error {
	return fmt.Errorf("--base-port %d: must be from %d to %d", port, minBase, maxBase)
}

func defaultDir(scope string) (string, error) {
	if os.Geteuid() == 0 {
		return filepath.Join("/var/lib/matriarch", scope), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no home directory is known: name the cluster's directory with --dir: %w", err)
	}
	return filepath.Join(home, ".local", "share", "matriarch", scope), nil
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
