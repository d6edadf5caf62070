// Command proxybench compares the entrypoint with HAProxy and PgBouncer before one
// real server, whose pgbench clients all share this machine's processors with them.
//
// What is compared runs by turns, round after round, and the numbers are ratios of
// one run: the median over the rounds of each proxy's throughput to HAProxy's of the
// same round. A busy machine makes them noisy and not wrong. It starts everything
// itself (an agent with an embedded store, whose PostgreSQL trusts loopback; one
// entrypoint for each engine; haproxy; pgbouncer where it is installed) in a
// directory of its own, and stops it at the end.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	clients := flag.String("clients", "1,16,64,256", "numbers of clients")
	modes := flag.String("modes", "prepared,simple,connect", "prepared and simple statements, or a connection for each transaction")
	seconds := flag.Int("seconds", 4, "of each measurement")
	rounds := flag.Int("rounds", 5, "how many times each is measured")
	only := flag.String("only", "", "names of what is compared, all unless given")
	base := flag.Int("base-port", 26000, "first of a range of ports")
	idle := flag.Int("idle", 0, "instead: the memory that so many idle connections take")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{seconds: *seconds, rounds: *rounds, port: *base, only: split(*only)}
	if err := b.run(ctx, split(*modes), numbers(*clients), *idle); err != nil {
		fmt.Fprintln(os.Stderr, "proxybench:", err)
		os.Exit(1)
	}
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func numbers(s string) (out []int) {
	for _, f := range split(s) {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 {
			fmt.Fprintf(os.Stderr, "proxybench: -clients %q: want numbers from 1, as 1,16\n", s)
			os.Exit(2)
		}
		out = append(out, n)
	}
	return out
}

type bench struct {
	seconds, rounds, port int
	only                  []string
	lab                   *lab
}

func (b *bench) run(ctx context.Context, modes []string, clients []int, idle int) error {
	l, err := startLab(ctx, b.port, max(800, idle+50)) // those of the round before may not be gone yet
	if err != nil {
		return err
	}
	defer l.stop()
	b.lab = l
	if idle > 0 {
		return b.idle(ctx, idle)
	}
	targets := l.targets(b.only)
	fmt.Printf("%-9s %7s", "mode", "clients")
	for _, t := range targets {
		fmt.Printf(" %22s", t.name)
	}
	fmt.Printf("\n%17s", "")
	for range targets {
		fmt.Printf(" %22s", "to haproxy (mean, ms)")
	}
	fmt.Println()
	for _, m := range modes {
		for _, c := range clients {
			if err := b.compare(ctx, targets, m, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// compare measures all targets by turns.
func (b *bench) compare(ctx context.Context, targets []target, mode string, clients int) error {
	tps := make([][]float64, len(targets))
	for round := range b.rounds {
		for i := range targets {
			at := (i + round) % len(targets) // nobody is always first
			v, err := b.lab.pgbench(ctx, targets[at].port, mode, clients, time.Duration(b.seconds)*time.Second)
			if err != nil {
				return fmt.Errorf("%s, %s, %d clients: %w", targets[at].name, mode, clients, err)
			}
			tps[at] = append(tps[at], v)
		}
	}
	yard := 0
	for i, t := range targets {
		if t.name == "haproxy" {
			yard = i
		}
	}
	fmt.Printf("%-9s %7d", mode, clients)
	for i := range targets {
		var ratios, means []float64
		for r, v := range tps[i] {
			ratios = append(ratios, v/tps[yard][r])
			means = append(means, float64(clients)/v*1000)
		}
		fmt.Printf(" %22s", fmt.Sprintf("%.2f (%.3f)", median(ratios), median(means)))
	}
	fmt.Println()
	return nil
}
