// Package strftime writes times by the patterns of the C library's function of
// that name, in its C locale.
package strftime

import (
	"fmt"
	"strings"
	"time"
)

// layouts are Go's layouts of the directives that have one.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'h': "Jan",
	'c': "Mon Jan _2 15:04:05 2006", 'd': "02", 'D': "01/02/06", 'e': "_2", 'F': "2006-01-02",
	'H': "15", 'I': "03", 'j': "002", 'm': "01", 'M': "04", 'p': "PM", 'r': "03:04:05 PM",
	'R': "15:04", 'S': "05", 'T': "15:04:05", 'x': "01/02/06", 'X': "15:04:05",
	'y': "06", 'Y': "2006", 'z': "-0700", 'Z': "MST",
}

// others are the directives that have none.
const others = "CGVkswunlt%"

// Check reports a directive that Format does not know.
func Check(pattern string) error {
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '%' {
			continue
		}
		i++
		if i == len(pattern) {
			return fmt.Errorf("it ends with a single %%; write %%%% for the character itself")
		}
		if layouts[pattern[i]] == "" && !strings.ContainsRune(others, rune(pattern[i])) {
			return fmt.Errorf("%%%c is no directive of strftime that is known here", pattern[i])
		}
	}
	return nil
}

// Format writes t by a pattern. What Check refuses stays as it stands.
func Format(pattern string, t time.Time) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '%' || i+1 == len(pattern) {
			b.WriteByte(pattern[i])
			continue
		}
		i++
		b.WriteString(directive(pattern[i], t))
	}
	return b.String()
}

func directive(c byte, t time.Time) string {
	if layout := layouts[c]; layout != "" {
		return t.Format(layout)
	}
	year, week := t.ISOWeek()
	switch c {
	case 'C':
		return fmt.Sprintf("%02d", t.Year()/100)
	case 'G':
		return fmt.Sprint(year)
	case 'V':
		return fmt.Sprintf("%02d", week)
	case 'k':
		return fmt.Sprintf("%2d", t.Hour())
	case 'l':
		return fmt.Sprintf("%2d", (t.Hour()+11)%12+1)
	case 's':
		return fmt.Sprint(t.Unix())
	case 'w':
		return fmt.Sprint(int(t.Weekday()))
	case 'u':
		return fmt.Sprint((int(t.Weekday())+6)%7 + 1)
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case '%':
		return "%"
	}
	return "%" + string(c)
}
