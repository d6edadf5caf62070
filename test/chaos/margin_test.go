package chaos

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

var runs = flag.Int("runs", 5, "of each event whose margin is measured")

// loss of a primary whose server may live on.
type loss struct {
	name string
	do   func(w *world, s *struck)
	hold time.Duration // at least until it is undone
}

var losses = []loss{
	{"agent-killed", func(w *world, s *struck) { _ = faultNamed("agent-kill").strike(w, s) }, 0},
	{"agent-stopped", func(w *world, s *struck) { _ = faultNamed("agent-stop").strike(w, s) }, 0},
	{"host-frozen", func(w *world, s *struck) { _ = faultNamed("host-freeze").strike(w, s) }, 60 * time.Second},
	{"store-cut-off", func(w *world, s *struck) { _ = faultNamed("cut-store").strike(w, s) }, 0},
}

// TestFiguresMargin measures, from outside and on one clock, how long nobody
// accepted writes between the old primary's last acknowledged row and the new one's
// first, on the servers' own ports, and how long clients of the entrypoint had none
// acknowledged. It fails when the two overlap. With MATRIARCH_FIGURES the table
// goes to that file too.
func TestFiguresMargin(t *testing.T) {
	if os.Getenv("MATRIARCH_SLOW") != "1" {
		t.Skip("takes long: set MATRIARCH_SLOW=1")
	}
	var table strings.Builder
	table.WriteString("| event | margin between the two primaries, ms | worst | no acknowledged write through the entrypoint, s | worst | rows lost |\n|---|---|---|---|---|---|\n")
	for _, l := range losses {
		t.Run(l.name, func(t *testing.T) { table.WriteString(measure(t, l)) })
	}
	fmt.Println(table.String())
	if path := os.Getenv("MATRIARCH_FIGURES"); path != "" {
		if err := os.WriteFile(path, []byte(table.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
}

func measure(t *testing.T, l loss) string {
	kernelFence = *fence
	w := newWorld(t, Schedule{Tmpfs: make([]bool, members), Timing: [3]int{30, 10, 10}}, lab.StoreKind(*store))
	var margins []time.Duration
	var outages []time.Duration
	var lost []string
	for range *runs {
		m, o, n := once(t, w, l)
		margins, outages, lost = append(margins, m), append(outages, o), append(lost, fmt.Sprint(n))
	}
	line := fmt.Sprintf("| %s | %s | %d | %s | %.2f | %s |\n", l.name, list(margins, func(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }), slices.Min(margins).Milliseconds(),
		list(outages, func(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }), slices.Max(outages).Seconds(), strings.Join(lost, ", "))
	t.Log(line)
	return line
}

func list(ds []time.Duration, text func(time.Duration) string) string {
	var out []string
	for _, d := range ds {
		out = append(out, text(d))
	}
	return strings.Join(out, ", ")
}

// once brings the event about for the primary, waits for the next one, undoes it,
// and returns the margin, the outage and how many acknowledged rows are lost.
func once(t *testing.T, w *world, l loss) (margin, outage time.Duration, lost int) {
	w.c.WaitHealthy(90 * time.Second)
	old := w.leader()
	before := len(reigns(w.acks()))
	at := now()
	s := &struck{m: old, span: span{from: at}, Step: Step{Draw: 0}}
	w.active = append(w.active, s)
	l.do(w, s)
	lab.Until(t, 90*time.Second, "rows accepted by another", func() string {
		if w.leader() != old {
			return ""
		}
		return old.Name + " accepted the last row\n" + w.c.Tails(6)
	})
	time.Sleep(max(l.hold-now().Sub(at), 0)) // the event's length
	w.end(s)
	w.c.WaitHealthy(90 * time.Second)
	took, ok := w.awaitWrite(now())
	if !ok {
		t.Fatalf("no write through the entrypoint for %s", took)
	}
	acks := w.acks()
	rs := reigns(acks)
	if len(rs) != before+1 {
		t.Fatalf("%d timelines took rows, %d before", len(rs), before)
	}
	for _, text := range append(checkOnePrimary(rs, never, nil), checkTimelines(rs)...) {
		t.Error(text)
	}
	a, b := direct(rs[before-1]), direct(rs[before])
	margin = b[0].At.Sub(a[len(a)-1].At)
	outage = gap(rs[before-1], rs[before], at)
	there, err := rowsOf(w.c.Leader())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range missing(acks, there) {
		if !w.lost[a.ID] {
			w.lost[a.ID] = true
			lost++
		}
	}
	t.Logf("%s: the old primary's last row %.3f s after the event, the new one's first %d ms later; through the entrypoint nothing for %.2f s",
		l.name, a[len(a)-1].At.Sub(at).Seconds(), margin.Milliseconds(), outage.Seconds())
	return margin, outage, lost
}

// direct are a reign's rows that were not written through the entrypoint.
func direct(r *reign) []Ack {
	return slices.DeleteFunc(slices.Clone(r.acks), func(a Ack) bool { return strings.HasPrefix(a.Via, "entrypoint") })
}

// gap is the longest time in which no row was acknowledged through the entrypoint,
// from shortly before the event to the new primary's second such row.
func gap(old, next *reign, event boot.Instant) (longest time.Duration) {
	last := event
	for _, a := range append(slices.Clone(old.acks), next.acks...) {
		if a.At < event || !strings.HasPrefix(a.Via, "entrypoint") {
			continue
		}
		longest = max(longest, a.At.Sub(last))
		last = a.At
	}
	return longest
}

// TestFiguresGuard measures what the guard of an idle cluster's primary and of a
// replica costs.
func TestFiguresGuard(t *testing.T) {
	if os.Getenv("MATRIARCH_SLOW") != "1" {
		t.Skip("takes long: set MATRIARCH_SLOW=1")
	}
	c := lab.NewCluster(t, lab.Options{Store: lab.StoreKind(*store), Members: members, Timing: [3]int{30, 10, 10}})
	for _, m := range c.Members {
		m.OwnBinary()
	}
	c.StartAll()
	lead := c.WaitHealthy(90 * time.Second)
	guards := func(m *lab.Member) (lab.Usage, bool) {
		for _, u := range m.Usage() {
			if u.Role == "guard" {
				return u, true
			}
		}
		return lab.Usage{}, false
	}
	before := map[*lab.Member]lab.Usage{}
	for _, m := range c.Members {
		before[m], _ = guards(m)
	}
	time.Sleep(time.Minute) // what is measured is that nothing happens
	fmt.Print("| guard of | PSS, MB | of that not the program file, MB | CPU, s per minute |\n|---|---|---|---|\n")
	for _, m := range c.Members {
		role := "a replica"
		if m == lead {
			role = "the primary"
		}
		if u, ok := guards(m); ok {
			fmt.Printf("| %s | %.1f | %.1f | %.2f |\n", role, float64(u.PSS)/1024, float64(u.Anon)/1024, (u.CPU - before[m].CPU).Seconds())
		}
	}
	if _, ok := guards(lead); !ok {
		t.Fatal("the primary has no guard")
	}
}
