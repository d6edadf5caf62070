package explain

import (
	"fmt"
	"time"
)

// ParseTime reads a moment as people write it: an age (2h30m), a time of the last
// 24 hours (10:42, 10:42:07.5), or a date with a time, in now's zone unless it
// names one.
func ParseTime(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{"15:04", "15:04:05"} {
		if c, err := time.Parse(layout, text); err == nil {
			at := time.Date(now.Year(), now.Month(), now.Day(), c.Hour(), c.Minute(), c.Second(), c.Nanosecond(), now.Location())
			if at.After(now) {
				at = at.AddDate(0, 0, -1)
			}
			return at, nil
		}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil && at.Year() >= 2000 && at.Year() < 3000 {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q: want an age such as 30m or 2h, a time such as 10:42, or a date and time such as 2026-11-26T10:42:00Z", text)
}
