package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// model is the register as porcupine wants it: an independent judge of what our
// own, quicker check says.
var registerModel = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		if o := input.(*op); o.write {
			return true, o.value
		}
		return output.(int) == state.(int), state
	},
}

// judged is porcupine's word on a history. A read that was never answered says
// nothing; a write whose outcome nobody knows ends after everything.
func judged(ops []*op) bool {
	var h []porcupine.Operation
	read := map[int]bool{}
	for _, o := range ops {
		read[o.value] = read[o.value] || !o.write && o.ret != never
	}
	for i, o := range ops {
		// A write of unknown outcome that nobody saw need not have happened; each
		// would double porcupine's work.
		if o.ret == never && !(o.write && read[o.value]) {
			continue
		}
		h = append(h, porcupine.Operation{ClientId: i, Input: o, Call: int64(o.call), Output: o.value, Return: int64(o.ret)})
	}
	return porcupine.CheckOperations(registerModel, h)
}

// TestLinearizable compares the two judges on small histories, right and wrong
// ones, with overlaps and unknown outcomes.
func TestLinearizable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	right, wrong := 0, 0
	for range 30000 {
		var ops []*op
		var values []int
		for i := range 2 + r.IntN(7) {
			o := &op{call: time.Duration(2 * r.IntN(30)), write: r.IntN(2) == 0}
			o.ret = o.call + time.Duration(1+2*r.IntN(12)) // no two instants are equal
			if o.write {
				o.value = i + 1
				values = append(values, o.value)
				if r.IntN(4) == 0 {
					o.ret = never
				}
			}
			ops = append(ops, o)
		}
		for _, o := range ops {
			if !o.write && len(values) > 0 && r.IntN(4) > 0 {
				o.value = values[r.IntN(len(values))]
			}
		}
		why := linearizable(ops)
		if want := judged(ops); want != (why == "") {
			t.Fatalf("porcupine says %t, we say %q of %s", want, why, history(ops))
		}
		if why == "" {
			right++
		} else {
			wrong++
		}
	}
	if right < 3000 || wrong < 3000 {
		t.Errorf("%d right and %d wrong histories: too few of one kind", right, wrong)
	}
}

func history(ops []*op) (s string) {
	for _, o := range ops {
		what := "read"
		if o.write {
			what = "write"
		}
		s += fmt.Sprintf("\n%s %d [%d %d]", what, o.value, o.call, o.ret)
	}
	return s
}

// TestRegisterJudges lets porcupine look at histories of whole worlds, too.
func TestRegisterJudges(t *testing.T) {
	for seed := uint64(1); seed <= 10; seed++ {
		w := run(seed, Options{})
		ops := w.check.register.ops
		if len(ops) < 50 { // an entrypoint that is stopped for long lets few through
			t.Errorf("seed %d: only %d operations", seed, len(ops))
		}
		why, ok := linearizable(ops), judged(ops)
		if !ok || why != "" {
			t.Errorf("seed %d: porcupine says %t, we say %q", seed, ok, why)
		}
	}
}
