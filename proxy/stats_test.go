package proxy

import (
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/httpclock"
	"github.com/matriarch-ha/matriarch/route"
)

// page gets a page of the statistics port.
func page(t *testing.T, p *Proxy, path, accept string) (string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+p.StatsAddr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v", path, resp.StatusCode, err)
	}
	return string(b), resp.Header
}

// rowsOf reads HAProxy's CSV as its exporters do, by the names of the columns.
func rowsOf(t *testing.T, text string) map[string]map[string]string {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(text)).ReadAll() // which also wants lines of one length
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]map[string]string{}
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, name := range lines[0] {
			row[strings.TrimPrefix(name, "# ")] = line[i]
		}
		rows[row["pxname"]+"/"+row["svname"]] = row
	}
	return rows
}

// A primary and a replica with a client at each port, in HAProxy's columns.
func TestHAProxyCSV(t *testing.T) {
	p, f := start(t, nil)
	f.send(t, "a", newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0))
	answered(t, p, 1)
	connect(t, p.Addr()).wantMember("a")
	connect(t, p.ReplicasAddr()).wantMember("b")
	for _, path := range []string{"/;csv", "/stats;csv", "/;csv;norefresh", "/haproxy?stats;csv", "/haproxy?stats/;csv"} {
		text, header := page(t, p, path, "*/*")
		if header.Get(httpclock.Header) == "" {
			t.Errorf("%s: without %s", path, httpclock.Header)
		}
		rows := rowsOf(t, text)
		for row, want := range map[string]map[string]string{
			"read-write/FRONTEND": {"status": "OPEN", "scur": "1", "stot": "1", "type": "0", "ereq": "0"},
			"read-write/a":        {"status": "UP", "scur": "1", "smax": "1", "stot": "1", "type": "2", "act": "1", "chkdown": "0", "check_status": "L7OK"},
			"read-write/b":        {"status": "DOWN", "scur": "0", "last_chk": "b does not lead", "check_status": "L7STS"},
			"read-write/BACKEND":  {"status": "UP", "scur": "1", "act": "1", "bck": "0", "type": "1"},
			"read-only/a":         {"status": "DOWN", "last_chk": "a is the leader"},
			"read-only/b":         {"status": "UP", "scur": "1", "stot": "1"},
			"read-only/BACKEND":   {"status": "UP", "scur": "1"},
		} {
			for column, value := range want {
				if got := rows[row][column]; got != value {
					t.Errorf("%s: %s %s is %q, want %q", path, row, column, got, value)
				}
			}
		}
		if rows["read-write/a"]["bin"] == "0" || rows["read-write/FRONTEND"]["bin"] != rows["read-write/a"]["bin"] {
			t.Errorf("bytes: %v and %v", rows["read-write/a"]["bin"], rows["read-write/FRONTEND"]["bin"])
		}
	}
}

