package docker

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	usualSocket = "/var/run/docker.sock"
	// version is the oldest API that has all that is used, of Docker 19.03.
	version = "/v1.40"
	// mostAnswer bounds what is read of one answer.
	mostAnswer = 16 << 20
)

// engine speaks to one Docker engine.
type engine struct {
	http *http.Client
}

// newEngine uses the socket of DOCKER_HOST, or the usual one. The error says why
// there is none to speak to.
func newEngine() (*engine, error) {
	socket := usualSocket
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		path, ok := strings.CutPrefix(host, "unix://")
		if !ok {
			return nil, fmt.Errorf("DOCKER_HOST=%s: only unix:// is supported", host)
		}
		socket = path
	}
	c, err := net.DialTimeout("unix", socket, 2*time.Second)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the Docker engine at %s may not be asked by this user: run the drill as root, or as a member of the group docker", socket)
	case err != nil:
		return nil, fmt.Errorf("the Docker engine at %s: %w", socket, err)
	}
	c.Close()
	return engineAt(func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "unix", socket) }), nil
}

func engineAt(dial func(context.Context) (net.Conn, error)) *engine {
	return &engine{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}}}
}

// refusal is an answer that is no success.
type refusal struct {
	op   string
	code int
	text string
}

func (r *refusal) Error() string { return fmt.Sprintf("docker: %s: %d %s", r.op, r.code, r.text) }

// call sends a request and reads the answer into into, if it is not nil.
func (e *engine) call(ctx context.Context, method, path string, body, into any) error {
	answer, err := e.raw(ctx, method, path, body)
	if err != nil || into == nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("docker: %s %s: %w", method, path, err)
	}
	return nil
}

func (e *engine) raw(ctx context.Context, method, path string, body any) ([]byte, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+version+path, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	switch {
	case err != nil:
		return nil, fmt.Errorf("docker: %s %s: %w", method, path, err)
	case resp.StatusCode == http.StatusNotModified: // it is so already
	case resp.StatusCode >= 300:
		var said struct{ Message string }
		if json.Unmarshal(answer, &said) != nil || said.Message == "" {
			said.Message = strings.TrimSpace(string(answer))
		}
		return nil, &refusal{method + " " + path, resp.StatusCode, said.Message}
	}
	return answer, nil
}

// container is what is read of one.
type container struct {
	ID    string `json:"Id"`
	Name  string
	State struct {
		Running, Paused, Restarting bool
		StartedAt                   string
	}
	Config struct {
		Hostname    string
		Labels      map[string]string
		StopTimeout *int
	}
	NetworkSettings struct {
		Networks map[string]struct {
			IPAddress string
			Aliases   []string
		}
		Ports map[string][]struct{ HostIp, HostPort string }
	}
}

const (
	labelService = "com.docker.compose.service"
	labelProject = "com.docker.compose.project"
)

func (c container) service() string { return c.Config.Labels[labelService] }
func (c container) project() string { return c.Config.Labels[labelProject] }
func (c container) called() string  { return strings.TrimPrefix(c.Name, "/") }

// address is one of its addresses, empty while it has none.
func (c container) address() string {
	for _, n := range c.NetworkSettings.Networks {
		if n.IPAddress != "" {
			return n.IPAddress
		}
	}
	return ""
}

// answersTo reports whether others may call the container by this name.
func (c container) answersTo(host string) bool {
	if host == c.service() || host == c.Config.Hostname || host == c.called() {
		return true
	}
	for _, n := range c.NetworkSettings.Networks {
		if host == n.IPAddress {
			return true
		}
		for _, a := range n.Aliases {
			if host == a {
				return true
			}
		}
	}
	return false
}

// containers are all that run.
func (e *engine) containers(ctx context.Context) ([]container, error) {
	var list []struct {
		ID string `json:"Id"`
	}
	if err := e.call(ctx, http.MethodGet, "/containers/json", nil, &list); err != nil {
		return nil, err
	}
	var out []container
	for _, l := range list {
		c, err := e.inspect(ctx, l.ID)
		var gone *refusal
		if errors.As(err, &gone) && gone.code == http.StatusNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func (e *engine) inspect(ctx context.Context, id string) (c container, err error) {
	err = e.call(ctx, http.MethodGet, "/containers/"+url.PathEscape(id)+"/json", nil, &c)
	return c, err
}

// act is a request to a container without a body: stop, start, kill, pause.
func (e *engine) act(ctx context.Context, id, what string) error {
	_, err := e.raw(ctx, http.MethodPost, "/containers/"+url.PathEscape(id)+"/"+what, nil)
	return err
}

// command is one that is run in a container as root.
type command struct {
	Cmd    []string
	User   string
	Detach bool `json:"-"` // nobody waits for it
}

// run runs a command in a container and returns what it printed.
func (e *engine) run(ctx context.Context, id string, c command) (string, error) {
	c.User = "0"
	var made struct {
		ID string `json:"Id"`
	}
	create := struct {
		command
		AttachStdout, AttachStderr bool
	}{c, !c.Detach, !c.Detach}
	if err := e.call(ctx, http.MethodPost, "/containers/"+url.PathEscape(id)+"/exec", create, &made); err != nil {
		return "", err
	}
	out, err := e.raw(ctx, http.MethodPost, "/exec/"+made.ID+"/start", map[string]bool{"Detach": c.Detach})
	if err != nil || c.Detach {
		return "", err
	}
	text := strings.TrimSpace(joined(out))
	var end struct{ ExitCode *int }
	if err := e.call(ctx, http.MethodGet, "/exec/"+made.ID+"/json", nil, &end); err != nil {
		return text, err
	}
	if end.ExitCode == nil || *end.ExitCode != 0 {
		return text, fmt.Errorf("a command in container %.12s failed: %s", id, text)
	}
	return text, nil
}

// joined is what both streams carried: each piece has a header of 8 bytes with
// its length.
func joined(stream []byte) string {
	var b strings.Builder
	for len(stream) >= 8 {
		n := int(binary.BigEndian.Uint32(stream[4:8]))
		stream = stream[8:]
		n = min(n, len(stream))
		b.Write(stream[:n])
		stream = stream[n:]
	}
	return b.String()
}
