package logging

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/matriarch-ha/matriarch/config"
)

// buffer is standard error for a test.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// parsed reads the section log of a configuration file.
func parsed(t *testing.T, yaml string) config.Log {
	t.Helper()
	path := t.TempDir() + "/member.yml"
	if err := os.WriteFile(path, []byte("scope: x\nname: n\netcd3: {hosts: ['h:1']}\n"+yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	f, _, err := config.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f.Log
}

// logged is what f logs, as a whole.
func logged(t *testing.T, c config.Log, f func(*slog.Logger, *Logs)) string {
	t.Helper()
	var out buffer
	l := Open(&out, c)
	f(l.Logger(), l)
	finish(t, l)
	return out.String()
}

func finish(t *testing.T, l *Logs) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Fatalf("the log does not end: %v", err)
	}
}

func TestDefaultLine(t *testing.T) {
	out := logged(t, parsed(t, ""), func(l *slog.Logger, _ *Logs) {
		l.With("member", "n1").WithGroup("a").Warn("two words", "took", 1234567*time.Microsecond, "error", errors.New("no: way"), "none", "", slog.Group("g", "n", 1))
	})
	at, rest, _ := strings.Cut(out, " WARNING ")
	if _, err := time.Parse("2006-01-02 15:04:05.000", at); err != nil {
		t.Error(err)
	}
	if want := `two words member=n1 a.took=1.235s a.error="no: way" a.none="" a.g.n=1` + "\n"; rest != want {
		t.Errorf("got %q, want %q", rest, want)
	}
}

func TestFormatOfTheReference(t *testing.T) {
	out := logged(t, parsed(t, `log:
  format: '%(asctime)s|%(levelname)-8s|%(levelno)04d|%(name)s|%(module)s|%(funcName)s|%(process)d|%(threadName)s|%(nonsense)s|%(lineno)x|%(msecs)03d|%(message)s%%'
  dateformat: '%Y'
`), func(l *slog.Logger, _ *Logs) { l.Error("what", "why", "that") })
	f := strings.Split(out, "|")
	if len(f) != 12 {
		t.Fatalf("%q", out)
	}
	if f[0] != fmt.Sprint(time.Now().Year()) || len(f[10]) != 3 || f[9] == "" {
		t.Errorf("date %q, msecs %q, line %q", f[0], f[10], f[9])
	}
	f[0], f[9], f[10] = "", "", ""
	want := fmt.Sprintf("|ERROR   |0040|logging|logging_test|TestFormatOfTheReference.func1|%d|MainThread||||what why=that%%\n", os.Getpid())
	if got := strings.Join(f, "|"); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestJSON(t *testing.T) {
	out := logged(t, parsed(t, `log:
  type: json
  format: [message, {levelname: level}, module]
  static_fields: {app: patroni, level: mine}
`), func(l *slog.Logger, _ *Logs) {
		l.Info("a\n\"b\"", "n", 3, "ok", true, "took", time.Second, "message", "taken", "secret", config.Secret("hidden"))
	})
	want := `{"message":"a\n\"b\"","level":"INFO","module":"logging_test","n":3,"ok":true,"took":"1s","message_":"taken","secret":"***","app":"patroni","level_":"mine"}` + "\n"
	if out != want {
		t.Errorf("got  %s\nwant %s", out, want)
	}
	out = logged(t, parsed(t, "log: {type: json}"), func(l *slog.Logger, _ *Logs) { l.Warn("x", "error", errors.New("e")) })
	var o map[string]string
	if err := json.Unmarshal([]byte(out), &o); err != nil || o["levelname"] != "WARNING" || o["message"] != "x" || o["error"] != "e" || o["asctime"] == "" {
		t.Errorf("%s: %v", out, err)
	}
}

func TestLevels(t *testing.T) {
	say := func(l *slog.Logger, _ *Logs) {
		l.Debug("d")
		l.Info("i")
		l.Warn("w")
		l.Error("e")
	}
	for _, c := range []struct{ yaml, want string }{
		{"", "iwe"},
		{"log: {level: DEBUG}", "diwe"},
		{"log: {level: WARNING}", "we"},
		{"log: {level: CRITICAL}", "e"},
		{"log: {level: ERROR, loggers: {matriarch.logging: DEBUG}}", "diwe"},
		{"log: {level: DEBUG, loggers: {logging: WARNING, postgres: INFO}}", "we"},
		{"log: {level: ERROR, loggers: {postgres: DEBUG}}", "e"},
		{"log: {loggers: {logging/none: ERROR}}", "iwe"},
	} {
		l := parsed(t, c.yaml)
		l.Format = []config.LogPart{{Field: "message", Verb: "s"}}
		if got := strings.ReplaceAll(logged(t, l, say), "\n", ""); got != c.want {
			t.Errorf("%s: %s, want %s", c.yaml, got, c.want)
		}
	}
}

func TestOneRecordIsOneLine(t *testing.T) {
	evil := "x\n2026-01-01 00:00:00.000 ERROR   all is lost\r\n\x1b[2J\x9b \u2028"
	for _, yaml := range []string{"", "log: {type: json}", "log: {format: '%(message)s'}"} {
		out := logged(t, parsed(t, yaml), func(l *slog.Logger, _ *Logs) { l.Info(evil, "member", evil) })
		if strings.Count(out, "\n") != 1 || strings.ContainsAny(out, "\x1b\r") || !utf8.ValidString(out) {
			t.Errorf("%s: %q", yaml, out)
		}
	}
	long := strings.Repeat("ä", 1<<20)
	if out := logged(t, parsed(t, ""), func(l *slog.Logger, _ *Logs) { l.Info(long, "v", long) }); len(out) > 3*longest || !strings.Contains(out, "ä…") {
		t.Errorf("%d bytes for one record", len(out))
	}
}

// stuck is a terminal that nobody reads.
type stuck struct {
	buffer
	entered chan struct{}
	free    chan struct{}
	once    sync.Once
}

func (s *stuck) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.entered) })
	<-s.free
	return s.buffer.Write(p)
}