// Programs read HAProxy's statistics by name or by position: both are HAProxy's own.
func TestColumnsAreHAProxys(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	conf := filepath.Join(dir, "haproxy.cfg")
	text := fmt.Sprintf("defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\nlisten s\n bind %s\n stats enable\n stats uri /\n", addr)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/usr/sbin/haproxy", "-f", conf)
	if err := cmd.Start(); err != nil {
		t.Fatalf("haproxy does not start (apt install haproxy): %v", err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var header string
	eventually(t, "HAProxy answers", func() bool {
		resp, err := http.Get("http://" + addr + "/;csv")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		header, _, _ = strings.Cut(string(b), "\n")
		return err == nil
	})
	if !strings.HasPrefix(header, haproxyColumns+",") {
		t.Errorf("HAProxy has the columns\n%s\nwant them to begin with\n%s", header, haproxyColumns)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// What one session leaves behind, and a member that is not used any more.
func TestPortStats(t *testing.T) {
	p, f := start(t, func(o *Options) { o.AskInterval = 20 * time.Millisecond })
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	eventually(t, "a primary is served", func() bool { return p.Stats().Primary == "a" })
	c := connect(t, p.Addr())
	c.wantMember("a")
	at := func() MemberStats { return p.Stats().Ports[0].Members[0] }
	if m := at(); !m.In || m.Sessions != (Level{1, 1}) || m.ToServer == 0 || m.ToClient == 0 || m.Connect.Count != 1 || m.Lasted.Count != 0 {
		t.Errorf("while it lasts: %+v", m)
	}
	a.set(func() { a.lease = 0 })
	c.wantEnd(stateTerminated)
	eventually(t, "the session is over", func() bool { return at().Sessions.Now == 0 && at().Lasted.Count == 1 })
	if m := at(); m.In || m.Falls != 1 || !strings.Contains(m.Why, "no live lease") || m.Sessions.Most != 1 || m.Served != 1 {
		t.Errorf("afterwards: %+v", m)
	}
	held := dialRaw(t, p.Addr())
	held.startup()
	eventually(t, "a client is held", func() bool { return p.Stats().Ports[0].Held.Now == 1 })
	a.set(func() { a.lease = long })
	if err := held.ready(); err != nil {
		t.Fatal(err)
	}
	s := p.Stats().Ports[0]
	if s.Hold.Count != 1 || s.Held != (Level{0, 1}) || s.Terminated != 1 || s.Accepted != 2 || s.Delay.Count == 0 {
		t.Errorf("the port: %+v", s)
	}
	if m := at(); !m.In || m.OutFor <= 0 || m.Falls != 1 {
		t.Errorf("when it is back: %+v", m)
	}
}

// Whoever has left the store is remembered with what became of its sessions, but not
// everybody who was ever there.
func TestMembersThatAreGone(t *testing.T) {
	p, f := start(t, func(o *Options) { o.AskInterval = 20 * time.Millisecond })
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0)
	f.send(t, "a", a, b)
	answered(t, p, 1)
	c := connect(t, p.ReplicasAddr())
	c.wantMember("b")
	c.c.Close()
	eventually(t, "its session is over", func() bool { return p.Stats().Backends[1].Sessions == 0 })
	f.send(t, "a", a)
	eventually(t, "it is out", func() bool {
		m := p.Stats().Ports[1].Members
		return len(m) == 2 && !m[1].In && m[1].Falls == 1 && m[1].Served == 1 && m[1].Why == "b has no key in the store"
	})
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	for n := range 3 * keptNames {
		name := fmt.Sprint("gone", n)
		p.table.failed[name]++
		for _, s := range p.table.services {
			s.standing[name], p.table.accounts[accountOf{s.port, name}] = standing{since: 1}, newAccount()
		}
		p.table.judge()
	}
	n := 0
	for _, s := range p.table.services {
		n += len(s.standing)
	}
	if n > 2*(1+keptNames) || len(p.table.accounts) > n || len(p.table.failed) > 1+keptNames {
		t.Errorf("%d standings, %d accounts and %d counts of failures are kept", n, len(p.table.accounts), len(p.table.failed))
	}
}

// A word that nothing came after grows too old: the member is out, as it is for those
// who connect.
func TestAnOldWordCountsForNobody(t *testing.T) {
	clk := &shiftClock{}
	p, f := start(t, func(o *Options) { o.Clock = clk })
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0)
	f.send(t, "a", a, b)
	answered(t, p, 1)
	b.rest.Close()
	clk.shift.Store(int64(time.Hour))
	if m := p.Stats().Ports[1].Members[1]; m.In || !strings.Contains(m.Why, "answered last 1h0m") {
		t.Errorf("%+v", m)
	}
}

func TestPageForBrowsers(t *testing.T) {
	p, f := start(t, nil)
	f.send(t, "<b>", newMember(t, "<b>", "primary", long))
	connect(t, p.Addr())
	text, header := page(t, p, "/", "text/html,*/*")
	if !strings.Contains(text, "&lt;b&gt; is the primary") || strings.Contains(text, "<b>") {
		t.Errorf("a name is not escaped, or not there:\n%s", text)
	}
	if !strings.HasPrefix(header.Get("Content-Type"), "text/html") || header.Get("Vary") != "Accept" {
		t.Errorf("%v", header)
	}
	if text, _ := page(t, p, "/", "*/*"); !strings.Contains(text, "  in  <b> leads") {
		t.Errorf("plain text:\n%s", text)
	}
}

func TestMetricsOfAnEntrypointAlone(t *testing.T) {
	p, f := start(t, nil)
	f.send(t, "a", newMember(t, "a", "primary", long))
	connect(t, p.Addr()).wantMember("a")
	text, _ := page(t, p, "/metrics", "*/*")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	connects := families["matriarch_entrypoint_connect_duration_seconds"].GetMetric()
	if len(connects) != 2 || connects[0].GetHistogram().GetSampleCount()+connects[1].GetHistogram().GetSampleCount() != 1 {
		t.Errorf("connects: %v", connects)
	}
	for _, m := range families["matriarch_entrypoint_bytes_total"].GetMetric() {
		if port := m.GetLabel()[2].GetValue(); (m.GetCounter().GetValue() > 0) != (port == "read-write") {
			t.Errorf("bytes: %v", m)
		}
	}
}

// What a name in the store is made of ends no entrypoint.
func TestMetricsOfAnyName(t *testing.T) {
	p, f := start(t, nil)
	f.send(t, "n\xff", newMember(t, "n\xff", "primary", long))
	eventually(t, "it is known", func() bool { return len(p.Stats().Ports[0].Members) == 1 })
	if text, _ := page(t, p, "/metrics", "*/*"); !strings.Contains(text, `member="n\uFFFD"`) && !strings.Contains(text, "member=\"n\uFFFD\"") {
		t.Errorf("%s", text)
	}
}

func TestRate(t *testing.T) {
	var r rate
	at := boot.Instant(100 * time.Second)
	for range 3 {
		r.add(at)
	}
	r.add(at.Add(time.Second))
	if last, most := r.read(at.Add(1900 * time.Millisecond)); last != 3 || most != 3 {
		t.Errorf("a second later: %d, at most %d", last, most)
	}
	r.read(at) // by who looked at the clock before
	if last, _ := r.read(at.Add(2 * time.Second)); last != 1 {
		t.Errorf("two seconds later: %d", last)
	}
	if last, most := r.read(at.Add(9 * time.Second)); last != 0 || most != 3 {
		t.Errorf("much later: %d, at most %d", last, most)
	}
}

func TestStanding(t *testing.T) {
	at := boot.Instant(time.Hour)
	in, out := route.Verdict{In: true}, route.Verdict{}
	s := standing{}.next(in, at).next(in, at.Add(time.Second)).next(out, at.Add(2*time.Second)).next(out, at.Add(3*time.Second))
	if s.falls != 1 || s.since != at.Add(2*time.Second) || s.outFor(at.Add(5*time.Second)) != 3*time.Second {
		t.Errorf("%+v", s)
	}
	if s = s.next(in, at.Add(6*time.Second)); s.falls != 1 || s.outFor(at.Add(time.Minute)) != 4*time.Second {
		t.Errorf("back: %+v", s)
	}
}
