package up

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"github.com/matriarch-ha/matriarch/dcs/etcdembed"
)

// storeText is the embedded store's section. Who does not vote (the
// entrypoint) needs no more of it than the list.
const storeText = `
embedded:
{{- with .Self}}
  listen_peer: {{at .Peer | q}}
  listen_client: {{at .Client | q}}
  advertise: {{at .Peer | q}}
{{- end}}
  partners:
{{- range .Plan.Votes}}
    - {name: {{q .Name}}, peer: {{at .Peer | q}}, client: {{at .Client | q}}}
{{- end}}
  cacert: {{q .Plan.TLS.CA}}
  cert: {{q .Plan.TLS.Cert}}
  key: {{q .Plan.TLS.Key}}
`

// memberText is a member's file. The sizes suit a laptop that has other things
// to do; nothing that protects data is switched off.
const memberText = `# Written by matriarch up, anew at every start.
scope: {{q .Plan.Scope}}
name: {{q .Self.Name}}

restapi:
  listen: {{at .Self.REST | q}}
  authentication:
    username: matriarch
    password: {{q .Secrets.REST}}
` + storeText + `
bootstrap:
  dcs:
    ttl: 30
    loop_wait: 10
    retry_timeout: 10
{{- if .Plan.Synchronous}}
    synchronous_mode: true
{{- end}}
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters:
        max_connections: 50
        max_worker_processes: 4
        wal_keep_size: 64MB
  initdb:
    - data-checksums
    - encoding: UTF8
    - auth: scram-sha-256

postgresql:
  listen: {{at .Self.PG | q}}
  data_dir: {{q .Self.Data}}
{{- with .Plan.PgBin}}
  bin_dir: {{q .}}
{{- end}}
  pgpass: {{q .Self.PgPass}}
  authentication:
    superuser:
      username: postgres
      password: {{q .Secrets.Superuser}}
    replication:
      username: replicator
      password: {{q .Secrets.Replication}}
  parameters:
    unix_socket_directories: ''
    shared_buffers: 32MB
    max_wal_size: 256MB
    min_wal_size: 80MB
  pg_hba:
    - host all all 127.0.0.1/32 scram-sha-256
    - host replication replicator 127.0.0.1/32 scram-sha-256

matriarch:
  state_dir: {{q .Self.State}}
`

// entryText is the entrypoint's file.
const entryText = `# Written by matriarch up, anew at every start.
scope: {{q .Plan.Scope}}
` + storeText + `
proxy:
  listen: {{at .Plan.Entry | q}}
  listen_replicas: {{at .Plan.EntryReplicas | q}}
  stats: {{at .Plan.Stats | q}}

matriarch:
  state_dir: {{q .Plan.EntryDir}}
`

// witnessText is the file of a vote without a server.
const witnessText = `# Written by matriarch up, anew at every start.
scope: {{q .Plan.Scope}}
` + storeText + `
matriarch:
  state_dir: {{q .Self.State}}
`

// selfWords and planWords are what the templates see.
type selfWords struct {
	Name, Data, State, PgPass string
	PG, REST, Client, Peer    int
}

type planWords struct {
	Scope, PgBin         string
	Synchronous          bool
	Votes                []selfWords
	EntryDir             string
	Entry, EntryReplicas int
	Stats                int
	TLS                  etcdembed.TLS
}

func (m member) words() selfWords {
	return selfWords{Name: m.name, Data: m.data(), State: m.state(), PgPass: filepath.Join(m.state(), "pgpass"),
		PG: m.pg, REST: m.rest, Client: m.client, Peer: m.peer}
}

// render fills a template; self is nil for the entrypoint.
func (p plan) render(text string, self *member, s secrets) ([]byte, error) {
	t, err := template.New("file").Funcs(template.FuncMap{"q": quote, "at": at}).Parse(text)
	if err != nil {
		return nil, err
	}
	data := struct {
		Plan    planWords
		Self    *selfWords
		Secrets secrets
	}{planWords{Scope: p.Scope, PgBin: p.PgBin, Synchronous: p.Synchronous, Entry: p.entry, EntryReplicas: p.entry + 1, Stats: p.stats, EntryDir: p.entryDir, TLS: tlsFiles(p.dir)}, nil, s}
	for _, m := range p.members {
		data.Plan.Votes = append(data.Plan.Votes, m.words())
	}
	if self != nil {
		w := self.words()
		data.Self = &w
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// quote writes a text so that YAML reads it back as it is: JSON is YAML.
func quote(s string) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(s)
	return string(bytes.TrimSpace(b.Bytes())), err
}

// writeFiles makes every directory and file of the cluster.
func (p plan) writeFiles(o owner, s secrets) error {
	for _, m := range p.members {
		if err := mkdir(m.dir); err != nil {
			return err
		}
		text := memberText
		if m.witness {
			text = witnessText
		} else if err := o.mkdir(m.data(), 0o700); err != nil {
			return err
		}
		if err := o.mkdir(m.state(), 0o700); err != nil {
			return err
		}
		if err := p.write(m.file(), text, &m, s); err != nil {
			return err
		}
	}
	if err := mkdir(p.entryDir); err != nil {
		return err
	}
	if err := p.write(p.entryFile(), entryText, nil, s); err != nil {
		return err
	}
	return writeFile(p.passFile(), fmt.Appendf(nil, "%s:*:*:postgres:%s\nlocalhost:*:*:postgres:%s\n", host, s.Superuser, s.Superuser))
}

func (p plan) write(path, template string, self *member, s secrets) error {
	text, err := p.render(template, self, s)
	if err != nil {
		return err
	}
	return writeFile(path, text)
}

// mkdir makes a directory that others can pass through, as PostgreSQL's user must.
func mkdir(path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o711)
}
