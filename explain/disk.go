package explain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/journal"
)

// FromDisk is evidence from the directories of journals alone, where nobody can be
// asked.
func FromDisk(p Plan, now time.Time) Evidence {
	ev := Evidence{Format: EvidenceFormat, Scope: p.Scope, Gathered: now.UTC()}
	limit := p.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	for _, dir := range p.Journals {
		ev.Sources = withJournal(ev.Sources, dir, limit)
	}
	for _, a := range absent(ev.Sources) {
		ev.Sources = append(ev.Sources, Source{Name: a.Name, Kind: KindMember, Address: a.Base, Missing: "it was not asked"})
	}
	return ev
}

// withJournal adds the journal in a directory, given as DIR or NAME=DIR. A member
// that could not be asked gets its records from there; one that could has more
// in its own answer.
func withJournal(sources []Source, arg string, limit int) []Source {
	name, dir, named := strings.Cut(arg, "=")
	if !named {
		name, dir = "", arg
	}
	records, err := journal.ReadDir(dir, limit)
	records = slices.DeleteFunc(records, func(r journal.Record) bool { return !sane(r) })
	if name == "" && len(records) > 0 {
		name = records[len(records)-1].Member
	}
	if name == "" {
		name = filepath.Base(dir)
	}
	at := slices.IndexFunc(sources, func(s Source) bool { return s.Name == name && s.Kind == KindMember })
	if at < 0 {
		sources = append(sources, Source{Name: name, Kind: KindMember, Address: dir})
		at = len(sources) - 1
	}
	s := &sources[at]
	switch {
	case err != nil && len(s.Records) == 0:
		s.Missing = err.Error()
	case err != nil:
		s.Incomplete = err.Error()
	case len(s.Records) > 0:
		s.Incomplete = fmt.Sprintf("the files in %s were not needed", dir)
	default:
		s.Records, s.Incomplete = records, "read from the files in "+dir
	}
	return sources
}

// Brief tells in a few words why a source did not answer.
func Brief(err error) string {
	var asked *client.Error
	if !errors.As(err, &asked) {
		return err.Error()
	}
	var no syscall.Errno
	var name *net.DNSError
	why := asked.Err.Error()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		why = "no answer in time"
	case errors.As(err, &no):
		why = no.Error()
	case errors.As(err, &name):
		why = name.Err
	}
	return asked.Op + ": " + why
}
