package cli

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
	"github.com/matriarch-ha/matriarch/wal"
)

// listOptions say how members are shown.
type listOptions struct {
	format   string
	extended bool
	guards   bool    // also who is guarded
	screen   *Screen // whom the table shall fit; nil: nobody looks
	narrow   bool    // make do with less where the screen is too narrow
	waits    bool    // also for whose last record all wait
}

func (o listOptions) colours() bool { return o.screen != nil && o.screen.Colour }

// memberRow is one member as columns show it; empty fields have no value.
type memberRow struct {
	fields pyjson.Object // by column title, as JSON has it
	name   string
}

// rightAligned reports whether a column holds numbers.
func rightAligned(title string) bool {
	return title == "TL" || strings.HasSuffix(title, " LSN") || strings.HasSuffix(title, " Lag")
}

// renderMembers shows the members of one cluster.
func renderMembers(s state, o listOptions) (string, error) {
	people := o.format == formatPretty || o.format == formatTopology
	titles := []string{"Cluster", "Member", "Host", "Role", "State", "TL", "Receive LSN", "Receive Lag", "Replay LSN", "Replay Lag"}
	titles = append(titles, extraTitles(s.doc, o)...)
	members := s.doc.Members
	indent := map[string]string{}
	if o.format == formatTopology {
		members, indent = tree(members)
	}
	var rows []memberRow
	for _, m := range members {
		r := rowOf(m, s.doc, people)
		r.fields = r.fields.Set("Member", indent[m.Name]+m.Name)
		rows = append(rows, r)
	}
	switch o.format {
	case formatJSON, formatYAML:
		return objects(pick(rows, titles), o.format)
	case formatTSV:
		columns, cells := grid(titles, rows, people)
		return tsv(columns, cells), nil
	}
	return membersTable(s, titles, rows, o), nil
}

// membersTable is the table for people.
func membersTable(s state, titles []string, rows []memberRow, o listOptions) string {
	columns, cells := grid(titles, rows, true)
	text := table(title(s), columns, cells, o.colours()) + footer(s.doc, o)
	if o.narrow && !o.extended && o.screen != nil && tableWidth(text) > o.screen.Columns {
		return narrowTable(s, titles, rows, o)
	}
	return text
}

// narrowTable is the table for a screen that is too narrow for the whole one:
// the positions make room, their lags stay, that of replay alone if need be;
// what only some members have stands below.
func narrowTable(s state, titles []string, rows []memberRow, o listOptions) string {
	var kept, below []string
	for _, t := range titles {
		switch {
		case strings.HasSuffix(t, " LSN"):
		case slices.Contains(someHave(), t):
			below = append(below, t)
		default:
			kept = append(kept, t)
		}
	}
	shown := func() string {
		columns, cells := grid(kept, rows, true)
		for i := range columns {
			columns[i].title = strings.TrimSuffix(columns[i].title, " Lag")
		}
		return table(title(s), columns, cells, o.colours())
	}
	text, lags := shown(), "Receive and Replay are lags in MiB"
	if tableWidth(text) > o.screen.Columns {
		kept = slices.DeleteFunc(kept, func(t string) bool { return t == "Receive Lag" })
		text, lags = shown(), "Replay is a lag in MiB"
	}
	var b strings.Builder
	b.WriteString(text)
	for _, r := range rows {
		for _, t := range below {
			_, reason := r.fields.Get("Pending restart reason")
			if v, ok := r.fields.Get(t); ok && !(t == "Pending restart" && reason) {
				fmt.Fprintf(&b, " %s: %s: %s\n", r.name, t, harmless(strings.ReplaceAll(cell(v, true, false), "\n", ", ")))
			}
		}
	}
	return b.String() + footer(s.doc, o) + " " + lags + "; -e shows all\n"
}

// someHave are the columns that are shown only when a member has a value.
func someHave() []string {
	return []string{"Pending restart", "Pending restart reason", "Scheduled restart", "Tags"}
}

// tableWidth is the width of a table's first line, which has no colour.
func tableWidth(text string) int {
	line, _, _ := strings.Cut(text, "\n")
	return displayWidth(line)
}

func title(s state) string { return fmt.Sprintf(" Cluster: %s (%s) ", s.doc.Scope, s.initialize) }

