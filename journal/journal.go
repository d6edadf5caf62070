package journal

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Options say where and how much to keep. Zero fields take the defaults.
type Options struct {
	// Dir is the directory of the files, made with mode 0700 if missing; empty
	// keeps the journal in memory only.
	Dir string
	// RingSize is how many records stay in memory (default 256).
	RingSize int
	// FileBytes is the size at which a new file begins (default 8 MiB).
	FileBytes int64
	// Files is how many files are kept (default 8).
	Files int
	// Log tells of files that cannot be written; nil is silent.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.RingSize <= 0 {
		o.RingSize = 256
	}
	if o.FileBytes <= 0 {
		o.FileBytes = 8 << 20
	}
	if o.Files <= 0 {
		o.Files = 8
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// queueLength bounds the lines that wait for the disk.
const queueLength = 256

// Journal is one member's journal. All methods may be called from several
// goroutines.
type Journal struct {
	opts  Options
	lines chan line

	mu      sync.Mutex
	seq     uint64
	ring    []Record // oldest first, at most RingSize
	subs    map[int]chan Record
	nextSub int
	dropped uint64
}

// line is an encoded record on its way to the disk.
type line struct {
	seq  uint64
	text []byte
}

// Open reads the newest records back and returns a journal that continues their
// numbering. Lines that cannot be read (a crash leaves the last one truncated)
// are skipped. Nothing is written until Run.
func Open(opts Options) (*Journal, error) {
	j := &Journal{opts: opts.withDefaults(), lines: make(chan line, queueLength), subs: map[int]chan Record{}}
	if j.opts.Dir == "" {
		return j, nil
	}
	if err := makeDir(j.opts.Dir); err != nil {
		return nil, err
	}
	newest, err := readNewest(j.opts.Dir, j.opts.RingSize, 0)
	if err != nil {
		return nil, err
	}
	j.ring = newest
	if n := len(newest); n > 0 {
		j.seq = newest[n-1].Seq
	}
	return j, nil
}

// Append numbers the record, keeps it, hands it to subscribers and queues it for
// the disk. It never waits. It returns the record's number.
func (j *Journal) Append(r Record) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	r.Seq = j.seq
	if len(j.ring) >= j.opts.RingSize {
		copy(j.ring, j.ring[1:])
		j.ring = j.ring[:len(j.ring)-1]
	}
	j.ring = append(j.ring, r)
	for _, c := range j.subs {
		select {
		case c <- r:
		default: // a slow subscriber sees a gap in Seq
		}
	}
	j.queue(r)
	return r.Seq
}

// queue hands a record to Run, or counts it as dropped.
func (j *Journal) queue(r Record) {
	if j.opts.Dir == "" {
		return
	}
	text, err := json.Marshal(r)
	if err == nil {
		select {
		case j.lines <- line{seq: r.Seq, text: append(text, '\n')}:
			return
		default:
		}
	}
	j.dropped++
}

// Dropped counts the records that never reached the disk.
func (j *Journal) Dropped() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.dropped
}

// Subscribe returns a channel of the records appended from now on. A subscriber
// that does not keep up with its buffer misses records. stop ends it and closes
// the channel.
func (j *Journal) Subscribe(buffer int) (records <-chan Record, stop func()) {
	c := make(chan Record, max(1, buffer))
	j.mu.Lock()
	defer j.mu.Unlock()
	id := j.nextSub
	j.nextSub++
	j.subs[id] = c
	return c, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		if _, ok := j.subs[id]; ok {
			delete(j.subs, id)
			close(c)
		}
	}
}

// Query selects records. With neither After nor Since the newest are meant.
type Query struct {
	After uint64    // only records with a greater Seq
	Since time.Time // only records not older than this
	Limit int       // at most so many; 0 means 100
}

func (q Query) matches(r Record) bool {
	return r.Seq > q.After && (q.Since.IsZero() || !r.Time.Before(q.Since))
}

// Since returns records in ascending order: the first Limit that match, or the
// newest Limit when the query names no beginning. What is older than the ring
// is read from the files.
func (j *Journal) Since(q Query) ([]Record, error) {
	if q.Limit <= 0 {
		q.Limit = 100
	}
	j.mu.Lock()
	ring := append([]Record(nil), j.ring...)
	j.mu.Unlock()

	newest := q.After == 0 && q.Since.IsZero()
	if !covers(ring, q) && j.opts.Dir != "" {
		var old []Record
		var err error
		if newest {
			old, err = readNewest(j.opts.Dir, q.Limit, firstSeq(ring))
		} else {
			old, err = readFirst(j.opts.Dir, firstSeq(ring), q)
		}
		if err != nil {
			return nil, fmt.Errorf("read the journal in %s: %w", j.opts.Dir, err)
		}
		ring = append(old, ring...)
	}
	var out []Record
	for _, r := range ring {
		if q.matches(r) {
			out = append(out, r)
		}
	}
	if len(out) > q.Limit {
		if newest {
			return out[len(out)-q.Limit:], nil
		}
		return out[:q.Limit], nil
	}
	return out, nil
}

// covers reports whether the ring alone answers the query.
func covers(ring []Record, q Query) bool {
	if len(ring) == 0 {
		return false
	}
	first := ring[0]
	switch {
	case first.Seq == 1:
		return true
	case q.After == 0 && q.Since.IsZero():
		return len(ring) >= q.Limit
	case q.After > 0 && q.After+1 >= first.Seq:
		return true
	}
	return !q.Since.IsZero() && first.Time.Before(q.Since.Add(-stepsBack))
}

func firstSeq(ring []Record) uint64 {
	if len(ring) == 0 {
		return 0
	}
	return ring[0].Seq
}
