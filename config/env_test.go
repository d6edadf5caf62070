package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// documentedVariables are all that the reference documents, without the prefix.
const documentedVariables = `NAME NAMESPACE SCOPE THREAD_POOL_SIZE THREAD_STACK_SIZE
LOG_{TYPE,LEVEL,TRACEBACK_LEVEL,FORMAT,DATEFORMAT,STATIC_FIELDS,MAX_QUEUE_SIZE,DIR,MODE,FILE_SIZE,FILE_NUM,LOGGERS,DEDUPLICATE_HEARTBEAT_LOGS}
LOGLEVEL LOGFORMAT LOG_DATEFMT
RESTAPI_{LISTEN,CONNECT_ADDRESS,CERTFILE,KEYFILE,KEYFILE_PASSWORD,CAFILE,CIPHERS,VERIFY_CLIENT,HTTP_EXTRA_HEADERS,HTTPS_EXTRA_HEADERS}
RESTAPI_{ALLOWLIST,ALLOWLIST_INCLUDE_MEMBERS,REQUEST_QUEUE_SIZE,SERVER_TOKENS,USERNAME,PASSWORD,THREAD_POOL_SIZE}
CTL_{INSECURE,CACERT,CERTFILE,KEYFILE,KEYFILE_PASSWORD,USERNAME,PASSWORD}
POSTGRESQL_{LISTEN,CONNECT_ADDRESS,PROXY_ADDRESS,CONFIG_DIR,DATA_DIR,PGPASS,BIN_DIR}
POSTGRESQL_BIN_{PG_CTL,INITDB,PG_CONTROLDATA,PG_BASEBACKUP,POSTGRES,PG_ISREADY,PG_REWIND}
SUPERUSER_{USERNAME,PASSWORD,SSLMODE,SSLCERT,SSLKEY,SSLPASSWORD,SSLROOTCERT,SSLCRL,SSLCRLDIR,GSSENCMODE,CHANNEL_BINDING,SSLNEGOTIATION}
REPLICATION_{USERNAME,PASSWORD,SSLMODE,SSLCERT,SSLKEY,SSLPASSWORD,SSLROOTCERT,SSLCRL,SSLCRLDIR,GSSENCMODE,CHANNEL_BINDING,SSLNEGOTIATION}
REWIND_{USERNAME,PASSWORD,SSLMODE,SSLCERT,SSLKEY,SSLPASSWORD,SSLROOTCERT,SSLCRL,SSLCRLDIR,GSSENCMODE,CHANNEL_BINDING,SSLNEGOTIATION}
ETCD_{HOST,HOSTS,URL,PROXY,USE_PROXIES,PROTOCOL,SRV,SRV_SUFFIX,CACERT,CERT,KEY,USERNAME,PASSWORD}
ETCD3_{HOST,HOSTS,URL,PROXY,USE_PROXIES,PROTOCOL,SRV,SRV_SUFFIX,CACERT,CERT,KEY,USERNAME,PASSWORD}
ZOOKEEPER_{HOSTS,USE_SSL,CACERT,CERT,KEY,KEY_PASSWORD,VERIFY,SET_ACLS,AUTH_DATA}
EXHIBITOR_{HOSTS,PORT}
CONSUL_{HOST,PORT,URL,TOKEN,VERIFY,CACERT,CERT,KEY,DC,CONSISTENCY,CHECKS,REGISTER_SERVICE,SERVICE_TAGS,SERVICE_CHECK_INTERVAL,SERVICE_CHECK_TLS_SERVER_NAME}
KUBERNETES_{NAMESPACE,CONTEXT,LABELS,SCOPE_LABEL,ROLE_LABEL,LEADER_LABEL_VALUE,FOLLOWER_LABEL_VALUE,STANDBY_LEADER_LABEL_VALUE,TMP_ROLE_LABEL}
KUBERNETES_{USE_ENDPOINTS,POD_IP,PORTS,CACERT,RETRIABLE_HTTP_CODES,BYPASS_API_SERVICE,BOOTSTRAP_LABELS}
RAFT_{SELF_ADDR,BIND_ADDR,PARTNER_ADDRS,DATA_DIR,PASSWORD}
CITUS_{GROUP,DATABASE}`

