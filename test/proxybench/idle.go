package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// idle holds connections that do nothing through each proxy, as many as the server
// takes at a time, and tells what each costs the proxy's own memory.
func (b *bench) idle(ctx context.Context, n int) error {
	fmt.Printf("%-12s %11s %11s %14s\n", "", "before, kB", "after, kB", "each, bytes")
	for _, t := range b.lab.targets(b.only) {
		if t.pid == 0 {
			continue
		}
		before, err := private(t.pid)
		if err != nil {
			return err
		}
		var conns []*pgx.Conn
		for range n {
			c, err := pgx.Connect(ctx, fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=postgres", t.port))
			if err != nil {
				return fmt.Errorf("%s: connection %d: %w", t.name, len(conns)+1, err)
			}
			conns = append(conns, c)
		}
		after, err := private(t.pid)
		if err != nil {
			return err
		}
		fmt.Printf("%-12s %11d %11d %14d\n", t.name, before, after, (after-before)*1024/n)
		for _, c := range conns {
			_ = c.Close(ctx)
		}
	}
	return nil
}

// private is a process's own memory in kB.
func private(pid int) (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	sum := 0
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 3 && (f[0] == "Private_Clean:" || f[0] == "Private_Dirty:") {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return sum, nil
}