// extraTitles are the columns that are shown when any member has them.
func extraTitles(d api.ClusterDoc, o listOptions) []string {
	var pending, reason, scheduled, tags bool
	for _, m := range d.Members {
		pending = pending || m.PendingRestart
		reason = reason || len(m.PendingReason) > 0
		scheduled = scheduled || m.Scheduled != nil
		tags = tags || len(m.Tags) > 0
	}
	var out []string
	for _, c := range []struct {
		title string
		shown bool
	}{{"Pending restart", pending}, {"Pending restart reason", reason}, {"Scheduled restart", scheduled}, {"Tags", tags}} {
		if c.shown || o.extended {
			out = append(out, c.title)
		}
	}
	if o.guards {
		out = append(out, "Guarded")
	}
	return out
}

// rowOf puts one member into columns.
func rowOf(m api.MemberDoc, d api.ClusterDoc, people bool) memberRow {
	var o pyjson.Object
	set := func(title string, value any, present bool) {
		if present {
			o = append(o, pyjson.Field{Key: title, Value: value})
		}
	}
	set("Cluster", d.Scope, true)
	set("Member", m.Name, true)
	set("Host", hostOf(m, d), m.Host != "")
	set("Role", roleTitle(m.Role), true)
	set("State", m.State, m.State != "")
	set("TL", m.Timeline, m.Timeline != 0)
	if !m.Leads() {
		receive, receiveLag, replay, replayLag := positions(m)
		set("Receive LSN", text(receive), receive != nil)
		set("Receive Lag", mebibytes(receiveLag), receiveLag != nil && receiveLag.Known)
		set("Replay LSN", text(replay), replay != nil)
		set("Replay Lag", mebibytes(replayLag), replayLag != nil && replayLag.Known)
	}
	set("Pending restart", "*", m.PendingRestart)
	set("Pending restart reason", reasons(m.PendingReason, people), len(m.PendingReason) > 0)
	if m.Scheduled != nil {
		at := m.Scheduled.Schedule
		if v := m.Scheduled.PostgresVersion; v != "" {
			at += " if version < " + v
		}
		set("Scheduled restart", at, true)
	}
	set("Tags", m.Tags, len(m.Tags) > 0)
	set("Guarded", "yes", m.Guarded)
	return memberRow{fields: o, name: m.Name}
}

