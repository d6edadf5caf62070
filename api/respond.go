package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

// reply sends a normal answer with its length.
func (s *Server) reply(w http.ResponseWriter, code int, contentType string, body []byte) {
	h := w.Header()
	for k, v := range s.policy.Load().headers {
		h.Set(k, v)
	}
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	w.Write(body) // an error means that the asker is gone
}

// text sends the text that answers an action. Its type is the one that clients
// know, unless a browser could take it for a page: it may repeat what was asked.
func (s *Server) text(w http.ResponseWriter, code int, text string) {
	contentType := "text/html"
	if strings.ContainsAny(text, "<&") {
		contentType = "text/plain; charset=utf-8"
	}
	s.reply(w, code, contentType, []byte(text))
}

// json sends a document.
func (s *Server) json(w http.ResponseWriter, code int, v any) {
	body, err := pyjson.Marshal(v)
	if err != nil {
		s.log.Error("an answer could not be encoded", "err", err)
		errorPage(w, http.StatusInternalServerError, "")
		return
	}
	s.reply(w, code, "application/json", body)
}

// statusOnly answers with nothing but a code.
func (s *Server) statusOnly(w http.ResponseWriter, ok bool) {
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(codeOf(ok))
}

// refused answers an error of the Source or of a check.
func (s *Server) refused(w http.ResponseWriter, err error, otherwise string) {
	var r *Refusal
	if errors.As(err, &r) {
		s.text(w, r.Code, r.Text)
		return
	}
	s.log.Warn("a request failed", "err", err)
	s.text(w, http.StatusServiceUnavailable, otherwise)
}

// errorPage sends the small HTML page that clients know from errors of the
// protocol itself. An empty message means the code's usual one.
func errorPage(w http.ResponseWriter, code int, message string) {
	if message == "" {
		message = http.StatusText(code)
	}
	body := fmt.Sprintf(`<!DOCTYPE HTML>
<html lang="en">
    <head>
        <meta charset="utf-8">
        <title>Error response</title>
    </head>
    <body>
        <h1>Error response</h1>
        <p>Error code: %d</p>
        <p>Message: %s.</p>
        <p>Error code explanation: %d - %s.</p>
    </body>
</html>
`, code, strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(message), code, explanation(code))
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Type", "text/html;charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	io.WriteString(w, body)
}

func explanation(code int) string {
	switch code {
	case http.StatusBadRequest:
		return "Bad request syntax or unsupported method"
	case http.StatusConflict:
		return "Request conflict"
	case http.StatusLengthRequired:
		return "Client must specify Content-Length"
	case http.StatusRequestEntityTooLarge:
		return "Entity is too large"
	case http.StatusNotImplemented:
		return "Server does not support this operation"
	case http.StatusBadGateway:
		return "Invalid responses from another server/proxy"
	case http.StatusServiceUnavailable:
		return "The server cannot process the request due to a high load"
	}
	return http.StatusText(code)
}

// readObject reads the body as a JSON object that is not empty; when it is none
// it has answered.
func readObject(w http.ResponseWriter, r *http.Request) (pyjson.Object, bool) {
	if r.ContentLength < 0 || r.ContentLength == 0 && r.Header.Get("Content-Length") == "" {
		errorPage(w, http.StatusLengthRequired, "")
		return nil, false
	}
	o, ok := readOptional(w, r)
	if ok && len(o) == 0 {
		errorPage(w, http.StatusBadRequest, "")
		return nil, false
	}
	return o, ok
}

// readOptional reads the body as a JSON object; no body is an empty one. When it
// is neither it has answered.
func readOptional(w http.ResponseWriter, r *http.Request) (pyjson.Object, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		errorPage(w, http.StatusRequestEntityTooLarge, "")
		return nil, false
	}
	if err == nil && len(body) == 0 && r.ContentLength <= 0 {
		return nil, true
	}
	if err == nil {
		v, perr := pyjson.Parse(body)
		if o, ok := v.(pyjson.Object); ok && perr == nil {
			return o, true
		}
	}
	errorPage(w, http.StatusBadRequest, "")
	return nil, false
}