// expand writes NAME_{A,B} out.
func expand(list string) []string {
	var out []string
	for _, word := range strings.Fields(list) {
		head, rest, braces := strings.Cut(word, "{")
		if !braces {
			out = append(out, word)
			continue
		}
		for tail := range strings.SplitSeq(strings.TrimSuffix(rest, "}"), ",") {
			out = append(out, head+tail)
		}
	}
	return out
}

// Every documented variable changes what the program is told, or is named as
// having no effect, or is refused by name.
func TestDocumentedVariables(t *testing.T) {
	special := map[string]string{
		"LOG_LEVEL": "debug", "LOGLEVEL": "debug", "LOG_TYPE": "json", "LOG_TRACEBACK_LEVEL": "DEBUG", "LOG_LOGGERS": "agent: debug", "RESTAPI_VERIFY_CLIENT": "required",
		"RESTAPI_SERVER_TOKENS": "minimal", "ETCD_PROTOCOL": "https", "ETCD3_PROTOCOL": "https", "ZOOKEEPER_VERIFY": "off",
		"ETCD_URL": "http://h:7", "ETCD3_URL": "http://h:7", "ZOOKEEPER_SET_ACLS": "x509:CN=a: [ALL]", "ZOOKEEPER_AUTH_DATA": "digest: a:b",
		"THREAD_STACK_SIZE": "64kB", "REWIND_PASSWORD": "p",
	}
	// What is needed beside a variable to be heard, or to be right.
	beside := map[string][]string{
		"RESTAPI_KEYFILE": {"RESTAPI_CERTFILE=/c"}, "CTL_KEYFILE": {"CTL_CERTFILE=/c"}, "RESTAPI_VERIFY_CLIENT": {"RESTAPI_CERTFILE=/c"},
		"CTL_PASSWORD":  {"CTL_USERNAME=u"},
		"ZOOKEEPER_KEY": {"ZOOKEEPER_CERT=k"}, "ETCD3_KEY": {"ETCD3_CERT=k"}, "ETCD_KEY": {"ETCD_CERT=k"},
		"ETCD3_PASSWORD": {"ETCD3_USERNAME=u"}, "ETCD_PASSWORD": {"ETCD_USERNAME=u"}, "ETCD3_SRV_SUFFIX": {"ETCD3_SRV=d"}, "ETCD_SRV_SUFFIX": {"ETCD_SRV=d"},
	}
	names := envNames()
	for _, name := range expand(documentedVariables) {
		f, ok := names[name]
		if !ok {
			t.Errorf("PATRONI_%s means nothing", name)
			continue
		}
		value := map[typ]string{tBool: "on", tInt: "7", tList: "h:1,h:2", tMap: "a: b", tHost: "h:7", tText: "word", tAny: "[{name: a}]", tItems: "[{name: a}]"}[f.typ]
		if v := special[name]; v != "" {
			value = v
		}
		base := []string{"PATRONI_SCOPE=s", "PATRONI_NAME=n", "PATRONI_POSTGRESQL_DATA_DIR=/d"}
		switch section, _, _ := strings.Cut(name, "_"); section {
		case "ETCD", "ETCD3", "ZOOKEEPER":
			if hosts := section + "_HOSTS"; hosts != name && !strings.HasPrefix(name, section+"_SRV") && name != section+"_HOST" && name != section+"_URL" {
				base = append(base, "PATRONI_"+hosts+"=x:1")
			}
		case "RAFT":
			base = append(base, "PATRONI_RAFT_SELF_ADDR=10.0.0.1:2380")
		}
		for _, b := range beside[name] {
			base = append(base, "PATRONI_"+b)
		}
		if strings.HasPrefix(name, "REWIND_") && name != "REWIND_USERNAME" { // the superuser's are used without a name
			base = append(base, "PATRONI_REWIND_USERNAME=r")
		}
		without, warned, err := Load("", base)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		with, w, err := Load("", append(base, "PATRONI_"+name+"="+value))
		if err != nil {
			if !strings.Contains(err.Error(), "env PATRONI_"+name+": ") || !strings.Contains(err.Error(), "this store is not supported yet") {
				t.Errorf("PATRONI_%s=%s: %v", name, value, err)
			}
			continue
		}
		same := cmp.Equal(*without, *with, cmpopts.IgnoreFields(File{}, "Raw"), cmpopts.EquateEmpty())
		if same && len(w) <= len(warned) {
			t.Errorf("PATRONI_%s=%s has no effect, and nobody says so", name, value)
		}
	}
}
