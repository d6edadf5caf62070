package rest

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// AnnounceHeader is how an entrypoint tells the members that it asks where its
// own journal can be read, such as "port=7000" or "host=10.0.0.5 port=7000".
const AnnounceHeader = "Matriarch-Entrypoint"

// Announcement is the place of an entrypoint's journal.
type Announcement struct {
	Scheme string // "http" or "https"; empty means http
	// Host is the one address that its port listens on; the zero value means all
	// addresses, so that the one it asks from leads there too.
	Host netip.Addr
	Port uint16
}

// String is the header's value.
func (a Announcement) String() string {
	var words []string
	if a.Scheme != "" && a.Scheme != "http" {
		words = append(words, "scheme="+a.Scheme)
	}
	if a.Host.IsValid() {
		words = append(words, "host="+a.Host.String())
	}
	return strings.Join(append(words, "port="+strconv.Itoa(int(a.Port))), " ")
}

// ParseAnnouncement reads the header's value. Words that are not known are left
// to later releases.
func ParseAnnouncement(value string) (Announcement, error) {
	a := Announcement{Scheme: "http"}
	for _, word := range strings.Fields(value) {
		key, v, _ := strings.Cut(word, "=")
		switch key {
		case "scheme":
			if v != "http" && v != "https" {
				return a, fmt.Errorf("header %s: scheme %.20q: want http or https", AnnounceHeader, v)
			}
			a.Scheme = v
		case "host":
			host, err := netip.ParseAddr(v)
			if err != nil || host.Zone() != "" {
				return a, fmt.Errorf("header %s: host %.50q: want an address", AnnounceHeader, v)
			}
			a.Host = host.Unmap()
		case "port":
			n, err := strconv.ParseUint(v, 10, 16)
			if err != nil || n == 0 {
				return a, fmt.Errorf("header %s: port %.20q: want 1 to 65535", AnnounceHeader, v)
			}
			a.Port = uint16(n)
		}
	}
	if a.Port == 0 {
		return a, fmt.Errorf("header %s: no port", AnnounceHeader)
	}
	return a, nil
}

// Announce adds the place to a question that goes to the host of r, unless it
// could not be reached from there: a port on the loopback interface is told to
// members on the same host only.
func (a Announcement) Announce(r *http.Request) {
	if a.Port == 0 || a.Host.IsValid() && a.Host.IsLoopback() && !isLoopback(r.URL.Hostname()) {
		return
	}
	r.Header.Set(AnnounceHeader, a.String())
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
