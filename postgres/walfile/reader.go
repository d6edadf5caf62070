package walfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/matriarch-ha/matriarch/wal"
)

// Sizes and flags of the format.
const (
	pageSize     = 8192
	shortHeader  = 24
	longHeader   = 40
	recordHeader = 24
	maxRecord    = 1 << 30 // larger than any record PostgreSQL writes usefully; bounds memory

	flagContRecord = 0x0001
	flagLongHeader = 0x0002
	flagOverwrite  = 0x0008 // the record cut off before this page was given up

	rmXLOG         = 0
	infoSwitch     = 0x40
	infoParameters = 0x60
	infoFPW        = 0x80
)

// ErrEnd means that no valid record follows: the end of the log.
var ErrEnd = errors.New("end of the valid log")

// Record is one log record's frame.
type Record struct {
	Start    wal.LSN
	End      wal.LSN // where the next may begin; page headers are not skipped
	Timeline wal.Timeline
	CRC      uint32
	Length   uint32
	Xid      uint32
	Rmgr     byte
	Info     byte // with the low four bits masked off
}

// Reader walks the records of one line of descent in a pg_wal directory.
type Reader struct {
	dir      string
	segSize  int64
	timeline wal.Timeline
	history  wal.History
	next     wal.LSN
	prev     wal.LSN // start of the last record; zero: not checked

	seg     uint64
	segTL   wal.Timeline
	file    *os.File
	page    [pageSize]byte
	pageAt  wal.LSN
	hasPage bool
	body    []byte
}

// NewReader prepares to read from the record at (or right after the page header
// at) from, on timeline tl whose ancestors are h.
func NewReader(dir string, segSize int64, tl wal.Timeline, h wal.History, from wal.LSN) (*Reader, error) {
	if segSize < 1<<20 || segSize > 1<<30 || segSize&(segSize-1) != 0 {
		return nil, fmt.Errorf("WAL segment size %d is no power of two from 1 MB to 1 GB", segSize)
	}
	return &Reader{dir: dir, segSize: segSize, timeline: tl, history: h, next: from}, nil
}

// Close releases the open segment.
func (r *Reader) Close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// Next returns the next valid record, or ErrEnd.
func (r *Reader) Next() (Record, error) {
	rec, err := r.read(r.next)
	if err != nil {
		return Record{}, err
	}
	r.prev, r.next = rec.Start, rec.End
	return rec, nil
}

// read reads the record at lsn. A page that overwrites a record cut off by a
// crash is where the log goes on.
func (r *Reader) read(at wal.LSN) (Record, error) {
	for tries := 0; tries < 2; tries++ {
		rec, overwritten, err := r.assemble(at)
		if overwritten == 0 {
			return rec, err
		}
		at = overwritten
	}
	return Record{}, ErrEnd
}

func (r *Reader) assemble(at wal.LSN) (rec Record, overwritten wal.LSN, err error) {
	if at%pageSize == 0 {
		if err := r.load(at); err != nil {
			return rec, 0, err
		}
		at += wal.LSN(r.headerSize(at))
	}
	pos := at
	head, pos, over, err := r.take(pos, 4, 0)
	if err != nil || over != 0 {
		return rec, over, err
	}
	total := binary.LittleEndian.Uint32(head)
	if total < recordHeader || total > maxRecord {
		return rec, 0, ErrEnd
	}
	rec.Start, rec.Timeline, rec.Length = at, r.timelineAt(at), total
	r.body = append(r.body[:0], head...)
	for uint32(len(r.body)) < total {
		part, p, over, err := r.take(pos, total-uint32(len(r.body)), total-uint32(len(r.body)))
		if err != nil || over != 0 {
			return rec, over, err
		}
		r.body, pos = append(r.body, part...), p
	}
	if !r.valid(&rec) {
		return Record{}, 0, ErrEnd
	}
	rec.End = align(pos)
	if rec.Rmgr == rmXLOG && rec.Info == infoSwitch {
		rec.End = (rec.End + wal.LSN(r.segSize) - 1) / wal.LSN(r.segSize) * wal.LSN(r.segSize)
	}
	return rec, 0, nil
}

