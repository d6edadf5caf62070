package cli

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/matriarch-ha/matriarch/config"
)

// storeAddress is what --dcs-url says: which store, and where in it.
type storeAddress struct {
	section   config.StoreSection
	namespace string // empty: the configured one
}

// schemes are the kinds of store that an address may name, with their ports.
func schemes() map[string]string {
	return map[string]string{"zookeeper": "2181", "etcd": "2379", "etcd3": "2379", "consul": "8500", "exhibitor": "8181"}
}

// parseStoreAddress reads SCHEME://HOST:PORT[,HOST:PORT…]/NAMESPACE. Without a
// scheme the port says which store it is, as the reference has it.
func parseStoreAddress(text string) (storeAddress, error) {
	var out storeAddress
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		scheme, rest = "", strings.TrimPrefix(text, "//")
	}
	hosts, path, _ := strings.Cut(rest, "/")
	if strings.Contains(hosts, "@") { // not repeated: it may be a password
		return out, errors.New("--dcs-url: a user in the address would show in the list of processes; write username and password into the store's section of a configuration file")
	}
	if strings.ContainsAny(path, "?#") {
		return out, fmt.Errorf("--dcs-url: %q: nothing may follow the namespace", text)
	}
	if scheme == "" {
		scheme = schemeOf(hosts)
	}
	port, known := schemes()[scheme]
	if !known {
		return out, fmt.Errorf("Unknown dcs scheme: %s", scheme) //nolint:staticcheck // the reference's text
	}
	var addresses []string
	for host := range strings.SplitSeq(hosts, ",") {
		address, err := storeHost(host, port)
		if err != nil {
			return out, fmt.Errorf("--dcs-url: %q: %w; write SCHEME://HOST:PORT/NAMESPACE", text, err)
		}
		addresses = append(addresses, address)
	}
	switch scheme {
	case "zookeeper":
		out.section = config.StoreSection{Kind: "zookeeper", Hosts: addresses}
	case "etcd", "etcd3":
		out.section = config.StoreSection{Kind: "etcd3", Hosts: addresses, Protocol: "http", LegacyEtcd: scheme == "etcd"}
	default:
		return out, fmt.Errorf("--dcs-url: a store of kind %s is not supported: use zookeeper, etcd3 or etcd", scheme)
	}
	out.namespace = strings.Trim(path, "/")
	return out, nil
}

// schemeOf guesses the store from the first address's port.
func schemeOf(hosts string) string {
	host, _, _ := strings.Cut(hosts, ",")
	_, port, err := net.SplitHostPort(host)
	if err == nil && port != "2379" {
		names := make([]string, 0, len(schemes()))
		for name, p := range schemes() {
			if p == port {
				names = append(names, name)
			}
		}
		if len(names) > 0 {
			return slices.Min(names)
		}
	}
	return "etcd"
}

// storeHost completes one address.
func storeHost(text, port string) (string, error) {
	u, err := url.Parse("//" + text)
	if err != nil || u.Path != "" {
		return "", errors.New("this is no address")
	}
	host := u.Hostname()
	if host == "" {
		host = "localhost"
	}
	if given := u.Port(); given != "" {
		port = given
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("%s is no port", port)
	}
	address := net.JoinHostPort(host, port)
	if again, err := url.Parse("//" + address); err != nil || again.Hostname() != host {
		return "", errors.New("this is no address")
	}
	return address, nil
}
