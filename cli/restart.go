package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/client"
)

// restart is what the options and answers say.
type restart struct {
	choosing
	any       bool
	pending   bool
	scheduled string
	version   string
	timeout   string
	// Which of them were given as options, so that nothing is asked.
	scheduledGiven, versionGiven bool
}

func (a *app) restartCommand() *cobra.Command {
	var o restart
	c := &cobra.Command{
		Use:   "restart [CLUSTER [MEMBER...]]",
		Short: "Restart PostgreSQL of members, now or at a time",
		Long: "Restarts PostgreSQL of all members, or of those named, or of those of a role; one after the\n" +
			"other, the leader last, and no further when one fails. Waits until each is up again. What is\n" +
			"not given is asked for.",
		Example: a.examples("{} restart demo", "{} restart demo n2 --force", "{} restart demo --pending --force",
			"{} restart demo -r replica --scheduled 2030-01-01T03:00"),
		RunE: func(c *cobra.Command, names []string) error {
			o.scheduledGiven, o.versionGiven = c.Flags().Changed("scheduled"), c.Flags().Changed("pg-version")
			return a.restart(c, names, o)
		},
	}
	f := c.Flags()
	roleFlag(c, &o.role, "only members with this role")
	f.BoolVar(&o.any, "any", false, "only one of the members, whichever")
	f.StringVar(&o.scheduled, "scheduled", "", "`TIME` when, such as 2030-01-01T03:00+01:00; without a zone it is local; now")
	f.StringVar(&o.version, "pg-version", "", "only if the running PostgreSQL is older than this `VERSION`, such as 15.4")
	f.BoolVar(&o.pending, "pending", false, "only members with settings that wait for a restart")
	f.StringVar(&o.timeout, "timeout", "", "`SECONDS` that the start may take, or with a unit")
	f.BoolVar(&o.force, "force", false, "do not ask")
	groupFlag(c)
	c.ValidArgsFunction = a.completeMembers
	return c
}

func (a *app) restart(c *cobra.Command, names []string, o restart) error {
	name, members, err := a.clusterAndMembers(c, names)
	if err != nil {
		return err
	}
	o.action, o.names = "restart", members
	t, err := a.choose(c, name, o.choosing)
	if err != nil {
		return err
	}
	defer t.x.close()
	request, err := t.restartRequest(&o)
	if err != nil {
		return err
	}
	if len(t.members) == 0 {
		say(c, "No member waits for a restart")
		return nil
	}
	if request.Schedule != "" {
		return t.scheduleRestarts(request)
	}
	return t.restartEach(request)
}

// restartRequest settles what is to be asked of the members, and of which.
func (t *acting) restartRequest(o *restart) (client.Restart, error) {
	now := t.app.opts.Now()
	if !o.scheduledGiven && !o.force {
		var err error
		question := fmt.Sprintf("When should the restart take place (e.g. %s) ", now.Add(time.Hour).Format("2006-01-02T15:04"))
		if o.scheduled, err = t.prompt.ask(question, "now"); err != nil {
			return client.Restart{}, err
		}
	}
	at, err := scheduledTime(o.scheduled, now)
	if err != nil {
		return client.Restart{}, err
	}
	t.narrow(o, at != "")
	if len(t.members) == 0 {
		return client.Restart{}, nil
	}
	if err := t.sure("restart", at); err != nil {
		return client.Restart{}, err
	}
	if !o.versionGiven && !o.force {
		if o.version, err = t.prompt.ask("Restart if the PostgreSQL version is less than provided (e.g. 9.5.2) ", ""); err != nil {
			return client.Restart{}, err
		}
	}
	switch {
	case o.version != "" && !versionPattern.MatchString(o.version):
		return client.Restart{}, fmt.Errorf("Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: %s", o.version) //nolint:staticcheck // the reference's text
	case at != "" && t.state.doc.Pause:
		return client.Restart{}, errors.New("Can't schedule restart in the paused state") //nolint:staticcheck // the reference's text
	}
	return client.Restart{Schedule: at, PostgresVersion: o.version, Timeout: o.timeout, OnlyPending: o.pending}, nil
}

var versionPattern = regexp.MustCompile(`^\d{1,3}\.\d{1,4}(\.\d{1,4})?$`)

// narrow leaves out members that are not meant, and puts the leader last: a
// mistake should show on a replica first.
func (t *acting) narrow(o *restart, scheduled bool) {
	if o.pending && !scheduled {
		t.members = slices.DeleteFunc(slices.Clone(t.members), func(m api.MemberDoc) bool { return !m.PendingRestart })
	}
	if o.any && len(t.members) > 1 {
		i := rand.IntN(len(t.members))
		t.members = t.members[i : i+1]
	}
	if !t.app.opts.Patronictl {
		t.members = slices.Clone(t.members)
		slices.SortStableFunc(t.members, func(a, b api.MemberDoc) int { return cmp.Compare(leaderLast(a), leaderLast(b)) })
	}
}

func leaderLast(m api.MemberDoc) int {
	if m.Leads() {
		return 1
	}
	return 0
}

