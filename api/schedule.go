package api

import (
	"net/http"
	"strings"
	"time"
)

// isoTime writes a scheduled time as existing readers do: without a fraction, or
// with all six digits.
func isoTime(at time.Time) string {
	if at.Nanosecond()/1000 == 0 {
		return at.Format("2006-01-02T15:04:05-07:00")
	}
	return at.Format("2006-01-02T15:04:05.000000-07:00")
}

// ParseTime reads a time as people write it: ISO 8601 with T or a space, with
// or without seconds and zone. zoned is false when there was no zone; the time
// is then in loc.
func ParseTime(text string, loc *time.Location) (at time.Time, zoned, ok bool) {
	text = strings.Replace(strings.TrimSpace(text), " ", "T", 1)
	text = strings.ReplaceAll(text, " ", "")
	for _, clock := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04"} {
		for _, zone := range []string{"Z07:00", "Z0700", "Z07"} {
			if at, err := time.Parse(clock+zone, text); err == nil {
				return at, true, true
			}
		}
		if at, err := time.ParseInLocation(clock, text, loc); err == nil {
			return at, false, true
		}
	}
	return time.Time{}, false, false
}

// parseSchedule reads scheduled_at of a request to do what later.
func parseSchedule(text, what string, now time.Time) (time.Time, *Refusal) {
	at, zoned, ok := ParseTime(text, time.UTC)
	switch {
	case !ok:
		return at, refuse(http.StatusUnprocessableEntity,
			"Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601")
	case !zoned:
		return at, refuse(http.StatusBadRequest, "Timezone information is mandatory for the scheduled "+what)
	case !at.After(now):
		return at, refuse(http.StatusUnprocessableEntity, "Cannot schedule "+what+" in the past")
	}
	return at, nil
}
