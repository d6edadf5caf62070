package explain

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/journal"
)

// EvidenceFormat names the form of saved evidence.
const EvidenceFormat = "matriarch-evidence/1"

// maxEvidence bounds what is read back.
const maxEvidence = 512 << 20

// Evidence is all that was collected of a cluster, at one time. A story is a
// function of it and of nothing else.
type Evidence struct {
	Format string `json:"format"`
	Scope  string `json:"scope"`
	// Gathered is when, on the clock of whoever gathered; all corrected times of a
	// story are on that clock.
	Gathered time.Time `json:"gathered"`
	Sources  []Source  `json:"sources"`
	// History is that of the cluster's timelines, as HistoryFrom told it.
	History     []cluster.HistoryLine `json:"history,omitempty"`
	HistoryFrom string                `json:"history_from,omitempty"`
	// Leader holds the leader key now; empty: nobody, or not known (LeaderKnown).
	Leader      string `json:"leader,omitempty"`
	LeaderKnown bool   `json:"leader_known,omitempty"`
	Paused      bool   `json:"paused,omitempty"`
}

// SourceKind says what a source is.
type SourceKind string

// The kinds of sources.
const (
	KindMember     SourceKind = "member"
	KindEntrypoint SourceKind = "entrypoint"
)

// Source is one journal, or the lack of one.
type Source struct {
	Name    string     `json:"name"`
	Kind    SourceKind `json:"kind"`
	Address string     `json:"address,omitempty"` // where it was asked, or the directory
	// Missing says why nothing was got; Incomplete why not all.
	Missing    string `json:"missing,omitempty"`
	Incomplete string `json:"incomplete,omitempty"`
	// Unreadable counts records that could not be understood.
	Unreadable int    `json:"unreadable,omitempty"`
	Clock      Clock  `json:"clock"`
	Now        *Now   `json:"now,omitempty"`
	Records    Ledger `json:"records,omitempty"`
}

// Now is what a member says of itself at the time of gathering.
type Now struct {
	State       string        `json:"state,omitempty"`
	Role        string        `json:"role,omitempty"`
	Timeline    int64         `json:"timeline,omitempty"`
	LSN         string        `json:"lsn,omitempty"`
	Replication string        `json:"replication_state,omitempty"`
	Paused      bool          `json:"paused,omitempty"`
	Unlocked    bool          `json:"cluster_unlocked,omitempty"`
	LeaseLeft   time.Duration `json:"lease_left_ns,omitempty"`
	Guarded     bool          `json:"guarded,omitempty"`
	Eligible    bool          `json:"eligible,omitempty"`
	WhyNot      string        `json:"why_not,omitempty"`
	Task        string        `json:"task,omitempty"`
	// Program is its version; empty for a member of another program.
	Program string `json:"program,omitempty"`
}

// Ledger is a list of records that is read without trust: what is no record is
// left out.
type Ledger []journal.Record

// UnmarshalJSON skips what cannot be understood.
func (l *Ledger) UnmarshalJSON(text []byte) error {
	*l = nil
	var raw []json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	for _, r := range raw {
		if rec, ok := readRecord(r); ok {
			*l = append(*l, rec)
		}
	}
	return nil
}

// readRecord decodes one record, and refuses one whose number or time cannot be.
func readRecord(text []byte) (journal.Record, bool) {
	var r journal.Record
	if err := json.Unmarshal(text, &r); err != nil || !sane(r) {
		return journal.Record{}, false
	}
	return r, true
}

// sane: times far off would not survive arithmetic or printing.
func sane(r journal.Record) bool {
	return r.Seq > 0 && r.Time.Year() >= 2000 && r.Time.Year() < 3000 && instantOf(r) >= 0 && instantOf(r) < 1<<61
}

// instantOf is when a record was made on its host's boot clock; zero: not said.
func instantOf(r journal.Record) boot.Instant {
	switch {
	case r.Turn != nil:
		return r.Turn.Observation.Now
	case r.Event != nil:
		return r.Event.Now
	}
	return 0
}

// Save writes evidence so that Load gives it back.
func (e Evidence) Save(w io.Writer) error {
	e.Format = EvidenceFormat
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(e)
}

// SaveFile writes evidence into a file that only its owner can read, whole or not
// at all; compressed if the name ends with .gz.
func (e Evidence) SaveFile(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".evidence-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // once it has its name, there is nothing to remove
	if strings.HasSuffix(path, ".gz") {
		z := gzip.NewWriter(f)
		err = errors.Join(e.Save(z), z.Close())
	} else {
		err = e.Save(f)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// LoadFile reads what SaveFile wrote.
func LoadFile(path string) (Evidence, error) {
	f, err := os.Open(path)
	if err != nil {
		return Evidence{}, err
	}
	defer f.Close()
	e, err := Load(f)
	if err != nil {
		return e, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}

// Load reads saved evidence, compressed or not.
func Load(r io.Reader) (Evidence, error) {
	var e Evidence
	buffered := bufio.NewReader(r)
	var text io.Reader = buffered
	if magic, _ := buffered.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return e, fmt.Errorf("decompress the evidence: %w", err)
		}
		text = z
	}
	limited := &io.LimitedReader{R: text, N: maxEvidence}
	err := json.NewDecoder(limited).Decode(&e)
	switch {
	case limited.N <= 0:
		return Evidence{}, fmt.Errorf("the evidence is larger than %d bytes", int64(maxEvidence))
	case err != nil:
		return Evidence{}, fmt.Errorf("this is no evidence that --save-evidence wrote: %w", err)
	case e.Format != EvidenceFormat:
		return Evidence{}, fmt.Errorf("the evidence has the format %q, and this program reads %q", e.Format, EvidenceFormat)
	case e.Gathered.Year() < 2000 || e.Gathered.Year() >= 3000:
		return Evidence{}, errors.New("the evidence does not say when it was gathered")
	}
	return e, nil
}
