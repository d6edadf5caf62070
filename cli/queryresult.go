package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

// resultSet is what a query gave.
type resultSet struct {
	titles []string
	types  []uint32
	rows   []resultRow
}

// resultRow is one row; null tells a missing value from an empty text.
type resultRow struct {
	text []string
	null []bool
}

// Types that JSON has too, by their numbers in pg_type.
const (
	typeBool    = 16
	typeInt8    = 20
	typeInt2    = 21
	typeInt4    = 23
	typeOID     = 26
	typeFloat4  = 700
	typeFloat8  = 701
	typeNumeric = 1700
)

// reading collects what the server answers to statements.
type reading struct {
	result    resultSet // of the last statement
	described bool      // the statement under way has columns, or copies out
	failure   error
	ready     bool // the server waits for the next statements
}

// take reads one message; what it keeps, it copies.
func (r *reading) take(m pgproto3.BackendMessage) {
	switch m := m.(type) {
	case *pgproto3.RowDescription:
		r.begin()
		for _, f := range m.Fields {
			r.result.titles = append(r.result.titles, string(f.Name))
			r.result.types = append(r.result.types, f.DataTypeOID)
		}
	case *pgproto3.CopyOutResponse:
		r.begin()
	case *pgproto3.DataRow:
		row := resultRow{null: make([]bool, len(m.Values))}
		for i, v := range m.Values {
			row.text = append(row.text, string(v))
			row.null[i] = v == nil
		}
		r.result.rows = append(r.result.rows, row)
	case *pgproto3.CopyData:
		r.result.rows = append(r.result.rows, resultRow{text: []string{strings.TrimSuffix(string(m.Data), "\n")}})
	case *pgproto3.CommandComplete, *pgproto3.EmptyQueryResponse:
		if !r.described {
			r.result = resultSet{}
		}
		r.described = false
	case *pgproto3.ErrorResponse:
		r.failure = pgconn.ErrorResponseToPgError(m)
	case *pgproto3.ReadyForQuery:
		r.ready = true
	}
}

func (r *reading) begin() { r.result, r.described = resultSet{}, true }

// value is a cell for programs.
func (r resultSet) value(row resultRow, i int) any {
	if i < len(row.null) && row.null[i] {
		return nil
	}
	text := row.text[i]
	if i >= len(r.types) {
		return text
	}
	switch r.types[i] {
	case typeBool:
		return text == "t"
	case typeInt8, typeInt2, typeInt4, typeOID, typeFloat4, typeFloat8, typeNumeric:
		if json.Valid([]byte(text)) { // NaN and Infinity are no numbers there
			return json.Number(text)
		}
	}
	return text
}

// cell is a cell for people: as the server wrote it, or in the old program's
// words.
func (r resultSet) cell(row resultRow, i int, old bool) string {
	if !old {
		return row.text[i]
	}
	switch r.value(row, i) {
	case nil:
		return "None"
	case true:
		return "True"
	case false:
		return "False"
	}
	return row.text[i]
}

func (r resultSet) right(i int) bool {
	if i >= len(r.types) {
		return false
	}
	switch r.types[i] {
	case typeInt8, typeInt2, typeInt4, typeOID, typeFloat4, typeFloat8, typeNumeric:
		return true
	}
	return false
}

// render writes the result in a format.
func (r resultSet) render(format, delimiter string, old bool) (string, error) {
	if format == formatJSON || format == formatYAML {
		return objects(r.objects(), format)
	}
	var cells [][]string
	for _, row := range r.rows {
		var line []string
		for i := range row.text {
			line = append(line, r.cell(row, i, old))
		}
		cells = append(cells, line)
	}
	if format == formatTSV {
		return delimited(r.titles, cells, delimiter), nil
	}
	var columns []column
	for i, t := range r.columnTitles() {
		columns = append(columns, column{title: t, right: !old && r.right(i)})
	}
	if len(columns) == 0 {
		return "", nil
	}
	return table("", columns, cells, false), nil
}

// columnTitles are the titles, or numbers where the result has none.
func (r resultSet) columnTitles() []string {
	if len(r.titles) > 0 || len(r.rows) == 0 {
		return r.titles
	}
	var out []string
	for i := range r.rows[0].text {
		out = append(out, fmt.Sprintf("Field %d", i+1))
	}
	return out
}

func (r resultSet) objects() []pyjson.Object {
	var out []pyjson.Object
	titles := r.columnTitles()
	for _, row := range r.rows {
		var o pyjson.Object
		for i := range row.text {
			o = append(o, pyjson.Field{Key: titles[i], Value: r.value(row, i)})
		}
		out = append(out, o)
	}
	return out
}

// delimited writes rows as they are, for the eyes and for cut; what may hold the
// delimiter itself is better asked for as json.
func delimited(titles []string, rows [][]string, delimiter string) string {
	var b strings.Builder
	if len(titles) > 0 {
		b.WriteString(strings.Join(titles, delimiter) + "\n")
	}
	for _, r := range rows {
		b.WriteString(strings.Join(r, delimiter) + "\n")
	}
	return b.String()
}
