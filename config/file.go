package config

import (
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
)

// File is the local configuration of one member, typed, with defaults filled
// in. It is not changed after Load.
type File struct {
	Name      string // this member's name, unique in the cluster; "" for clients
	Scope     string // the cluster's name
	Namespace string // first part of the keys' path, without slashes; default "service"

	RestAPI   RestAPI
	Ctl       Ctl
	Store     StoreSection
	Postgres  Postgres   // the local settings alone; Effective has the merged ones
	Bootstrap *Bootstrap // nil: this member never founds a cluster
	Tags      cluster.Tags
	Watchdog  Watchdog
	Log       Log
	Proxy     *Proxy // nil: no entrypoint in this member
	Matriarch Matriarch

	// Raw is the merged tree of files and environment.
	Raw Tree
}

// Credentials are how a database role logs in.
type Credentials struct {
	Username string
	Password Secret
	// Options are further libpq keywords of the role, sorted by name: sslmode,
	// sslcert, sslkey, sslrootcert, sslcrl, sslcrldir, gssencmode,
	// channel_binding, sslnegotiation.
	Options     []Param
	SSLPassword Secret // passphrase of sslkey
}

// Option returns the value of one of Options, or "".
func (c Credentials) Option(name string) string { return lookup(c.Options, name) }

// Param is a name with a value.
type Param struct{ Name, Value string }

// Option is a command-line option: --Name=Value, or --Name when Bare.
type Option struct {
	Name  string
	Value string
	Bare  bool
}

// RestAPI is the HTTP side of the agent.
type RestAPI struct {
	Listen         string // host:port; default 127.0.0.1:8008
	ConnectAddress string // host:port that others use; default Listen
	Username       string // "" means no authentication
	Password       Secret

	CertFile        string // TLS when not empty; the key may be in the same file
	KeyFile         string
	KeyFilePassword Secret
	CAFile          string
	VerifyClient    string // none (default), optional, required

	Allowlist               []string // CIDR, address or host; empty: everybody
	AllowlistIncludeMembers bool
	ExtraHeaders            []Param // on every answer, sorted by name
	ServerTokens            string  // how the Server header names the program: original (default), minimal, productonly
	HTTPSExtraHeaders       []Param // on answers over TLS, instead of one of the same name
}

// Ctl is how this program calls the REST API of others.
type Ctl struct {
	Username        string // default: restapi.authentication
	Password        Secret
	Insecure        bool // do not verify certificates
	CACert          string
	CertFile        string
	KeyFile         string
	KeyFilePassword Secret
}

// StoreSection says where the coordination store is.
type StoreSection struct {
	Kind       string   // "zookeeper", "etcd3", "embedded"; "" when none is configured
	LegacyEtcd bool     // the section is called etcd: it is served over the v3 API
	Hosts      []string // host:port; etcd's default port 2379, ZooKeeper's 2181
	Protocol   string   // etcd: http (default) or https
	Username   string   // etcd
	Password   Secret
	SRV        string // etcd: domain whose SRV records name the hosts
	SRVSuffix  string
	TLS        TLS
	UseSSL     bool          // zookeeper
	TickTime   time.Duration // zookeeper: the servers' tickTime; default 2s
	SetACLs    []ACL
	AuthData   []Auth
	Embedded   *Embedded // for Kind "embedded"
}

// TLS names the files of a TLS client or peer.
type TLS struct {
	CA, Cert, Key string
	KeyPassword   Secret
	Verify        bool // default true
}

// ACL is one entry of zookeeper.set_acls.
type ACL struct {
	Principal   string   // scheme:credential, for example "x509:CN=a"
	Permissions []string // of CREATE, READ, WRITE, DELETE, ADMIN, ALL
}

// Auth is one entry of zookeeper.auth_data.
type Auth struct {
	Scheme     string // for example "digest"
	Credential Secret // for example "user:password"
}