// scheduledTime turns what a person wrote into an ISO time with zone; empty for
// now.
func scheduledTime(text string, now time.Time) (string, error) {
	if text == "" || strings.EqualFold(text, "now") {
		return "", nil
	}
	at, _, ok := api.ParseTime(text, now.Location())
	if !ok {
		return "", fmt.Errorf("Unable to parse scheduled timestamp (%s). It should be in an unambiguous format (e.g. ISO 8601)", text) //nolint:staticcheck // the reference's text
	}
	return at.Format("2006-01-02T15:04:05-07:00"), nil
}

// scheduleRestarts asks all members at once; none of them restarts now.
func (t *acting) scheduleRestarts(r client.Restart) error {
	ctx := t.cmd.Context()
	var end outcome
	for _, an := range t.askEach(t.members, func(base string) (client.Reply, error) {
		if t.force && t.hasScheduled(base) {
			// Whatever becomes of it: the member's answer to the request counts.
			_, _ = t.x.rest.CancelRestart(ctx, base)
		}
		return t.x.rest.Restart(ctx, base, r)
	}) {
		end.count(an)
		t.tellRestart(an)
	}
	return end.exit(t.app)
}

func (t *acting) hasScheduled(base string) bool {
	return slices.ContainsFunc(t.members, func(m api.MemberDoc) bool { return client.Base(m.APIURL) == base && m.Scheduled != nil })
}

// restartEach restarts one member after the other. As matriarch it goes no
// further when one did not come up.
func (t *acting) restartEach(r client.Restart) error {
	var end outcome
	for i, m := range t.members {
		an, why := t.restartOne(m, r)
		if why != "" {
			end.running++
			say(t.cmd, "%s Restart of member %s still running: %s; %s", t.app.now(), m.Name, why, t.app.howToFollow())
		} else {
			end.count(an)
			t.tellRestart(an)
		}
		goOn := why == "" && an.err == nil && (an.reply.OK() || strings.Contains(an.reply.Text, "conditions are not satisfied"))
		if rest := t.members[i+1:]; !goOn && len(rest) > 0 && !t.app.opts.Patronictl {
			say(t.cmd, "Not restarted: %s", listed(rest))
			break
		}
	}
	return end.exit(t.app)
}

func (t *acting) tellRestart(an answer) {
	switch name := an.member.Name; {
	case an.err == nil && an.reply.Code == http.StatusAccepted:
		say(t.cmd, "Success: restart scheduled on member %s", name)
	case an.err == nil && an.reply.OK():
		say(t.cmd, "Success: restart on member %s", name)
	case an.err == nil && an.reply.Code == http.StatusConflict:
		say(t.cmd, "Failed: another restart is already scheduled on member %s", name)
	default:
		t.failed("restart", an)
	}
}

// restartOne sends the request and watches the member until it answered. Where
// no answer comes, the server's start time tells. why is not empty when the
// outcome is not known.
func (t *acting) restartOne(m api.MemberDoc, r client.Restart) (an answer, why string) {
	ctx, cancel := context.WithCancel(t.cmd.Context())
	defer cancel()
	base := client.Base(m.APIURL)
	before, err := t.x.rest.Status(ctx, base)
	if err != nil && client.Code(err) == 0 {
		// It might restart whenever it wakes up, unwatched. Reading has no effect.
		return answer{member: m, err: errors.New(briefly(err))}, ""
	}
	replies := make(chan answer, 1)
	go func() {
		reply, err := t.x.rest.Restart(ctx, base, r)
		replies <- answer{member: m, reply: reply, err: err}
	}()
	f := &following{app: t.app, client: t.x.rest, name: m.Name, base: base, quiet: t.app.opts.Patronictl, out: &linewise{cmd: t.cmd},
		judge: func(api.StatusDoc) fate { return unsettled }}
	f.begin()
	tick := time.NewTicker(t.app.opts.timing.every)
	defer tick.Stop()
	for {
		select {
		case an := <-replies:
			runs := an.err == nil && !an.reply.OK() && strings.HasPrefix(an.reply.Text, api.RestartRuns)
			switch known := before.PostmasterStart != ""; {
			case runs && !known:
				return an, an.reply.Text
			case !runs && (!known || !client.Sent(an.err)):
				return an, ""
			}
			f.judge = startedSince(before.PostmasterStart)
			if end, why := f.until(ctx); end != settled {
				return an, why
			}
			return answer{member: m, reply: client.Reply{Code: http.StatusOK}}, ""
		case <-tick.C:
			if done, _, why := f.look(ctx); done {
				return answer{}, why
			}
		case <-ctx.Done():
			return answer{}, "interrupted"
		}
	}
}

// startedSince is the judgement that another postmaster runs than before.
func startedSince(before string) func(api.StatusDoc) fate {
	return func(st api.StatusDoc) fate {
		if st.State == "running" && st.PostmasterStart != "" && st.PostmasterStart != before {
			return settled
		}
		return unsettled
	}
}