func TestAStuckTerminalHoldsNobodyUp(t *testing.T) {
	c := parsed(t, "log: {max_queue_size: 10}")
	out := &stuck{entered: make(chan struct{}), free: make(chan struct{})}
	l := Open(out, c)
	log := l.Logger()
	log.Info("first")
	<-out.entered // and from now on nothing is written
	for range 99 {
		log.Info("more")
	}
	c.Level = "error"
	l.Reconfigure(c)
	log.Info("not any more")
	l.Heartbeat("nor this")
	if got := l.Stats(); got != (Stats{Queued: 10, Lost: 90}) {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("closing a stuck log: %v", err)
	}
	close(out.free)
	finish(t, l)
	text := out.String()
	if !strings.Contains(text, "lost: they came faster than they could be written count=90 total=90") || strings.Count(text, "\n") != 11 {
		t.Errorf("%s", text)
	}
}

func TestReconfigureWhileInUse(t *testing.T) {
	dir := t.TempDir()
	var out buffer
	l := Open(&out, parsed(t, ""))
	log := l.Logger().With("member", "n1")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				log.Info("hello")
			}
		})
	}
	other := parsed(t, "log: {type: json, dir: "+dir+"}")
	l.Reconfigure(other)
	wg.Wait()
	log.Info("last")
	finish(t, l)
	b, err := os.ReadFile(dir + "/" + FileName)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String()+string(b), "hello"); n != 200 {
		t.Errorf("%d of 200 records were written", n)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, `"message":"last","member":"n1"`) {
		t.Errorf("the last line in the new place is %s", last)
	}
}

func TestHeartbeats(t *testing.T) {
	say := func(_ *slog.Logger, l *Logs) {
		l.Heartbeat("no action. I am (n1), the leader with the lock")
		l.Heartbeat("no action. I am (n1), the leader with the lock")
		l.Heartbeat("other")
	}
	for _, c := range []struct {
		yaml string
		want int
	}{
		{"", 0},
		{"matriarch: {log_heartbeat: true}", 3},
		{"matriarch: {log_heartbeat: true}\nlog: {deduplicate_heartbeat_logs: true}", 2},
		{"matriarch: {log_heartbeat: true}\nlog: {level: WARNING}", 0},
	} {
		out := logged(t, parsed(t, c.yaml), say)
		if strings.Count(out, "\n") != c.want {
			t.Errorf("%s: %s", c.yaml, out)
		}
	}
}

// TestAReaderThatIsGone logs to a standard error that is a pipe without a
// reader: the program must go on.
func TestAReaderThatIsGone(t *testing.T) {
	if os.Getenv("LOGGING_TEST_CHILD") != "" {
		l := Open(os.Stderr, config.Log{QueueSize: 10})
		l.Logger().Info("to nobody")
		finish(t, l)
		fmt.Println("went on")
		return
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestAReaderThatIsGone$")
	cmd.Env = append(os.Environ(), "LOGGING_TEST_CHILD=1")
	cmd.Stderr = w
	if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), "went on") {
		t.Errorf("the program ended: %v %s", err, out)
	}
}
