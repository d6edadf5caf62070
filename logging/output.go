package logging

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"github.com/matriarch-ha/matriarch/config"
)

// FileName is the log's name in log.dir.
const FileName = "patroni.log"

// output is where records go: a file if there is one and it can be written, else
// standard error. Only the writer's goroutine uses it.
type output struct {
	stderr io.Writer
	c      config.Log
	style  *style // of what the output itself has to say
	file   *os.File
	size   int64
	// failing and unrotated: what is wrong was said, once.
	failing, unrotated bool
}

func newOutput(stderr io.Writer, c config.Log) *output {
	o := &output{stderr: stderr}
	o.configure(c)
	return o
}

// configure takes over another destination.
func (o *output) configure(c config.Log) {
	o.close()
	o.c, o.style = c, newStyle(c)
	o.failing, o.unrotated = false, false
}

func (o *output) close() {
	if o.file != nil {
		_ = o.file.Close()
		o.file = nil
	}
}

func (o *output) path() string { return filepath.Join(o.c.Dir, FileName) }

// write writes one record.
func (o *output) write(r []byte) {
	if o.c.Dir == "" {
		o.toStderr(r)
		return
	}
	err := o.toFile(r)
	if err == nil {
		if o.failing {
			o.failing = false
			o.toBoth("the log file can be written again", slog.String("file", o.path()))
		}
		return
	}
	if !o.failing {
		o.failing = true
		o.toStderr(o.style.own(slog.LevelError, "the log file cannot be written; logging here until it can be",
			slog.String("file", o.path()), slog.Any("error", err)))
	}
	o.toStderr(r)
}

// toStderr: there is nowhere to say that standard error cannot be written.
func (o *output) toStderr(r []byte) { _, _ = o.stderr.Write(r) }

func (o *output) toBoth(message string, attrs ...slog.Attr) {
	r := o.style.own(slog.LevelWarn, message, attrs...)
	_ = o.toFile(r)
	o.toStderr(r)
}

// toFile appends the record to the file, all of it or nothing.
func (o *output) toFile(r []byte) error {
	if err := o.open(); err != nil {
		return err
	}
	if o.size > 0 && o.c.FileNum > 0 && o.size+int64(len(r)) > o.c.FileSize {
		if err := o.rotate(); err != nil {
			return err
		}
	}
	n, err := o.file.Write(r)
	if err != nil && n > 0 {
		err = errors.Join(err, o.file.Truncate(o.size))
	}
	if err != nil {
		o.close()
		return err
	}
	o.size += int64(n)
	return nil
}

// open makes sure that the open file is the one of that name: somebody may have
// removed it, or moved it away, or all of the directory.
func (o *output) open() error {
	if o.file != nil {
		there, err := os.Stat(o.path())
		here, err2 := o.file.Stat()
		if err == nil && err2 == nil && os.SameFile(there, here) {
			o.size = here.Size()
			return nil
		}
		o.close()
	}
	if err := os.MkdirAll(o.c.Dir, 0o755); err != nil {
		return err
	}
	mode := os.FileMode(0o666) // less the umask
	if o.c.FileMode != 0 {
		mode = os.FileMode(o.c.FileMode)
	}
	f, err := os.OpenFile(o.path(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, mode)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err == nil && o.c.FileMode != 0 && st.Mode().Perm() != mode {
		err = f.Chmod(mode)
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	o.file, o.size = f, st.Size()
	return nil
}

// rotate moves the files one number up and begins a new one. When that fails the
// file goes on growing: better a long log than none.
func (o *output) rotate() error {
	err := o.moveUp()
	if err != nil {
		if !o.unrotated {
			o.unrotated = true
			o.toStderr(o.style.own(slog.LevelError, "the log file cannot be rotated and grows on",
				slog.String("file", o.path()), slog.Any("error", err)))
		}
		return nil
	}
	o.unrotated = false
	o.close()
	return o.open()
}

// moveUp renames from the highest number that is taken; the file of the last
// number that is kept is overwritten.
func (o *output) moveUp() error {
	name := func(i int) string {
		if i == 0 {
			return o.path()
		}
		return o.path() + "." + strconv.Itoa(i)
	}
	top := 1
	for top < o.c.FileNum {
		if _, err := os.Lstat(name(top)); err != nil {
			break
		}
		top++
	}
	for i := top; i > 0; i-- {
		if err := os.Rename(name(i-1), name(i)); err != nil {
			return err
		}
	}
	return nil
}
