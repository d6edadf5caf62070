package walfile

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/matriarch-ha/matriarch/wal"
)

const testSeg = 1 << 20

// writer lays records out the way the server does.
type writer struct {
	buf  []byte // one segment after the other, from LSN 0
	pos  int
	prev wal.LSN
	tl   wal.Timeline
}

func (w *writer) put(b []byte, rest int) int {
	if w.pos%pageSize == 0 {
		w.header(rest)
	}
	n := min(len(b), pageSize-w.pos%pageSize)
	copy(w.buf[w.pos:], b[:n])
	w.pos += n
	return n
}

func (w *writer) header(rest int) {
	p := w.buf[w.pos:]
	binary.LittleEndian.PutUint16(p, 0xD110)
	binary.LittleEndian.PutUint32(p[4:], uint32(w.tl))
	binary.LittleEndian.PutUint64(p[8:], uint64(w.pos))
	binary.LittleEndian.PutUint32(p[16:], uint32(rest))
	flags, size := uint16(0), shortHeader
	if rest > 0 {
		flags |= flagContRecord
	}
	if w.pos%testSeg == 0 {
		flags, size = flags|flagLongHeader, longHeader
		binary.LittleEndian.PutUint32(p[32:], testSeg)
	}
	binary.LittleEndian.PutUint16(p[2:], flags)
	w.pos += size
}

func (w *writer) record(body int, rmgr, info byte) Record {
	if w.pos%pageSize == 0 {
		w.header(0)
	}
	rec := make([]byte, recordHeader+body)
	for i := recordHeader; i < len(rec); i++ {
		rec[i] = byte(i)
	}
	binary.LittleEndian.PutUint32(rec, uint32(len(rec)))
	binary.LittleEndian.PutUint64(rec[8:], uint64(w.prev))
	rec[16], rec[17] = info, rmgr
	crc := crc32.Update(crc32.Update(0, castagnoli, rec[recordHeader:]), castagnoli, rec[:20])
	binary.LittleEndian.PutUint32(rec[20:], crc)
	start := wal.LSN(w.pos)
	for off := 0; off < len(rec); {
		off += w.put(rec[off:], len(rec)-off)
	}
	w.pos = (w.pos + 7) &^ 7
	w.prev = start
	if rmgr == rmXLOG && info == infoSwitch {
		w.pos = (w.pos + testSeg - 1) / testSeg * testSeg
	}
	return Record{Start: start, End: wal.LSN(w.pos), CRC: crc}
}

