package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// column is one column of a table.
type column struct {
	title string
	right bool
}

// table lays cells out with borders; the title overwrites the beginning of the
// upper border, as existing scripts and eyes know it. Cells may have several
// lines; then every row gets a separator.
func table(title string, columns []column, rows [][]string) string {
	widths := make([]int, len(columns))
	several := false
	for i, c := range columns {
		widths[i] = utf8.RuneCountInString(c.title)
	}
	for _, r := range rows {
		for i, cell := range r {
			for line := range strings.SplitSeq(cell, "\n") {
				widths[i] = max(widths[i], utf8.RuneCountInString(line))
			}
			several = several || strings.Contains(cell, "\n")
		}
	}
	border := "+"
	for _, w := range widths {
		border += strings.Repeat("-", w+2) + "+"
	}
	var b strings.Builder
	b.WriteString(titled(title, border) + "\n")
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.title
	}
	writeRow(&b, titles, columns, widths)
	b.WriteString(border + "\n")
	for i, r := range rows {
		if several && i > 0 {
			b.WriteString(border + "\n")
		}
		writeRow(&b, r, columns, widths)
	}
	if len(rows) > 0 {
		b.WriteString(border + "\n")
	}
	return b.String()
}

// titled writes the title over the border after its first character.
func titled(title, border string) string {
	runes := []rune(title)
	if len(runes) > len(border)-2 {
		runes = runes[:max(0, len(border)-2)]
	}
	return border[:1] + string(runes) + border[1+len(runes):]
}

func writeRow(b *strings.Builder, cells []string, columns []column, widths []int) {
	height := 1
	lines := make([][]string, len(cells))
	for i, cell := range cells {
		lines[i] = strings.Split(cell, "\n")
		height = max(height, len(lines[i]))
	}
	for n := range height {
		for i := range cells {
			text := ""
			if n < len(lines[i]) {
				text = lines[i][n]
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			if columns[i].right {
				fmt.Fprintf(b, "| %s%s ", pad, text)
			} else {
				fmt.Fprintf(b, "| %s%s ", text, pad)
			}
		}
		b.WriteString("|\n")
	}
}
