package cli

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// column is one column of a table.
type column struct {
	title  string
	right  bool
	colour func(cell string) string // nil: plain
}

// table lays cells out with borders; the title overwrites the beginning of the
// upper border, as existing scripts and eyes know it. Cells may have several
// lines; then every row gets a separator.
func table(title string, columns []column, rows [][]string, colours bool) string {
	t := drawing{columns: columns, widths: make([]int, len(columns)), colours: colours}
	several := false
	for i, c := range columns {
		t.widths[i] = displayWidth(c.title)
	}
	lines := make([][][]string, len(rows))
	for n, r := range rows {
		lines[n] = make([][]string, len(r))
		for i, cell := range r {
			lines[n][i] = strings.Split(harmless(cell), "\n")
			several = several || len(lines[n][i]) > 1
			for _, line := range lines[n][i] {
				t.widths[i] = max(t.widths[i], displayWidth(line))
			}
		}
	}
	border := "+"
	titles := make([][]string, len(columns))
	for i, c := range columns {
		border += strings.Repeat("-", t.widths[i]+2) + "+"
		titles[i] = []string{c.title}
	}
	t.b.WriteString(titled(harmless(title), border) + "\n")
	t.row(titles, false)
	t.b.WriteString(border + "\n")
	for i, r := range lines {
		if several && i > 0 {
			t.b.WriteString(border + "\n")
		}
		t.row(r, colours)
	}
	if len(rows) > 0 {
		t.b.WriteString(border + "\n")
	}
	return t.b.String()
}

// titled writes the title over the border after its first character.
func titled(title, border string) string {
	room := max(0, len(border)-2)
	for displayWidth(title) > room {
		runes := []rune(title)
		title = string(runes[:len(runes)-1])
	}
	return border[:1] + title + border[1+displayWidth(title):]
}

// drawing is a table that is being written.
type drawing struct {
	b       strings.Builder
	columns []column
	widths  []int
	colours bool
}

// row writes one row, each cell given by its lines.
func (t *drawing) row(cells [][]string, colours bool) {
	height := 1
	for _, lines := range cells {
		height = max(height, len(lines))
	}
	for n := range height {
		for i, lines := range cells {
			text := ""
			if n < len(lines) {
				text = lines[n]
			}
			pad := strings.Repeat(" ", max(0, t.widths[i]-displayWidth(text)))
			if colour := t.columns[i].colour; colours && colour != nil && text != "" {
				text = painted(text, colour(text))
			}
			if t.columns[i].right {
				t.b.WriteString("| " + pad + text + " ")
			} else {
				t.b.WriteString("| " + text + pad + " ")
			}
		}
		t.b.WriteString("|\n")
	}
}

// displayWidth is how many columns of a terminal a text takes.
func displayWidth(text string) int {
	n := 0
	for _, r := range text {
		switch kind := width.LookupRune(r).Kind(); {
		case r < 0x7f:
			n++
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case kind == width.EastAsianWide || kind == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

// harmless is Harmless for a cell of a table, where a tab has no place.
func harmless(text string) string {
	return strings.ReplaceAll(Harmless(text), "\t", string(unicode.ReplacementChar))
}

// Harmless replaces what a terminal would obey instead of showing it. Lines and
// tabs stay.
func Harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
