package config

import (
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// reader reads typed values out of a checked mapping. What does not fit the
// type has been reported before and gives the default.
type reader struct{ n *node }

func (d reader) sub(path string) reader { return reader{d.n.get(path)} }

func (d reader) has(path string) bool { n := d.n.get(path); return n != nil && n.kind != null }

func (d reader) text(path, def string) string {
	if n := d.n.get(path); n != nil && n.isScalar() {
		return n.asWritten()
	}
	return def
}

// number returns the text of a value that is to be read as a number.
func (d reader) number(path string) string {
	if n := d.n.get(path); n != nil && n.isScalar() {
		return n.scalar
	}
	return ""
}

func (d reader) secret(path string) Secret { return Secret(d.text(path, "")) }

func (d reader) word(path, def string) string { return strings.ToLower(d.text(path, def)) }

func (d reader) flag(path string, def bool) bool {
	if b, err := ParseBool(d.text(path, "")); err == nil {
		return b
	}
	return def
}

func (d reader) int(path, base string, def int64) int64 {
	if v, err := ParseInt(d.number(path), base); err == nil {
		return v
	}
	return def
}

func (d reader) duration(path string, def time.Duration) time.Duration {
	if v, err := ParseDuration(d.number(path)); err == nil {
		return v
	}
	return def
}

func (d reader) texts(path string) []string { return texts(d.n.get(path)) }

func (d reader) lines(path string) []string { return textLines(d.n.get(path)) }

func (d reader) options(path string) []Option {
	n := d.n.get(path)
	if n == nil {
		return nil
	}
	out, _ := parseOptions(n)
	return out
}

// params reads a mapping of names to scalars, sorted by name.
func (d reader) params(path string) []Param {
	n := d.n.get(path)
	if n == nil {
		return nil
	}
	var out []Param
	for _, k := range n.keys {
		if v := n.fields[k]; v.isScalar() {
			out = append(out, Param{k, v.scalarText()})
		}
	}
	sortParams(out)
	return out
}

func sortParams(ps []Param) {
	sort.SliceStable(ps, func(i, j int) bool { return ps[i].Name < ps[j].Name })
}

// decodeFile fills in the typed result and checks what needs more than one
// setting to be judged.
func decodeFile(root *node, r *report) *File {
	d := reader{root}
	f := &File{
		Name:      d.text("name", ""),
		Scope:     d.text("scope", ""),
		Namespace: strings.Trim(d.text("namespace", "service"), "/"),
		RestAPI:   decodeRest(d.sub("restapi")),
		Postgres:  decodePostgres(d.sub("postgresql")),
		Bootstrap: decodeBootstrap(d, r),
		Tags:      decodeTags(d.sub("tags"), r),
		Watchdog:  decodeWatchdog(d.sub("watchdog"), r),
		Log:       decodeLog(d.sub("log"), d.flag("matriarch.log_heartbeat", false), r),
		Raw:       Tree{root},
	}
	f.Ctl = decodeCtl(d.sub("ctl"), f.RestAPI)
	f.Matriarch = decodeMatriarch(d.sub("matriarch"), f.Postgres.DataDir)
	f.Store = decodeStore(d, f, r)
	if d.has("proxy") {
		f.Proxy = decodeProxy(d.sub("proxy"), r)
	}
	r.checkFile(d, f)
	return f
}

func decodeRest(d reader) RestAPI {
	a := RestAPI{
		Listen:                  address(d.text("listen", "127.0.0.1:8008"), "8008"),
		Username:                d.text("authentication.username", ""),
		Password:                d.secret("authentication.password"),
		CertFile:                d.text("certfile", ""),
		KeyFile:                 d.text("keyfile", ""),
		KeyFilePassword:         d.secret("keyfile_password"),
		CAFile:                  d.text("cafile", ""),
		VerifyClient:            d.word("verify_client", "none"),
		ServerTokens:            d.word("server_tokens", "original"),
		Allowlist:               d.texts("allowlist"),
		AllowlistIncludeMembers: d.flag("allowlist_include_members", false),
		ExtraHeaders:            d.params("http_extra_headers"),
		HTTPSExtraHeaders:       d.params("https_extra_headers"),
	}
	a.ConnectAddress = connectAddress(d, a.Listen, "8008")
	return a
}

// connectAddress is what others use; a wildcard cannot be connected to, so it
// becomes localhost, which only serves members of one host.
func connectAddress(d reader, listen, port string) string {
	if d.has("connect_address") {
		return address(d.text("connect_address", ""), port)
	}
	h, p, err := splitHostPort(listen, port)
	if err != nil {
		return listen
	}
	h, _, _ = strings.Cut(h, ",")
	if wildcard(h) {
		h = "localhost"
	}
	return joinHostPort(h, p)
}

func decodeCtl(d reader, api RestAPI) Ctl {
	c := Ctl{
		Username:        d.text("authentication.username", ""),
		Password:        d.secret("authentication.password"),
		Insecure:        d.flag("insecure", false),
		CACert:          d.text("cacert", d.text("cafile", api.CAFile)),
		CertFile:        d.text("certfile", ""),
		KeyFile:         d.text("keyfile", ""),
		KeyFilePassword: d.secret("keyfile_password"),
	}
	if c.Username == "" {
		c.Username, c.Password = api.Username, api.Password
	}
	return c
}

func decodePostgres(d reader) Postgres {
	p := Postgres{
		Listen:                 address(d.text("listen", "127.0.0.1:5432"), "5432"),
		DataDir:                d.text("data_dir", ""),
		ConfigBaseName:         d.text("config_base_name", "postgresql"),
		BinDir:                 d.text("bin_dir", ""),
		BinName:                map[string]string{},
		Database:               d.text("database", "postgres"),
		PgPass:                 d.text("pgpass", homeFile("pgpass")),
		KrbSrvName:             d.text("krbsrvname", ""),
		Superuser:              decodeCredentials(d.sub("authentication.superuser")),
		Replication:            decodeCredentials(d.sub("authentication.replication")),
		Rewind:                 decodeCredentials(d.sub("authentication.rewind")),
		Parameters:             lowerNames(d.params("parameters")),
		PgHBA:                  d.lines("pg_hba"),
		PgIdent:                d.lines("pg_ident"),
		CustomConf:             d.text("custom_conf", ""),
		RecoveryConf:           lowerNames(d.params("recovery_conf")),
		UsePgRewind:            d.flag("use_pg_rewind", false),
		RecloneOnRewindFailure: d.flag("remove_data_directory_on_rewind_failure", false),
		RecloneOnDivergence:    d.flag("remove_data_directory_on_diverged_timelines", false),
		UseUnixSocket:          d.flag("use_unix_socket", false),
		UseUnixSocketRepl:      d.flag("use_unix_socket_repl", false),
		PgCtlTimeout:           time.Duration(min(d.int("pg_ctl_timeout", "s", 60), 1<<31)) * time.Second,
		BasebackupOptions:      withoutOptions(d.options("basebackup"), forbiddenBasebackup()),
		RewindOptions:          d.options("rewind"),
		PrePromote:             d.text("pre_promote", ""),
		BeforeStop:             d.text("before_stop", ""),
	}
	p.ConfigDir = d.text("config_dir", p.DataDir)
	if d.has("proxy_address") {
		p.ProxyAddress = address(d.text("proxy_address", ""), "5432")
	}
	hosts, port, _ := splitHostPort(p.Listen, "5432")
	for h := range strings.SplitSeq(hosts, ",") {
		p.ListenAddresses = append(p.ListenAddresses, strings.TrimSpace(h))
	}
	p.Port, _ = strconv.Atoi(port)
	p.ConnectAddress = connectAddress(d, p.Listen, "5432")
	for _, name := range programs() {
		if v := d.text("bin_name."+name, ""); v != "" {
			p.BinName[name] = v
		}
	}
	if p.Rewind.Username == "" {
		p.Rewind = p.Superuser
	}
	return p
}

// lowerNames brings parameter names into lower case; of two that differ only
// in case the later one counts.
func lowerNames(ps []Param) []Param {
	var out []Param
	for _, p := range ps {
		p.Name = strings.ToLower(p.Name)
		if i := slices.IndexFunc(out, func(o Param) bool { return o.Name == p.Name }); i >= 0 {
			out[i] = p
			continue
		}
		out = append(out, p)
	}
	sortParams(out)
	return out
}

func decodeCredentials(d reader) Credentials {
	c := Credentials{Username: d.text("username", ""), Password: d.secret("password"), SSLPassword: d.secret("sslpassword")}
	for _, p := range d.params("") {
		if p.Value != "" && slices.Contains(roleKeywords(), p.Name) {
			c.Options = append(c.Options, p)
		}
	}
	return c
}

// roleKeywords are the further keywords of credentials; others are dropped.
func roleKeywords() []string {
	return []string{"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir",
		"gssencmode", "channel_binding", "sslnegotiation"}
}

func decodeMatriarch(d reader, dataDir string) Matriarch {
	m := Matriarch{
		StateDir:     d.text("state_dir", ""),
		TurnInterval: d.duration("turn_interval", 0),
		KeepReplaced: d.int("keep_replaced", "", 1) != 0,
		Guard: Guard{
			FenceBudget: d.duration("guard.fence_budget", time.Second),
			CleanStop:   d.duration("guard.clean_stop", 2*time.Second),

			TakeoverGrace: d.duration("guard.takeover_grace", 3*time.Second),
		},
		KernelFence: orOff(d.text("kernel_fence", "automatic")),
		Journal: Journal{
			FileSize: d.int("journal.file_size", "B", 16<<20),
			FileNum:  int(min(d.int("journal.file_num", "", 8), 1<<20)),
			Memory:   int(min(d.int("journal.memory", "", 1000), 1<<24)),
		},
	}
	if m.StateDir == "" && dataDir != "" {
		m.StateDir = filepath.Clean(dataDir) + ".matriarch"
	}
	m.Journal.Dir = d.text("journal.dir", under(m.StateDir, "journal"))
	return m
}

// under joins a path below dir, and is empty when dir is not known.
func under(dir, name string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}
