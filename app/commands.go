package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/cli"
	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/guard"
	"github.com/matriarch-ha/matriarch/logging"
	"github.com/matriarch-ha/matriarch/up"
)

// Main is the program: it runs the command line and returns the exit code.
func Main(ctx context.Context, args, env []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot(args[0], env, errOut)
	root.SetArgs(rewrite(args))
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	if c, err := root.ExecuteContextC(ctx); err != nil {
		command := c.CommandPath()
		if called(args[0], "patroni") { // whose help is that of the agent
			command = filepath.Base(args[0])
		}
		return report(errOut, command, err)
	}
	return 0
}

// report prints an error once, for a person, and says the exit code: that of
// the error if it has one, else 1.
func report(w io.Writer, command string, err error) int {
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		if text := err.Error(); text != "" {
			fmt.Fprintln(w, cli.Harmless(text))
		}
		return coded.ExitCode()
	}
	fmt.Fprintln(w, "Error: "+cli.Harmless(err.Error()))
	if wrongUsage(err) {
		fmt.Fprintf(w, "Try '%s --help' for help.\n", command)
		return 2
	}
	return 1
}

// wrongUsage recognises the errors that the command line's library makes of a
// wrong command or flag; it has no type for them.
func wrongUsage(err error) bool {
	for _, begin := range []string{"unknown command", "unknown flag", "unknown shorthand flag", "accepts ", "requires ", "invalid argument", "flag needs", "if any flags in the group"} {
		if strings.HasPrefix(err.Error(), begin) {
			return true
		}
	}
	return false
}

// rewrite turns `matriarch FILE` and `patroni FILE` into `matriarch agent FILE`.
func rewrite(argv []string) []string {
	args := argv[1:]
	if called(argv[0], "patroni") && !slices.Contains(args, "--version") {
		return append([]string{"agent"}, args...)
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return args
	}
	name := args[0]
	if strings.HasSuffix(name, ".yml") || strings.HasSuffix(name, ".yaml") {
		return append([]string{"agent"}, args...)
	}
	return args
}

// daemons are the commands that keep running, and their hidden helpers.
func daemons(env []string, errOut io.Writer) []*cobra.Command {
	return []*cobra.Command{
		up.Command(env),
		withModes(daemon(env, errOut, RunAgent, &cobra.Command{
			Use:   "agent FILE",
			Short: "Run one member: supervise the local PostgreSQL and take part in the cluster",
			Long: "Runs one member from a YAML file (or a directory of them): it supervises the local\n" +
				"PostgreSQL, takes part in the election of the primary, and serves the REST interface.\n" +
				"Files written for Patroni work unchanged. SIGHUP reads them again; SIGTERM stops the server\n" +
				"cleanly and hands the lease over.",
			Example: "  matriarch agent postgres0.yml\n  matriarch postgres0.yml          # the same",
		}), env),
		daemon(env, errOut, RunProxy, &cobra.Command{
			Use:   "proxy FILE",
			Short: "Run the entrypoint: one address that always leads to the primary",
			Long: "Runs the entrypoint from a YAML file: scope, namespace and the store's section say which\n" +
				"cluster, the section proxy: says where to listen.",
			Example: "  matriarch proxy postgres0.yml",
		}),
		daemon(env, errOut, RunWitness, &cobra.Command{
			Use:   "witness FILE",
			Short: "Run a vote of the embedded store on a host without PostgreSQL",
			Long: "Runs a member of the embedded store, so that two database nodes and one witness are a\n" +
				"cluster that survives the loss of any one of the three.",
			Example: "  matriarch witness witness.yml",
		}),
		guardCommand(),
		releaseCommand(errOut),
		storeCommand(env),
		undoCommand(errOut),
		cutCommand(env),
		handCommand(),
	}
}

// guardCommand is the guard process; guardArgs are its arguments.
func guardCommand() *cobra.Command {
	return &cobra.Command{
		Use: "guard DATA_DIR [PORT KERNEL_FENCE [GRACE CLEAN_STOP SOCKET]]", Hidden: true, Args: cobra.RangeArgs(1, 6),
		Short: "Stop the server when its lease ends (started by the agent)",
		RunE: func(_ *cobra.Command, args []string) error {
			d, err := dutyOf(args)
			if err != nil {
				return err
			}
			return guard.Main(d, guard.Program{Version: Version, Helper: []string{"release"}})
		},
	}
}

