package up

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
)

func TestPortsNeverCollide(t *testing.T) {
	for members := 1; members <= maxMembers; members++ {
		for _, base := range []int{0, 15000} {
			ports := newPlan("/x", record{Scope: "demo", Members: members, BasePort: base}).ports()
			var numbers []int
			for _, p := range ports {
				numbers = append(numbers, p.number)
			}
			slices.Sort(numbers)
			if len(slices.Compact(slices.Clone(numbers))) != portCount(members) {
				t.Errorf("%d members, base %d: ports %v are not %d different ones", members, base, numbers, portCount(members))
			}
			if last := numbers[len(numbers)-1]; base != 0 && (numbers[0] != base || last != base+portCount(members)-1) {
				t.Errorf("%d members: ports %v are not the range from %d", members, numbers, base)
			}
		}
	}
}

func TestUsualPorts(t *testing.T) {
	p := newPlan("/x", record{Scope: "demo", Members: 3})
	got := []int{p.entry, p.entry + 1, p.stats}
	for _, m := range p.members {
		got = append(got, m.pg, m.rest, m.client, m.peer)
	}
	want := []int{5000, 5001, 7000, 5432, 8008, 2379, 2380, 5433, 8009, 2381, 2382, 5434, 8010, 2383, 2384}
	if !slices.Equal(got, want) {
		t.Errorf("ports are %v, want %v", got, want)
	}
}

func TestEvenNumbersGetAWitness(t *testing.T) {
	for members := 1; members <= maxMembers; members++ {
		p := newPlan("/x", record{Scope: "demo", Members: members})
		if len(p.members)%2 != 1 || len(p.servers()) != members {
			t.Errorf("%d servers: %d votes", members, len(p.members))
		}
		if last := p.members[len(p.members)-1]; last.witness != (members%2 == 0) {
			t.Errorf("%d servers: witness %v", members, last.witness)
		}
	}
}

func TestAllConflictsAreReportedTogether(t *testing.T) {
	base := testBase(t, 3)
	p := newPlan("/x", record{Scope: "demo", Members: 3, BasePort: base})
	for _, busy := range []int{base + 1, base + 4} {
		l, err := net.Listen("tcp", at(busy))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	var e *PortsError
	if err := checkPorts(p, p.ports(), false); !errors.As(err, &e) {
		t.Fatalf("the taken ports went unnoticed: %v", err)
	}
	text := e.Error()
	for _, want := range []string{"entrypoint, read-only", "PostgreSQL of n3", "address already in use", "--base-port"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	if len(e.Lines) != 2 {
		t.Errorf("%d conflicts reported, want 2:\n%s", len(e.Lines), text)
	}
	if err := checkPorts(p, p.ports(), true); err == nil || strings.Contains(err.Error(), "works now") {
		t.Errorf("a known cluster cannot move to other ports: %v", err)
	}
}

func TestFreeBaseTakesAWholeRange(t *testing.T) {
	busy := errors.New("busy")
	got := freeBase(20, func(n int) error {
		if n < 15300 || n == 15319 {
			return busy
		}
		return nil
	})
	if got != 15400 {
		t.Errorf("base %d, want 15400: 15319 is taken", got)
	}
	if got := freeBase(20, func(int) error { return busy }); got != 0 {
		t.Errorf("base %d where nothing is free", got)
	}
}