// valid checks link and checksum and fills the rest of rec.
func (r *Reader) valid(rec *Record) bool {
	b := r.body
	rec.Xid = binary.LittleEndian.Uint32(b[4:])
	prev := wal.LSN(binary.LittleEndian.Uint64(b[8:]))
	rec.Info, rec.Rmgr = b[16]&0xF0, b[17]
	rec.CRC = binary.LittleEndian.Uint32(b[20:])
	if r.prev != 0 && prev != r.prev || prev >= rec.Start {
		return false
	}
	sum := crc32.Update(0, castagnoli, b[recordHeader:])
	return crc32.Update(sum, castagnoli, b[:20]) == rec.CRC
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// take returns up to n bytes at pos that lie in one page, and the position
// after them. rest is how many bytes of the record are missing when pos is at
// the start of a page; the page must say the same.
func (r *Reader) take(pos wal.LSN, n, rest uint32) (b []byte, after, overwritten wal.LSN, err error) {
	if pos%pageSize == 0 {
		if err := r.load(pos); err != nil {
			return nil, 0, 0, err
		}
		flags := binary.LittleEndian.Uint16(r.page[2:])
		if flags&flagOverwrite != 0 {
			return nil, 0, pos, nil
		}
		if flags&flagContRecord == 0 || binary.LittleEndian.Uint32(r.page[16:]) != rest {
			return nil, 0, 0, ErrEnd
		}
		pos += wal.LSN(r.headerSize(pos))
	} else if err := r.load(pos); err != nil {
		return nil, 0, 0, err
	}
	off := int(pos % pageSize)
	if off < r.headerSize(pos) {
		return nil, 0, 0, ErrEnd
	}
	k := min(int(n), pageSize-off)
	return r.page[off : off+k], pos + wal.LSN(k), 0, nil
}

// load makes the page that contains pos the current one.
func (r *Reader) load(pos wal.LSN) error {
	at := pos - pos%pageSize
	if r.hasPage && r.pageAt == at {
		return nil
	}
	r.hasPage = false
	if err := r.open(uint64(at) / uint64(r.segSize)); err != nil {
		return err
	}
	if _, err := r.file.ReadAt(r.page[:], int64(uint64(at)%uint64(r.segSize))); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return ErrEnd
		}
		return err
	}
	if !r.pageValid(at) {
		return ErrEnd
	}
	r.pageAt, r.hasPage = at, true
	return nil
}

// pageValid checks the header: a recycled segment still bears the address that
// it had before.
func (r *Reader) pageValid(at wal.LSN) bool {
	magic := binary.LittleEndian.Uint16(r.page[:])
	flags := binary.LittleEndian.Uint16(r.page[2:])
	first := uint64(at)%uint64(r.segSize) == 0
	if magic>>8 != 0xD1 || (flags&flagLongHeader != 0) != first {
		return false
	}
	if first && int64(binary.LittleEndian.Uint32(r.page[32:])) != r.segSize {
		return false
	}
	tl := r.pageTimeline()
	_, ancestor := r.history.SwitchOf(tl)
	return wal.LSN(binary.LittleEndian.Uint64(r.page[8:])) == at && (tl == r.timeline || ancestor)
}

// timelineAt says on which timeline a record at pos was written: that of the
// open file, unless the file took pos over from an ancestor. The page header
// does not tell, because the page that a promotion happens in keeps its own.
func (r *Reader) timelineAt(pos wal.LSN) wal.Timeline {
	tl := r.timeline
	for i := len(r.history) - 1; i >= 0 && (tl > r.segTL || pos < r.history[i].LSN); i-- {
		tl = r.history[i].Timeline
	}
	return tl
}

func (r *Reader) pageTimeline() wal.Timeline {
	return wal.Timeline(binary.LittleEndian.Uint32(r.page[4:]))
}

func (r *Reader) headerSize(pos wal.LSN) int {
	if (uint64(pos)-uint64(pos)%pageSize)%uint64(r.segSize) == 0 {
		return longHeader
	}
	return shortHeader
}

// open opens the segment on the newest timeline of the line of descent that
// had begun by its end and whose file is there, as PostgreSQL's recovery does.
func (r *Reader) open(seg uint64) error {
	if r.file != nil && r.seg == seg {
		return nil
	}
	r.Close()
	for _, tl := range r.candidates(seg) {
		f, err := os.Open(filepath.Join(r.dir, SegmentName(tl, seg, r.segSize)))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		r.file, r.seg, r.segTL = f, seg, tl
		return nil
	}
	return ErrEnd
}

// candidates lists the timelines that may hold a segment, newest first.
func (r *Reader) candidates(seg uint64) []wal.Timeline {
	out := []wal.Timeline{}
	tl := r.timeline
	for i := len(r.history) - 1; ; i-- {
		begin := wal.LSN(0)
		if i >= 0 {
			begin = r.history[i].LSN
		}
		if uint64(begin)/uint64(r.segSize) <= seg {
			out = append(out, tl)
		}
		if i < 0 {
			return out
		}
		tl = r.history[i].Timeline
	}
}

func align(l wal.LSN) wal.LSN { return (l + 7) &^ 7 }

// SegmentName returns the file name of a segment.
func SegmentName(tl wal.Timeline, seg uint64, segSize int64) string {
	per := uint64(1<<32) / uint64(segSize)
	return fmt.Sprintf("%08X%08X%08X", uint32(tl), seg/per, seg%per)
}