// Embedded is the store that runs beside the agent.
type Embedded struct {
	ListenPeer      string // host:port to bind for other members; default 127.0.0.1:2380
	ListenClient    string // host:port to bind for agents; default 127.0.0.1:2379
	AdvertisePeer   string // host:port that other members use
	AdvertiseClient string
	Partners        []Partner // all listed members, this one too if it is listed
	DataDir         string    // default <state_dir>/store
	Founder         bool      // may found a new store when no partner has one; default true
	CA, Cert, Key   string    // mutual TLS for peers and clients
}

// Partner is one voting member of the embedded store.
type Partner struct {
	Name   string // stable, the same on every member: see PartnerName
	Peer   string // host:port
	Client string // host:port
}

// Postgres is the postgresql section.
type Postgres struct {
	Listen          string   // "hosts:port", hosts separated by commas; default 127.0.0.1:5432
	ListenAddresses []string // the hosts of Listen
	Port            int      // the port of Listen
	ConnectAddress  string   // host:port that others use; default the first host of Listen
	ProxyAddress    string   // host:port of a pooler before this server, "" if none
	DataDir         string
	ConfigDir       string            // default DataDir
	ConfigBaseName  string            // default "postgresql"
	BinDir          string            // "" searches PATH
	BinName         map[string]string // only the programs with another name
	Database        string            // for local connections; default "postgres"
	PgPass          string            // default ~/pgpass
	KrbSrvName      string

	Superuser   Credentials
	Replication Credentials
	Rewind      Credentials // the superuser's unless configured

	Parameters   []Param // sorted by name, names in lower case
	PgHBA        []string
	PgIdent      []string
	CustomConf   string  // included instead of the base configuration
	RecoveryConf []Param // sorted by name

	UsePgRewind            bool
	RecloneOnRewindFailure bool // remove_data_directory_on_rewind_failure
	RecloneOnDivergence    bool // remove_data_directory_on_diverged_timelines
	UseUnixSocket          bool
	UseUnixSocketRepl      bool
	PgCtlTimeout           time.Duration // how long to wait for a start; default 60 s
	BasebackupOptions      []Option
	RewindOptions          []Option
	PrePromote             string // command; failing forbids the promotion
	BeforeStop             string // command, run before a stop
}

// Bootstrap is how a new cluster is founded.
type Bootstrap struct {
	DCS    string // initial dynamic configuration, compact JSON; "" when absent
	Method string // "initdb"; any other value must not be bootstrapped by us
	InitDB []Option
	// PgHBA is appended to pg_hba.conf once, when postgresql.pg_hba is absent.
	PgHBA    []string
	PostInit string // command, gets a connection string as last argument
}

// Watchdog is the kernel's watchdog device.
type Watchdog struct {
	Mode         string // off, automatic or required; the default is automatic
	Device       string // default /dev/watchdog
	SafetyMargin int    // seconds; -1 means half of ttl
}

// Matriarch is what the reference does not have.
type Matriarch struct {
	StateDir string // the agent's own directory; default <data_dir>.matriarch, never inside data_dir
	// TurnInterval is the longest time between two turns of the agent; 0 means
	// loop_wait. Renewals of the lease do not depend on it.
	TurnInterval time.Duration
	// KeepReplaced: a data directory that a copy has replaced is kept for a day; else
	// until the copy streams.
	KeepReplaced bool
	Guard        Guard
	// KernelFence: the guard also lets the kernel close the server's port at the
	// end of the lease: off, automatic (where the kernel and the rights allow it;
	// default) or required (no leading without it).
	KernelFence string
	Journal     Journal
}

// Guard has the times that are kept back from a lease; see ha/fence.
type Guard struct {
	FenceBudget time.Duration // from alarm to proof; default 1 s
	CleanStop   time.Duration // begin of the agent's own stop before that; default 2 s
	// TakeoverGrace is how long a primary whose agent is gone goes on for another
	// agent to take it over; default 3 s, 0: not at all.
	TakeoverGrace time.Duration
}

// Journal is the record of decisions.
type Journal struct {
	Dir      string // default <state_dir>/journal
	FileSize int64  // bytes per file; default 16 MB
	FileNum  int    // files kept; default 8
	Memory   int    // entries kept in memory for the REST API; default 1000
}

func lookup(ps []Param, name string) string {
	for _, p := range ps {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}