func (w *writer) save(t testing.TB, dir string, from, to int) {
	t.Helper()
	for seg := from; seg <= to; seg++ {
		name := SegmentName(w.tl, uint64(seg), testSeg)
		if err := os.WriteFile(filepath.Join(dir, name), w.buf[seg*testSeg:(seg+1)*testSeg], 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func newWriter() *writer {
	return &writer{buf: make([]byte, 4*testSeg), pos: testSeg, tl: 1}
}

func TestReaderFindsEveryRecordAndTheEnd(t *testing.T) {
	dir, w := t.TempDir(), newWriter()
	var want []Record
	for i := range 300 {
		want = append(want, w.record(i*17%9000, 10, 0))
	}
	want = append(want, w.record(0, rmXLOG, infoSwitch), w.record(40, 10, 0))
	w.save(t, dir, 1, 3)
	r, err := NewReader(dir, testSeg, 1, nil, testSeg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i, rec := range want {
		got, err := r.Next()
		if err != nil {
			t.Fatalf("record %d at %s: %v", i, rec.Start, err)
		}
		if got.Start != rec.Start || got.End != rec.End || got.CRC != rec.CRC || got.Timeline != 1 {
			t.Fatalf("record %d: %+v, want %+v", i, got, rec)
		}
	}
	if _, err := r.Next(); !errors.Is(err, ErrEnd) {
		t.Errorf("after the last record: %v", err)
	}
}

func TestEndStopsAtDamageAndOldBytes(t *testing.T) {
	dir, w := t.TempDir(), newWriter()
	a := w.record(100, 10, 0)
	b := w.record(20000, 10, 0) // crosses pages
	w.record(50, 10, 0)
	w.buf[int(b.Start)+recordHeader+9000] ^= 1
	w.save(t, dir, 1, 1)
	r, _ := NewReader(dir, testSeg, 1, nil, testSeg)
	defer r.Close()
	p, err := End(t.Context(), r)
	if err != nil || p.LSN != a.End || p.Timeline != 1 {
		t.Errorf("end %s, %v; want %s", p, err, a.End)
	}
}

// A promotion goes on in the middle of a page that began on the parent.
func TestTimelineSwitchInsideAPage(t *testing.T) {
	dir, w := t.TempDir(), newWriter()
	w.record(100, 10, 0)
	sw := wal.LSN(w.pos)
	parent := *w
	parent.buf = append([]byte(nil), w.buf...)
	parent.record(64, 10, 0)
	parent.save(t, dir, 1, 1)
	w.tl = 2
	w.record(8, rmXLOG, infoFPW)
	first := w.record(24, rmXLOG, 0x90)
	w.save(t, dir, 1, 1)
	h := wal.History{{Timeline: 1, LSN: sw}}

	r, _ := NewReader(dir, testSeg, 2, h, sw)
	crc, err := FirstCRC(r)
	r.Close()
	if err != nil || crc != first.CRC {
		t.Errorf("first checksum %x, %v; want %x", crc, err, first.CRC)
	}
	r, _ = NewReader(dir, testSeg, 2, h, testSeg)
	p, err := End(t.Context(), r)
	r.Close()
	if err != nil || p != (wal.Position{Timeline: 2, LSN: first.End}) {
		t.Errorf("end %s, %v", p, err)
	}
	// Without the child's file the line ends with what the parent has.
	if err := os.Remove(filepath.Join(dir, SegmentName(2, 1, testSeg))); err != nil {
		t.Fatal(err)
	}
	r, _ = NewReader(dir, testSeg, 2, h, testSeg)
	p, err = End(t.Context(), r)
	r.Close()
	if err != nil || p.Timeline != 1 {
		t.Errorf("end %s, %v; want one on timeline 1", p, err)
	}
}

func TestHistories(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"00000002.history": "1\t0/100\tx\n", "00000003.history": Placeholder, "0000000A.history": "bad", "x.history": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := Timelines(dir)
	if err != nil || len(all) != 3 || all[2] != 10 {
		t.Errorf("%v, %v", all, err)
	}
	if _, placeholder, err := ReadHistory(dir, 3); !placeholder || err != nil {
		t.Error("a placeholder was not seen as one")
	}
	if h, placeholder, err := ReadHistory(dir, 2); len(h) != 1 || placeholder || err != nil {
		t.Errorf("%v %v %v", h, placeholder, err)
	}
	if _, _, err := ReadHistory(dir, 10); err == nil {
		t.Error("a bad history was accepted")
	}
}

// Whatever is in a segment, reading ends, and positions only grow.
func FuzzReader(f *testing.F) {
	w := newWriter()
	w.record(100, 10, 0)
	w.record(9000, 10, 0)
	f.Add(append([]byte(nil), w.buf[testSeg:testSeg+3*pageSize]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		seg := make([]byte, testSeg)
		copy(seg, b)
		if err := os.WriteFile(filepath.Join(dir, SegmentName(1, 1, testSeg)), seg, 0o600); err != nil {
			t.Fatal(err)
		}
		r, _ := NewReader(dir, testSeg, 1, nil, testSeg)
		defer r.Close()
		for last := wal.LSN(0); ; {
			rec, err := r.Next()
			if err != nil {
				return
			}
			if rec.End <= last || rec.Start < last {
				t.Fatalf("record %+v after %s", rec, last)
			}
			last = rec.End
		}
	})
}

func FuzzParseSegment(f *testing.F) {
	f.Add("000000010000000000000003")
	f.Fuzz(func(t *testing.T, name string) {
		if s, ok := ParseSegment(name, 16<<20); ok && s.Timeline == 0 {
			t.Error("a segment on timeline 0")
		}
	})
}
