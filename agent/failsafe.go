package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

// accepted is the answer of a member that promises; nothing else counts.
const accepted = "Accepted"

// MemberHeader names the member that answers a question of POST /failsafe. Other
// programs do not say.
const MemberHeader = "Matriarch-Member"

// failsafe asks the other members to accept this one as leader while the store is
// silent, one round at a time, beside the loop.
type failsafe struct {
	opt  Options
	wake func()

	mu           sync.Mutex
	asked, ended boot.Instant
	trouble      string
}

// plea is the body of POST /failsafe.
type plea struct {
	Name    string             `json:"name"`
	ConnURL string             `json:"conn_url"`
	APIURL  string             `json:"api_url"`
	Slots   map[string]wal.LSN `json:"slots"`
	// Matriarch is what only our members understand.
	Matriarch struct {
		// PromiseMs is how long the promise must last.
		PromiseMs int64 `json:"promise_ms"`
	} `json:"matriarch"`
}

// asker is what one round needs beside the members.
type asker struct {
	plea           plea
	user, password string
}

// askFailsafe begins a round.
func (a *Agent) askFailsafe(ctx context.Context, s step) {
	ttl := s.o.Settings.TTL
	q := asker{plea: plea{Name: a.opt.Name, ConnURL: a.opt.ConnURL, APIURL: a.opt.APIURL, Slots: map[string]wal.LSN{}},
		user: a.opt.PeerUser, password: a.opt.PeerPassword}
	q.plea.Matriarch.PromiseMs = ttl.Milliseconds()
	for _, slot := range s.o.Server.Slots {
		q.plea.Slots[slot.Name] = slot.LSN
	}
	if s.o.Settings.UseSlots {
		q.plea.Slots[cluster.SlotName(a.opt.Name)] = s.o.Server.Position.LSN
	}
	others := slices.DeleteFunc(slices.Clone(s.Failsafe), func(m cluster.FailsafeMember) bool { return m.Name == a.opt.Name })
	a.failsafe.round(ctx, q, others, ttl)
}

// round asks all at once. Only if every one promises is the lease extended, and
// that is counted from before the first of them was asked.
func (f *failsafe) round(ctx context.Context, q asker, others []cluster.FailsafeMember, ttl time.Duration) {
	sent := f.opt.Clock.Now()
	f.mu.Lock()
	f.asked, f.trouble = sent, ""
	f.mu.Unlock()
	go func() {
		errs := make([]error, len(others))
		var wg sync.WaitGroup
		for i, m := range others {
			wg.Go(func() { errs[i] = f.persuade(ctx, q, m) })
		}
		wg.Wait()
		err := errors.Join(errs...)
		if err == nil {
			err = f.opt.Keeper.Extend(ctx, sent, ttl)
		}
		f.mu.Lock()
		// A clock that stands still would leave the round open.
		f.ended, f.trouble = max(f.opt.Clock.Now(), sent), ""
		if err != nil {
			f.trouble = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		f.mu.Unlock()
		f.wake()
	}()
}

// persuade asks one member, once more if it could not be reached.
func (f *failsafe) persuade(ctx context.Context, q asker, m cluster.FailsafeMember) error {
	var refused *Refused
	err := f.ask(ctx, q, m)
	if err != nil && !errors.As(err, &refused) && ctx.Err() == nil {
		err = f.ask(ctx, q, m)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	return nil
}

func (f *failsafe) ask(ctx context.Context, q asker, m cluster.FailsafeMember) error {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	body, err := json.Marshal(q.plea)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(m.APIURL, "/patroni")+"/failsafe", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if q.user != "" {
		req.SetBasicAuth(q.user, q.password)
	}
	resp, err := f.opt.Peers.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return err
	}
	// An address that moved to another member must not give that one two voices.
	if who := resp.Header.Get(MemberHeader); who != "" && who != m.Name {
		return &Refused{fmt.Sprintf("%q answers at its address", who)}
	}
	if resp.StatusCode != http.StatusOK || string(answer) != accepted {
		return &Refused{fmt.Sprintf("it does not accept (%d %s)", resp.StatusCode, brief(string(answer)))}
	}
	return nil
}

// brief is the beginning of an answer, for a message: no page of HTML.
func brief(text string) string {
	text = strings.ToValidUTF8(strings.TrimSpace(text), "?")
	if strings.HasPrefix(text, "<") {
		return "with a page"
	}
	if len(text) > 120 {
		text = strings.ToValidUTF8(text[:120], "") + "…"
	}
	return text
}

// failsafeState is what rules see of the questions and of the promises given here.
func (a *Agent) failsafeState() ha.Failsafe {
	f := a.failsafe
	f.mu.Lock()
	out := ha.Failsafe{Asked: f.asked, Ended: f.ended, Error: f.trouble}
	f.mu.Unlock()
	out.Leader, out.Until = a.promises.current()
	return out
}
