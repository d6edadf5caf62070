package postgres

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// fatalLine returns the last FATAL or PANIC line, with its detail and hint, and
// the complaints right before it: of a taken port or a wrong line of
// pg_hba.conf the FATAL line alone only says that there was one.
func fatalLine(text string) string {
	lines := strings.Split(text, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if !strings.Contains(lines[i], "FATAL:") && !strings.Contains(lines[i], "PANIC:") {
			continue
		}
		out := strings.Join(append(complaints(lines[:i]), bare(lines[i])), "; ")
		for _, l := range lines[i+1 : min(i+3, len(lines))] {
			if strings.Contains(l, "DETAIL:") || strings.Contains(l, "HINT:") {
				out += "; " + bare(l)
			}
		}
		return out
	}
	return ""
}

// complaints are the last of the lines, as far as they are about what is wrong.
func complaints(lines []string) []string {
	from := len(lines)
	for from > 0 && len(lines)-from < 6 {
		_, message, ok := strings.Cut(lines[from-1], ":  ")
		if !ok || !complains(lines[from-1], message) {
			break
		}
		from--
	}
	var out []string
	for _, l := range lines[from:] {
		out = append(out, bare(l))
	}
	return out
}

func complains(line, message string) bool {
	for _, level := range []string{"DETAIL:", "HINT:", "CONTEXT:", "WARNING:", "ERROR:"} {
		if strings.Contains(line, level) {
			return true
		}
	}
	for _, word := range []string{"could not", "invalid", "unrecognized", "syntax error", "missing", "outside the valid range", "requires", "cannot", "too long"} {
		if strings.Contains(message, word) {
			return true
		}
	}
	return false
}

// collectorLog is where the logging collector writes; the server says so in
// current_logfiles.
func (s *Server) collectorLog() string {
	text, err := os.ReadFile(s.dataPath("current_logfiles"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "stderr "); ok {
			if !filepath.IsAbs(path) {
				path = s.dataPath(path)
			}
			return path
		}
	}
	return ""
}

// tail reads the end of a file from offset on, at most 64 kB.
func tail(path string, offset int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return ""
	}
	offset = max(offset, st.Size()-64<<10)
	if offset > st.Size() {
		offset = 0
	}
	buf := make([]byte, st.Size()-offset)
	n, _ := f.ReadAt(buf, offset)
	return string(buf[:n])
}

// receiverWords are in what a WAL receiver dies of.
var receiverWords = []string{"connect to the primary", "WAL stream", "primary server", "replication slot", "system identifier differs", "timeline"}

// whyNotStreaming finds why a standby gets no WAL although its receiver tries:
// the server shows it nowhere but in its log. One failure is no trouble yet (the
// upstream may be restarting), so it must have been tried again in vain.
func (s *Server) whyNotStreaming() string {
	s.mu.Lock()
	offset := s.logStart
	s.mu.Unlock()
	lines := strings.Split(tail(s.opt.ServerLog, offset)+tail(s.collectorLog(), 0), "\n")
	last := ""
	for i := len(lines) - 1; i >= 0; i-- {
		said := bare(lines[i])
		switch {
		case last == "" && strings.Contains(said, "started streaming WAL"):
			return "" // what was before is over
		case !receiverDied(said):
		case last == "":
			last = said
		case said == last:
			return s.advised(last)
		}
	}
	return ""
}

func receiverDied(said string) bool {
	return strings.HasPrefix(said, "FATAL:") && !strings.Contains(said, "administrator command") &&
		slices.ContainsFunc(receiverWords, func(w string) bool { return strings.Contains(said, w) })
}
