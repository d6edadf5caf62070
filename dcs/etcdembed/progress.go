package etcdembed

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"sync"
)

// status is the process's account of itself, kept equal to the run file.
type status struct {
	mu  sync.Mutex
	now State
}

func (s *server) begin() {
	pid := os.Getpid()
	started, _ := startTime(pid)
	keeper := s.cfg.Keeper
	if keeper == "" {
		keeper = KeptOutside
	}
	s.update(func(st *State) {
		*st = State{PID: pid, StartTime: started, BootID: bootID(), Keeper: keeper, Name: s.cfg.Name,
			Client: s.cfg.ClientURL(), Settings: s.cfg.digest(), Phase: Starting,
			Message: "starting", Of: len(s.cfg.Members)}
	})
}

// end leaves word of a failure; a process that was told to end leaves nothing.
func (s *server) end(err error) {
	if err == nil {
		forget(s.cfg)
		return
	}
	s.update(func(st *State) { st.Phase, st.Message = Failed, err.Error() })
}

// update changes the account, and tells it where it really changed. The file is
// a help for finding the process, so failing to write it does not end a vote.
func (s *server) update(change func(*State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.now
	change(&s.now)
	if s.now == before {
		return
	}
	if err := writeJSON(s.cfg.beside(".run"), s.now, false); err != nil && s.cfg.Log != nil {
		s.cfg.Log.Write([]byte("the run file cannot be written: " + err.Error() + "\n"))
	}
	if s.tell != nil {
		s.tell(s.now)
	}
}

// digest tells whether a running process was started with these settings.
func (c Config) digest() string {
	c.HasData, c.Keeper = false, ""
	b, _ := json.Marshal(c) // strings and booleans only: it cannot fail
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}
