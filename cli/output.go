package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

// Formats of lists.
const (
	formatPretty   = "pretty"
	formatTopology = "topology"
	formatTSV      = "tsv"
	formatJSON     = "json"
	formatYAML     = "yaml"
)

// formats are the words for them that options take.
func formats() []string { return []string{formatPretty, formatTSV, formatJSON, formatYAML, "yml"} }

func parseFormat(text string) (string, error) {
	switch {
	case text == "yml":
		return formatYAML, nil
	case slices.Contains(formats(), text):
		return text, nil
	}
	return text, fmt.Errorf("%q is not one of %s", text, strings.Join(formats(), ", "))
}

// objects writes rows as JSON or YAML; each row is an object.
func objects(rows []pyjson.Object, format string) (string, error) {
	list := []any{}
	for _, r := range rows {
		list = append(list, r)
	}
	if format == formatYAML {
		return toYAML(list), nil
	}
	text, err := pyjson.Marshal(list)
	return string(text) + "\n", err
}

// tsv writes rows separated by tabs; a cell of several lines is quoted as CSV.
func tsv(columns []column, rows [][]string) string {
	var b strings.Builder
	for i, c := range columns {
		if i > 0 {
			b.WriteByte('\t')
		}
		b.WriteString(c.title)
	}
	b.WriteByte('\n')
	for _, r := range rows {
		for i, cell := range r {
			cell = Harmless(cell)
			if i > 0 {
				b.WriteByte('\t')
			}
			if strings.ContainsAny(cell, "\t\n\"") {
				cell = `"` + strings.ReplaceAll(cell, `"`, `""`) + `"`
			}
			b.WriteString(cell)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
