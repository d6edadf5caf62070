package agent

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/postgres/conf"
	"github.com/matriarch-ha/matriarch/wal"
)

func TestDecodeVote(t *testing.T) {
	p, err := decodeVote("b", []byte(`{"name":"b","in_recovery":true,"timeline":3,"lsn":"0/5000060","fresh":true,"voting":true,"eligible":true,"tags":{"nofailover":true}}`))
	want := wal.Position{Timeline: 3, LSN: 0x5000060}
	if err != nil || !p.InRecovery || !p.Voting || !p.Eligible || p.Position != want || p.Tags.MayLead() {
		t.Errorf("%+v, %v", p, err)
	}
	for what, body := range map[string]string{
		"another's":      `{"name":"c","in_recovery":true,"fresh":true}`,
		"stale":          `{"name":"b","in_recovery":true,"timeline":3,"lsn":"0/5000060"}`,
		"no role":        `{"name":"b","fresh":true}`,
		"bad position":   `{"name":"b","in_recovery":true,"fresh":true,"lsn":"5000060"}`,
		"not an object":  `[]`,
		"an error page":  `<html>502</html>`,
		"nothing":        ``,
		"wrong timeline": `{"name":"b","in_recovery":true,"fresh":true,"timeline":-1}`,
	} {
		if p, err := decodeVote("b", []byte(body)); err == nil {
			t.Errorf("%s: understood as %+v", what, p)
		}
	}
}

func TestDecodeStatus(t *testing.T) {
	p, err := decodeStatus("b", []byte(`{"role":"replica","timeline":2,"xlog":{"received_location":50331744,"replayed_location":50331648}}`))
	if err != nil || !p.InRecovery || p.Position != (wal.Position{Timeline: 2, LSN: 50331744}) {
		t.Errorf("replica: %+v, %v", p, err)
	}
	for _, body := range []string{`{"role":"primary","timeline":2,"xlog":{"location":50331744}}`, `{"role":"master","timeline":2,"xlog":{}}`} {
		if p, err = decodeStatus("b", []byte(body)); err != nil || p.InRecovery || p.Position.Known() {
			t.Errorf("%s: %+v, %v", body, p, err)
		}
	}
	if p, err = decodeStatus("b", []byte(`{"role":"replica","xlog":{"received_location":1},"patroni":{"name":"a"}}`)); err == nil {
		t.Errorf("another's status understood as %+v", p)
	}
	// Without a position it says nothing, least of all that it is behind.
	if p, err = decodeStatus("b", []byte(`{"role":"replica","state":"starting"}`)); err == nil {
		t.Errorf("understood as %+v", p)
	}
}

func FuzzDecodeVote(f *testing.F) {
	f.Add([]byte(`{"name":"b","in_recovery":true,"timeline":3,"lsn":"0/5000060","fresh":true,"tags":{"failover_priority":"x"}}`))
	f.Add([]byte(`{"name":"b","in_recovery":false,"fresh":true,"tags":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := decodeVote("b", body)
		if err == nil && !p.InRecovery && p.Position != (wal.Position{}) {
			t.Errorf("a primary with a position: %+v", p)
		}
	})
}

func FuzzDecodeStatus(f *testing.F) {
	f.Add([]byte(`{"role":"replica","timeline":2,"xlog":{"received_location":50331744}}`))
	f.Add([]byte(`{"role":"primary","wal":{"location":1},"tags":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := decodeStatus("b", body)
		if err == nil && !p.InRecovery && p.Position != (wal.Position{}) {
			t.Errorf("a primary with a position: %+v", p)
		}
	})
}

// An answer to an older question never replaces that to a newer one, and a
// failure of an older one never the open question.
func TestLateAnswers(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		p := r.agent.peers
		w := ha.Peer{Name: "b", Asked: 20}
		p.heard(&w, 20, ha.Peer{Voting: true}, nil)
		p.heard(&w, 10, ha.Peer{}, nil)
		p.heard(&w, 10, ha.Peer{}, errBroken)
		if !w.Voting || w.AnswerTo != 20 || w.Error != "" || w.Name != "b" {
			t.Errorf("%+v", w)
		}
	})
}

func TestSyncNames(t *testing.T) {
	for _, names := range [][]string{nil, {"b"}, {"b", "c"}, {"first"}, {"ANY", "a,b"}, {`x"y`, "with space", "p(1)"}, {"*"}} {
		want := slices.Clone(names)
		slices.Sort(want)
		if got := syncNames(conf.SyncNames(names)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s read as %q, want %q", conf.SyncNames(names), got, want)
		}
	}
	for text, want := range map[string][]string{
		"FIRST 2 (a, b ,c)": {"a", "b", "c"}, "ANY 1 (*)": {"*"}, "a , b": {"a", "b"}, "2(a)": {"a"}, "  ": nil, `"unclosed`: {"unclosed"},
	} {
		if got := syncNames(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q read as %q, want %q", text, got, want)
		}
	}
}

func FuzzSyncNames(f *testing.F) {
	f.Add("b", "c,d")
	f.Fuzz(func(t *testing.T, a, b string) {
		syncNames(a + "(" + b)
		if a == "" || b == "" {
			return
		}
		want := []string{a, b}
		slices.Sort(want)
		if text := conf.SyncNames([]string{a, b}); !slices.Equal(syncNames(text), want) {
			t.Errorf("%q read as %q, want %q", text, syncNames(text), want)
		}
	})
}

// A server that is silent behind an agent that answers is told from an agent that is
// not there: a race waits for the one and not for the other.
func TestSilentServer(t *testing.T) {
	p := newPeers(Options{Clock: clock.Real{}}, func() {})
	_, silent := decodeVote("b", []byte(`{"name":"b","in_recovery":true,"fresh":false}`))
	for err, want := range map[error]bool{silent: true, errors.New("connection refused"): false} {
		w := ha.Peer{Name: "b", Asked: 7, ServerSilent: !want}
		if p.heard(&w, 7, ha.Peer{}, err); w.ServerSilent != want || w.Error == "" {
			t.Errorf("%v: %+v", err, w)
		}
	}
}
