package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
	"github.com/matriarch-ha/matriarch/journal"
)

// mergeAttempts: a patch that lost a race is applied to the new document again
// so many times; what it asks for does not depend on the rest.
const mergeAttempts = 3

// getConfig answers the dynamic configuration with its version as entity tag,
// which a later change can name in If-Match.
func (s *Server) getConfig(w http.ResponseWriter, r *http.Request) {
	v, err := s.loadOrLast(r)
	if err != nil || !v.Config.Present {
		errorPage(w, http.StatusBadGateway, "")
		return
	}
	s.config(w, v.Config)
}

func (s *Server) config(w http.ResponseWriter, c cluster.Config) {
	body, err := pyjson.Reformat([]byte(c.JSON))
	if err != nil {
		s.log.Warn("the config key in the store is no JSON", "err", err)
		errorPage(w, http.StatusBadGateway, "")
		return
	}
	if c.Version != "" {
		w.Header().Set("ETag", entityTag(c.Version))
	}
	s.reply(w, http.StatusOK, "application/json", body)
}

func entityTag(v cluster.Version) string { return strconv.Quote(string(v)) }

// matches reports whether the request accepts the version: it names none, or
// this one.
func matches(r *http.Request, v cluster.Version) bool {
	want := strings.TrimSpace(r.Header.Get("If-Match"))
	return want == "" || want == "*" || want == entityTag(v)
}

// patchConfig merges an object into the configuration.
func (s *Server) patchConfig(w http.ResponseWriter, r *http.Request) {
	patch, ok := readObject(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	for attempt := range mergeAttempts {
		v, err := s.load(ctx)
		if err != nil || !v.Config.Present {
			errorPage(w, http.StatusServiceUnavailable, "")
			return
		}
		if !matches(r, v.Config.Version) {
			break
		}
		if attempt == 0 {
			s.askedPatch(r, patch)
		}
		err = s.merge(ctx, v.Config, patch)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			s.refused(w, err, "the configuration could not be written; read it again to see whether it was")
			return
		}
		s.patched(w, ctx)
		return
	}
	errorPage(w, http.StatusConflict, "")
}

// merge writes the patched document if that changes anything.
func (s *Server) merge(ctx context.Context, c cluster.Config, patch pyjson.Object) error {
	doc, err := pyjson.Parse([]byte(c.JSON))
	old, ok := doc.(pyjson.Object)
	if err != nil || !ok {
		return refuse(http.StatusServiceUnavailable, "the config key in the store is no JSON object; replace it with PUT /config")
	}
	merged, changed := pyjson.Merge(old, patch)
	if !changed {
		return nil
	}
	text, err := stored(merged)
	if err != nil {
		return err
	}
	return s.src.WriteConfig(ctx, text, c.Version)
}

// stored writes a document as the store holds it: compact.
func stored(doc pyjson.Object) (string, error) {
	text, err := doc.MarshalJSON()
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = json.Compact(&b, text)
	return b.String(), err
}

// patched answers with the configuration as it is now.
func (s *Server) patched(w http.ResponseWriter, ctx context.Context) {
	s.src.Wake()
	v, err := s.load(ctx)
	if err != nil || !v.Config.Present {
		errorPage(w, http.StatusServiceUnavailable, "")
		return
	}
	s.config(w, v.Config)
}

// putConfig replaces the configuration.
func (s *Server) putConfig(w http.ResponseWriter, r *http.Request) {
	doc, ok := readObject(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	err := s.replace(ctx, r, doc)
	switch {
	case errors.Is(err, ErrConflict):
		errorPage(w, http.StatusConflict, "")
	case err != nil:
		var refusal *Refusal
		if errors.As(err, &refusal) {
			s.text(w, refusal.Code, refusal.Text)
			return
		}
		s.log.Warn("configuration not written", "err", err)
		errorPage(w, http.StatusBadGateway, "")
	default:
		s.json(w, http.StatusOK, doc)
	}
}

func (s *Server) replace(ctx context.Context, r *http.Request, doc pyjson.Object) error {
	text, err := stored(doc)
	if err != nil {
		return err
	}
	for attempt := range mergeAttempts {
		v, lerr := s.load(ctx)
		if lerr != nil {
			return lerr
		}
		if !matches(r, v.Config.Version) {
			return ErrConflict
		}
		old, perr := pyjson.Parse([]byte(v.Config.JSON))
		if perr == nil && pyjson.Equal(old, doc) {
			return nil
		}
		if attempt == 0 {
			s.asked(r, journal.Request{Kind: "config"}, "another dynamic configuration was put in place of the former: "+keysOf(doc))
		}
		// The reference replaces whatever is there: a lost race is tried again.
		if err = s.src.WriteConfig(ctx, text, v.Config.Version); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return err
}
