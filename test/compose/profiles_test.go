package compose

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestProfiles does the heart of the lab in the other clusters of the compose
// file: all come up, a row goes through the entrypoint to every node, the leader is
// stopped, another leads with the row, the old one returns.
func TestProfiles(t *testing.T) {
	for _, k := range []struct {
		profile string
		nodes   []string
		extra   func(p *project)
		slow    bool
	}{
		{"embedded", []string{"n1", "n2", "n3"}, nil, true}, // as tls, with less
		{"witness", []string{"w1", "w2"}, nil, false},
		{"tls", []string{"t1", "t2", "t3"}, (*project).onlyTLS, false},
	} {
		t.Run(k.profile, func(t *testing.T) {
			if k.slow {
				slow(t)
			}
			t.Parallel()
			p := newProject(t, k.profile)
			for i, n := range k.nodes {
				p.port[n] = p.port[[]string{"NODE1_PORT", "NODE2_PORT", "NODE3_PORT"}[i]]
			}
			p.do("--profile", k.profile, "up", "-d")
			lead := p.waitHealthy(3*time.Minute, k.nodes...)
			p.see("profile %s: %s leads of %v", k.profile, lead, k.nodes)
			if k.extra != nil {
				k.extra(p)
			}
			p.sql("entrypoint", "CREATE TABLE herd AS SELECT 1 AS id")
			for _, n := range k.nodes {
				p.waitRows(n, "herd", 1)
			}

			var others []string
			for _, n := range k.nodes {
				if n != lead {
					others = append(others, n)
				}
			}
			w := lab.WriteTo(t, p.dsn("entrypoint"), 1)
			p.sql("entrypoint", "CREATE TABLE written (id bigint PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())")
			w.WaitProgress(t, time.Minute)
			p.waitSync(lead, time.Minute)
			w.Gap()
			p.docker("stop", lead)
			next := p.waitLeader(2*time.Minute, lead, others...)
			w.WaitProgress(t, time.Minute)
			p.see("docker stop of the leader %s: %s leads; longest time without a write %.2f s", lead, next, w.Gap().Seconds())
			p.docker("start", lead)
			if now := p.waitHealthy(3*time.Minute, k.nodes...); now == lead {
				t.Errorf("%s leads after its return, want it to follow", lead)
			}
			p.waitRows(lead, "herd", 1)
			w.Stop()
			if lost := w.Lost(t, p.dsn(next)); len(lost) > 0 {
				t.Errorf("%d acknowledged rows are lost, such as %d", len(lost), lost[0])
			}
		})
	}
}

// onlyTLS: no port of a node talks in plain text, certificates verify, and no key
// can be read by others.
func (p *project) onlyTLS() {
	if _, err := lab.SQL(strings.Replace(p.dsn("t1"), "sslmode=prefer", "sslmode=disable", 1), "SELECT 1"); err == nil || !strings.Contains(err.Error(), "no encryption") {
		p.t.Errorf("a session without TLS: %v, want it refused for that", err)
	}
	ca := filepath.Join(p.t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte(p.mustInside("t1", "cat", "/certs/ca.pem")), 0o644); err != nil {
		p.t.Fatal(err)
	}
	for _, at := range []string{"t1", "entrypoint"} {
		dsn := strings.Replace(p.dsn(at), "sslmode=prefer", "sslmode=verify-full&sslrootcert="+ca, 1)
		dsn = strings.Replace(dsn, "127.0.0.1", "localhost", 1)
		if got := lab.MustSQL(p.t, dsn, "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()"); got[0] != "true" {
			p.t.Errorf("a session on %s that verified the certificate: ssl is %s", at, got[0])
		}
	}
	// The store speaks to nobody without a certificate, nor does the REST interface.
	ask := `exec 3<>/dev/tcp/t2/8008 && printf 'GET /cluster HTTP/1.0\r\n\r\n' >&3 && head -1 <&3`
	if out := p.mustInside("t1", "bash", "-c", ask); !strings.Contains(out, " 400 ") {
		p.t.Errorf("the REST interface answers a question in plain text: %s", out)
	}
	for _, key := range strings.Fields(p.mustInside("t1", "sh", "-c", "stat -c %a /certs/*.key")) {
		if key != "600" {
			p.t.Errorf("a private key has mode %s", key)
		}
	}
	p.see("without TLS a session is refused; certificates verify on a node and through the entrypoint; keys are 0600")
}