// positions falls back to the single position that older members publish.
func positions(m api.MemberDoc) (receive *string, receiveLag *api.Lag, replay *string, replayLag *api.Lag) {
	receive, receiveLag, replay, replayLag = m.ReceiveLSN, m.ReceiveLag, m.ReplayLSN, m.ReplayLag
	if receive != nil || replay != nil {
		return
	}
	if m.State == "streaming" {
		return m.LSN, m.Lag, nil, nil
	}
	return nil, nil, m.LSN, m.Lag
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func mebibytes(l *api.Lag) int64 {
	if l == nil {
		return 0
	}
	return int64(math.RoundToEven(float64(l.Bytes) / (1 << 20)))
}

// hostOf adds the port when it tells something.
func hostOf(m api.MemberDoc, d api.ClusterDoc) string {
	hosts := map[string]bool{}
	unusual := false
	for _, o := range d.Members {
		unusual = unusual || o.Port != 0 && o.Port != 5432
		hosts[o.Host] = true
	}
	if (unusual || len(hosts) < len(d.Members)) && m.Port != 0 {
		return m.Host + ":" + strconv.Itoa(m.Port)
	}
	return m.Host
}

// roleTitle turns sync_standby into Sync Standby.
func roleTitle(role string) string {
	words := strings.Split(role, "_")
	for i, w := range words {
		if w != "" {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, " ")
}

// reasons lists what waits for a restart, one parameter per line.
func reasons(changes pyjson.Object, people bool) string {
	var lines []string
	for _, f := range changes {
		c, _ := f.Value.(pyjson.Object)
		old, _ := c.Get("old_value")
		now, _ := c.Get("new_value")
		line := fmt.Sprintf("%s: %v->%v", f.Key, old, now)
		if people && len(line) > 50 {
			line = f.Key + ": [hidden - too long]"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// pick makes the rows for programs: the shown columns, without empty values.
func pick(rows []memberRow, titles []string) []pyjson.Object {
	var out []pyjson.Object
	for _, r := range rows {
		var o pyjson.Object
		for _, t := range titles {
			if v, ok := r.fields.Get(t); ok {
				o = append(o, pyjson.Field{Key: t, Value: v})
			}
		}
		out = append(out, o)
	}
	return out
}

// grid makes the cells for people and tsv.
func grid(titles []string, rows []memberRow, people bool) ([]column, [][]string) {
	if people {
		titles = titles[1:] // the cluster is in the title
	}
	var columns []column
	for _, t := range titles {
		c := column{title: t, right: rightAligned(t)}
		switch {
		case people && strings.HasSuffix(t, " Lag") && slices.Contains(titles, "Replay LSN"):
			c.title = "Lag"
		case t == "Role":
			c.colour = roleColour
		case t == "State":
			c.colour = stateColour
		}
		columns = append(columns, c)
	}
	var cells [][]string
	for _, r := range rows {
		var line []string
		for _, t := range titles {
			v, ok := r.fields.Get(t)
			line = append(line, cell(v, ok, people))
		}
		cells = append(cells, line)
	}
	return columns, cells
}

func cell(v any, ok, people bool) string {
	if !ok {
		return ""
	}
	switch v := v.(type) {
	case pyjson.Object:
		if people {
			return strings.TrimSuffix(toYAML(v), "\n")
		}
		return flowYAML(v)
	case json.Number:
		return v.String()
	}
	return fmt.Sprint(v)
}

// tree orders members as replicas of replicas: the leader, below it those that
// follow it, below each its own. It returns the prefix of each name.
func tree(members []api.MemberDoc) ([]api.MemberDoc, map[string]string) {
	byName := map[string]api.MemberDoc{}
	leader := ""
	for _, m := range members {
		byName[m.Name] = m
		if m.Leads() {
			leader = m.Name
		}
	}
	children := map[string][]api.MemberDoc{}
	for _, m := range members {
		if m.Name == leader {
			continue
		}
		parent := leader
		from, _ := m.Tags.Get("replicatefrom")
		name, _ := from.(string)
		if p, ok := byName[name]; ok && !p.Leads() && name != m.Name {
			parent = name
		}
		children[parent] = append(children[parent], m)
	}
	var out []api.MemberDoc
	prefix := map[string]string{}
	var visit func(m api.MemberDoc, level int)
	visit = func(m api.MemberDoc, level int) {
		if _, seen := prefix[m.Name]; seen {
			return
		}
		prefix[m.Name] = ""
		if level > 0 {
			prefix[m.Name] = strings.Repeat("  ", level-1) + "+ "
		}
		out = append(out, m)
		for _, c := range children[m.Name] {
			visit(c, level+1)
		}
	}
	if leader != "" {
		visit(byName[leader], 0)
	}
	for _, c := range children[""] {
		visit(c, 1)
	}
	for _, m := range members { // members that follow each other in a circle
		visit(m, 1)
	}
	return out, prefix
}

// footer says what holds for the whole cluster.
func footer(d api.ClusterDoc, o listOptions) string {
	var b strings.Builder
	if d.Pause {
		b.WriteString(" Maintenance mode: on\n")
	}
	for _, m := range d.Members {
		if m.Namesake != "" {
			fmt.Fprintf(&b, " %s: the name is taken: another agent of this name runs at %s; give that one another name\n", m.Name, harmless(m.Namesake))
		}
	}
	if o.waits && d.LastRecord != nil {
		b.WriteString(" " + waitsFor(d) + "\n")
	}
	if s := d.Scheduled; s != nil {
		b.WriteString(" Switchover scheduled at: " + s.At + "\n")
		const width = len(" Switchover scheduled at:")
		if s.From != "" {
			fmt.Fprintf(&b, "%*s %s\n", width, "from:", s.From)
		}
		if s.To != "" {
			fmt.Fprintf(&b, "%*s %s\n", width, "to:", s.To)
		}
	}
	return b.String()
}

// waitsFor says why nobody leads after a clean stop, what ends that, and what it
// would cost, as far as the members have published where they are.
func waitsFor(d api.ClusterDoc) string {
	r := d.LastRecord
	end, _ := wal.ParseLSN(r.LSN)
	var lack []string
	for _, m := range d.Members {
		at, err := wal.ParseLSN(text(m.LSN))
		switch {
		case m.Name == r.Leader:
		case err != nil || at == 0 || m.Timeline != r.Timeline:
			lack = append(lack, m.Name+" an unknown part")
		case at >= end:
			lack = append(lack, m.Name+" nothing")
		default:
			lack = append(lack, fmt.Sprintf("%s %d bytes", m.Name, end.Sub(at)))
		}
	}
	of := ""
	if len(lack) > 0 {
		of = " (" + strings.Join(lack, ", ") + ")"
	}
	return harmless(fmt.Sprintf("Nobody leads: %s stopped cleanly at %s on timeline %d, and all wait for its last record: start it or another member that has that, or name one with `matriarch failover --candidate`, which loses what that one lacks%s",
		r.Leader, r.LSN, r.Timeline, of))
}
