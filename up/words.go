package up

import (
	"fmt"
	"strings"
)

// taskWords say what a member's long work is; what is not listed is short.
func taskWords(task string) string {
	switch task {
	case "bootstrap":
		return "making the database"
	case "clone":
		return "copying data"
	case "rewind":
		return "rewinding"
	case "start-primary", "start-replica":
		return "starting the server"
	case "promote":
		return "becoming the primary"
	case "stop":
		return "stopping the server"
	}
	return ""
}

// words are a member's condition in a few words. They change only when the
// condition does; numbers that run are in progress. steady is false for
// conditions that are told only when they last: most pass in a moment.
func words(s sight, before string) (text string, steady bool) {
	if !s.ok {
		if before == "" || before == starting {
			return starting, false
		}
		return "does not answer", false
	}
	if m := s.doc.Matriarch; m != nil && !s.streams() {
		if t := taskWords(m.Task); t != "" {
			return t, true
		}
	}
	switch {
	case s.leads():
		return "leads" + timeline(s), true
	case s.streams():
		return "streams from the leader", true
	case s.doc.State == "running" && s.doc.Role == "primary":
		return "is primary, without the lease", false
	case s.doc.State == "running":
		return "runs, does not stream yet", false
	case s.doc.State == "stopped" && (before == "" || before == starting):
		return starting, false // not yet rather than no longer
	}
	return s.doc.State, false
}

const starting = "starting"

func timeline(s sight) string {
	if s.doc.Timeline == nil {
		return ""
	}
	return fmt.Sprintf(" on timeline %d", *s.doc.Timeline)
}

// progress is words with the numbers that run.
func progress(s sight, words string) string {
	if s.ok && s.doc.Matriarch != nil && s.doc.Matriarch.Progress != "" && taskWords(s.doc.Matriarch.Task) != "" {
		return words + " (" + s.doc.Matriarch.Progress + ")"
	}
	return words
}

// uri is a libpq connection string. The password is in the file it names.
func uri(port int, passFile string) string {
	return fmt.Sprintf("postgresql://postgres@%s/postgres?passfile=%s", at(port), escape(passFile))
}

// escape writes a path so that libpq and a shell both take it as it is.
func escape(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if c == '/' || c == '-' || c == '_' || c == '.' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
