package api

import (
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/journal"
)

// Policy is what may change while the server runs: who may do what, and what
// the answers carry.
type Policy struct {
	// Username and Password protect every path that changes something; no
	// username, no authentication.
	Username, Password string
	// AllowList names who may call those paths: addresses, networks, host names
	// (resolved once). Empty allows everybody.
	AllowList []string
	// AllowMembers also allows the hosts of the members' api_url.
	AllowMembers bool

	// TLS is on when CertFile is set.
	TLS TLS

	Headers    map[string]string // added to every normal answer
	TLSHeaders map[string]string // likewise when TLS is on
	// ServerTokens: "original" (default), "productonly" or "minimal".
	ServerTokens string
}

// TLS says how the port is encrypted.
type TLS struct {
	CertFile, KeyFile string // KeyFile empty: the key is in CertFile
	KeyPassword       string
	CAFile            string // who signs clients' certificates
	// VerifyClient: "none" (default), "optional" (a certificate for what
	// changes something), "required" (for everything).
	VerifyClient string
}

// Options are what a server needs for its life.
type Options struct {
	Source  Source
	Journal *journal.Journal // nil: GET /journal answers an empty list
	Clock   clock.Clock      // nil: the real one
	Log     *slog.Logger     // nil: silent
	Policy  Policy
	// Patience bounds how long a request to move the leadership waits for its
	// outcome; 0 takes it from the settings.
	Patience time.Duration
	// Metrics adds families in the text format to GET /metrics, after those of
	// the Status; nil adds none.
	Metrics func(io.Writer) error
	// Requested is told of each request that changes something, when it has passed
	// the checks; nil: nobody is. It returns at once.
	Requested func(r journal.Request, text string)
	// UI answers GET /ui and below; nil: there is no dashboard.
	UI http.Handler
}
