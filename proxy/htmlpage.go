package proxy

import (
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"size": size, "ago": ago, "ms": func(f float64) string { return fmt.Sprintf("%.2f", f) }, // both of milliseconds
	"s": func(f float64) string { return fmt.Sprintf("%.1f", f/1000) },
}).Parse(pageText))

// getPage answers a browser.
func (p *Proxy) getPage(w http.ResponseWriter) {
	var b strings.Builder
	if err := pageTemplate.Execute(&b, p.Stats()); err != nil {
		p.o.Logger.Warn("the page of statistics cannot be made", "error", err)
		http.Error(w, "the page cannot be made; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	fmt.Fprint(w, b.String())
}

// size is a number of bytes for a person.
func size(n int64) string {
	f, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if f < 1024 {
			break
		}
		f, unit = f/1024, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

// ago is a number of seconds for a person.
func ago(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}
