package logging

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/matriarch-ha/matriarch/config"
)

// Logs is where the program's loggers write.
type Logs struct {
	style atomic.Pointer[style]
	queue *queue
	done  chan struct{} // the writer has ended

	mu   sync.Mutex
	next *config.Log // a destination that the writer has not taken over yet
	beat string      // the last heartbeat
}

// Stats is how the log keeps up.
type Stats struct {
	Queued int    // records that wait to be written
	Lost   uint64 // records that found the queue full, since the start
}

// Open starts to log as the configuration asks, with stderr for standard error.
// Close it to have everything written.
func Open(stderr io.Writer, c config.Log) *Logs {
	// Without a handler, writing to a standard error whose reader is gone would
	// end the program. A handler is not inherited by programs that it starts, as
	// ignoring the signal would be.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	l := &Logs{queue: newQueue(c.QueueSize), done: make(chan struct{})}
	l.style.Store(newStyle(c))
	out := newOutput(stderr, c)
	go l.write(out)
	return l
}

// Reconfigure makes all loggers follow another configuration. It waits for
// nothing: records that are in the queue keep their form, and go to the new
// destination.
func (l *Logs) Reconfigure(c config.Log) {
	l.style.Store(newStyle(c))
	l.mu.Lock()
	l.next = &c
	l.mu.Unlock()
	l.queue.setLimit(c.QueueSize)
}

// Logger returns a logger that follows every change.
func (l *Logs) Logger() *slog.Logger { return slog.New(handler{logs: l}) }

// Stats says how the log keeps up.
func (l *Logs) Stats() Stats { return l.queue.stats() }

// Heartbeat logs what a member says of itself once per loop, if the
// configuration asks for such lines; one that was said last is left out if it
// asks for that too.
func (l *Logs) Heartbeat(text string) {
	s := l.style.Load()
	if !s.heartbeat || slog.LevelInfo < s.least {
		return
	}
	l.mu.Lock()
	again := l.beat == text
	l.beat = text
	l.mu.Unlock()
	if again && s.deduplicate {
		return
	}
	var pc [1]uintptr
	runtime.Callers(2, pc[:]) // the caller is who speaks
	_ = handler{logs: l}.Handle(context.Background(), slog.NewRecord(time.Now(), slog.LevelInfo, text, pc[0]))
}

// Close writes what is queued, as long as ctx lasts, and ends. What is logged
// afterwards is lost.
func (l *Logs) Close(ctx context.Context) error {
	l.queue.close()
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write carries records from the queue to their destination until the queue is
// closed and empty.
func (l *Logs) write(out *output) {
	defer close(l.done)
	defer out.close()
	told := uint64(0)
	for {
		records, more := l.queue.take()
		if c := l.takeNext(); c != nil {
			out.configure(*c)
		}
		for _, r := range records {
			out.write(r)
			l.queue.written()
		}
		if lost := l.Stats().Lost; lost > told {
			out.write(l.style.Load().own(slog.LevelWarn, "log records were lost: they came faster than they could be written",
				slog.Uint64("count", lost-told), slog.Uint64("total", lost)))
			told = lost
		}
		if !more {
			return
		}
	}
}

func (l *Logs) takeNext() *config.Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.next
	l.next = nil
	return c
}
