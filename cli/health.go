package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/internal/keypair"
	"github.com/matriarch-ha/matriarch/proxy"
)

// healthTimeout is shorter than what container engines and service managers
// allow a health check, so that they see our reason and not their own.
const healthTimeout = 4 * time.Second

func (a *app) healthCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Say whether what the configuration describes works on this host",
		Long: "Asks the program that the configuration describes on this host, and ends with 0 when it\n" +
			"works: a member when its PostgreSQL runs, an entrypoint when it serves, a witness when its\n" +
			"vote stands with a majority. For health checks of containers and service managers: nobody\n" +
			"else is asked, so another host's failure makes nothing unhealthy here.",
		Example: a.examples("{} health", "{} -c /etc/matriarch/n1.yml health"),
		Args:    args(cobra.NoArgs),
		RunE:    a.health,
	}
}

func (a *app) health(c *cobra.Command, _ []string) error {
	f, err := a.settings()
	if err != nil {
		return err
	}
	if f == nil {
		return errors.New("no configuration: give its file with -c FILE, or in MATRIARCH_CONFIG_FILE")
	}
	ctx, cancel := context.WithTimeout(c.Context(), healthTimeout)
	defer cancel()
	var word string
	switch {
	case f.Postgres.DataDir != "" && f.Name != "":
		word, err = a.memberHealth(ctx, f)
	case f.Proxy != nil:
		word, err = entrypointHealth(ctx, f.Proxy)
	case f.Store.Embedded != nil:
		word, err = witnessHealth(ctx, f.Store.Embedded)
	default:
		return errors.New("the configuration describes neither a member (name and postgresql.data_dir) nor an entrypoint (proxy) nor a witness (embedded)")
	}
	if err != nil {
		return err
	}
	say(c, "%s", word)
	return nil
}

// memberHealth asks the agent about its server.
func (a *app) memberHealth(ctx context.Context, f *config.File) (string, error) {
	rest, err := client.New(clientOptions(f, a.insecure))
	if err != nil {
		return "", err
	}
	defer rest.Close()
	st, ok, err := rest.Health(ctx, ownMember(f))
	switch {
	case err != nil:
		return "", fmt.Errorf("the agent of %s does not answer: %s", f.Name, briefly(err))
	case !ok:
		return "", fmt.Errorf("PostgreSQL of %s does not run: %s", f.Name, st.State)
	}
	return fmt.Sprintf("%s: %s, %s", f.Name, st.Role, st.State), nil
}

// entrypointHealth asks for the entrypoint's numbers, or where they are switched
// off whether it takes connections. That nobody leads is no fault of its own.
func entrypointHealth(ctx context.Context, p *config.Proxy) (string, error) {
	if p.Stats == "" {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", local(p.Listen))
		if err != nil {
			return "", fmt.Errorf("the entrypoint takes no connections: %w", err)
		}
		conn.Close()
		return "takes connections", nil
	}
	body, err := fetch(ctx, http.DefaultClient, "http://"+local(p.Stats)+"/stats")
	if err != nil {
		return "", fmt.Errorf("the entrypoint does not answer: %w", err)
	}
	var s proxy.Stats
	if err := json.Unmarshal(body, &s); err != nil {
		return "", fmt.Errorf("the entrypoint's answer is not what was expected: %w", err)
	}
	if s.Primary == "" {
		return "serves; no primary: " + s.WhyNone, nil
	}
	return "serves; primary " + s.Primary, nil
}

// witnessHealth asks the store's process of this host whether it can read with a
// majority.
func witnessHealth(ctx context.Context, e *config.Embedded) (string, error) {
	conf, scheme, err := storeTLS(e)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}
	if _, err := fetch(ctx, &http.Client{Transport: transport}, scheme+"://"+e.Self().Client+"/readyz"); err != nil {
		return "", fmt.Errorf("the vote is not ready: %w", err)
	}
	return "votes", nil
}

// fetch gets a page that must be there.
func fetch(ctx context.Context, c *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %d: %s", url, r.StatusCode, harmless(string(body)))
	}
	return body, err
}

// local makes an address to connect to out of one to listen on.
func local(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err != nil || host != "" && host != "*" && (ip == nil || !ip.IsUnspecified()) {
		return listen
	}
	return net.JoinHostPort("localhost", port)
}

// storeTLS returns how the embedded store is reached, and the scheme.
func storeTLS(e *config.Embedded) (*tls.Config, string, error) {
	if !e.Secure() {
		return nil, "http", nil
	}
	text, err := os.ReadFile(e.CA)
	if err != nil {
		return nil, "", fmt.Errorf("embedded.cacert: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !c.RootCAs.AppendCertsFromPEM(text) {
		return nil, "", fmt.Errorf("embedded.cacert: %s holds no certificate", e.CA)
	}
	pair, err := keypair.Load("embedded", e.Cert, e.Key, "")
	if err != nil {
		return nil, "", err
	}
	c.Certificates = []tls.Certificate{pair}
	return c, "https", nil
}