// dutyOf reads what guardArgs wrote. An agent of an earlier release, whose program
// was replaced while it runs, names the directory alone, or nothing of a handover:
// its server must not be left without a guard.
func dutyOf(args []string) (guard.Duty, error) {
	d := guard.Duty{DataDir: args[0], KernelFence: guard.KernelFenceOff, Grace: -1}
	if len(args) == 1 {
		return d, nil
	}
	port, err := strconv.ParseUint(args[1], 10, 16)
	if err != nil || len(args) != 3 && len(args) != 6 {
		return d, fmt.Errorf("guard: port %q, and a word for the kernel's fence: want both (the guard is started by the agent, not by hand)", args[1])
	}
	d.Port, d.KernelFence = uint16(port), guard.KernelFence(args[2])
	if len(args) == 3 {
		return d, nil
	}
	d.Handover = args[5]
	for i, into := range []*time.Duration{&d.Grace, &d.CleanStop} {
		if *into, err = time.ParseDuration(args[3+i]); err != nil {
			return d, fmt.Errorf("guard: %w (the guard is started by the agent, not by hand)", err)
		}
	}
	return d, nil
}

func guardArgs(d guard.Duty) []string {
	return []string{"guard", d.DataDir, strconv.Itoa(int(d.Port)), string(d.KernelFence), d.Grace.String(), d.CleanStop.String(), d.Handover}
}

// Program is what a command that keeps running was started with.
type Program struct {
	File *config.File
	// Read reads the configuration again: the same files, and the environment as
	// it was at the start.
	Read    func() (*config.File, []config.Warning, error)
	Log     *slog.Logger
	Logs    *logging.Logs    // where Log writes
	Hangups <-chan os.Signal // requests to read it again
}

// ignoreHangups says that this program does not read its file again.
func (p Program) ignoreHangups() {
	go func() {
		for range p.Hangups {
			p.Log.Warn("SIGHUP: this program does not read its file again; restart it to apply changes")
		}
	}()
}

// reader returns how a program reads its configuration, now and again. A file
// that was there at the start and is gone is a mistake: the environment alone
// may lack what it said, such as the password of the REST interface.
func reader(path string, env []string) func() (*config.File, []config.Warning, error) {
	_, err := os.Stat(path)
	had := err == nil
	return func() (*config.File, []config.Warning, error) {
		if _, err := os.Stat(path); had && err != nil {
			return nil, nil, fmt.Errorf("the configuration that this program was started with is gone: %w", err)
		}
		return config.Load(path, env)
	}
}

// daemon completes a command that loads a configuration and runs until ctx ends.
func daemon(env []string, errOut io.Writer, run func(context.Context, Program) error, c *cobra.Command) *cobra.Command {
	c.Args = cobra.MaximumNArgs(1)
	c.RunE = func(c *cobra.Command, args []string) error {
		path := ""
		if len(args) > 0 {
			path = args[0]
		}
		// From now on a hangup is heard, and ends nobody.
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP)
		read := reader(path, env)
		f, warnings, err := read()
		if err != nil {
			return err
		}
		if path == "" && f.Raw.JSON(true) == "{}" {
			return fmt.Errorf("requires a configuration, and there is none: %s FILE, or settings in the environment", c.CommandPath())
		}
		hideSettings(env)
		logs := logging.Open(errOut, f.Log)
		defer closeLogs(logs)
		p := Program{File: f, Read: read, Logs: logs, Log: logs.Logger(), Hangups: hangups}
		if f.Name != "" {
			p.Log = p.Log.With("member", f.Name)
		}
		for _, w := range warnings {
			p.Log.Warn(w.String())
		}
		err = run(c.Context(), p)
		if err != nil && f.Log.Dir != "" { // who reads the file does not see standard error
			p.Log.Error("ending: " + err.Error())
		}
		return err
	}
	return c
}

// closeLogs has the last records written, but does not wait for a terminal that
// nobody reads.
func closeLogs(l *logging.Logs) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = l.Close(ctx)
}

// hideSettings removes the settings given in the environment from it: passwords
// among them must not reach the programs that are started.
func hideSettings(env []string) {
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "PATRONI_") || strings.HasPrefix(name, "MATRIARCH_") {
			_ = os.Unsetenv(name)
		}
	}
}
