// Package httpclock puts both clocks of a host into its HTTP answers, so that
// who asks several hosts can measure how far their clocks are apart: wall clocks
// to compare what the hosts wrote down, boot clocks because they are never set.
package httpclock

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// Header is "<wall clock, nanoseconds since 1970> <boot clock, nanoseconds>".
const Header = "Matriarch-Clock"

// Stamp reads both clocks.
func Stamp(c clock.Clock) string {
	return strconv.FormatInt(c.Wall().UnixNano(), 10) + " " + strconv.FormatInt(int64(c.Now()), 10)
}

// Parse reads a header's value.
func Parse(value string) (wall time.Time, now boot.Instant, err error) {
	first, second, ok := strings.Cut(value, " ")
	w, err1 := strconv.ParseInt(first, 10, 64)
	b, err2 := strconv.ParseInt(second, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return time.Time{}, 0, fmt.Errorf("header %s %q: want two numbers of nanoseconds", Header, value)
	}
	return time.Unix(0, w), boot.Instant(b), nil
}

// Writer stamps an answer right before its header is sent: what the answer took
// to be made is no difference of clocks.
type Writer struct {
	http.ResponseWriter
	Clock clock.Clock
	sent  bool
}

// WriteHeader stamps and sends the header.
func (w *Writer) WriteHeader(code int) {
	if !w.sent {
		w.Header().Set(Header, Stamp(w.Clock))
		w.sent = code >= 200
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write sends the header first if nobody has.
func (w *Writer) Write(b []byte) (int, error) {
	if !w.sent {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
