package guard

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// Abilities says which protections a guard was granted.
type Abilities struct {
	Locked       bool // its memory stays in RAM
	Realtime     bool // runs before every ordinary process of the host
	Nice         bool // highest ordinary priority (when Realtime is false)
	OOMProtected bool // is spared when the host runs out of memory
	// Refused tells what was refused and the remedy; empty when nothing was.
	Refused string
}

// refuse adds to what was refused.
func (a *Abilities) refuse(why string) {
	if a.Refused != "" {
		why += "; " + a.Refused
	}
	a.Refused = why
}

const (
	flagLocked = 1 << iota
	flagRealtime
	flagNice
	flagOOM
)

func (a Abilities) flags() (f uint16) {
	for _, x := range []struct {
		set bool
		bit uint16
	}{{a.Locked, flagLocked}, {a.Realtime, flagRealtime}, {a.Nice, flagNice}, {a.OOMProtected, flagOOM}} {
		if x.set {
			f |= x.bit
		}
	}
	return f
}

func abilities(f uint16, refused string) Abilities {
	return Abilities{f&flagLocked != 0, f&flagRealtime != 0, f&flagNice != 0, f&flagOOM != 0, refused}
}

// heapLimit is when the garbage collector would run after all. A guard
// allocates a few hundred kilobytes per fence and almost nothing otherwise.
const heapLimit = 32 << 20

// harden takes what protection the host grants to this process and thread; raised
// is why the capabilities for it could not be raised, nil when they were.
func harden(raised error) Abilities {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(heapLimit)
	var a Abilities
	var refused []string
	if raised != nil {
		refused = append(refused, raised.Error())
	}
	if err := lockMemory(); err != nil {
		refused = append(refused, "lock memory: "+err.Error()+" (set LimitMEMLOCK=infinity, or grant CAP_IPC_LOCK)")
	} else {
		a.Locked = true
	}
	var err error
	if a.Realtime, a.Nice, err = hurry(); err != nil {
		refused = append(refused, "raise priority: "+err.Error()+" (set LimitNICE=-20, or grant CAP_SYS_NICE)")
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0); err == nil {
		a.OOMProtected = true
	} else {
		refused = append(refused, "oom_score_adj: "+errors.Unwrap(err).Error()+" (set OOMScoreAdjust=-1000)")
	}
	a.Refused = strings.Join(refused, "; ")
	return a
}

// noCore keeps what this process and its helpers hold (a session's handle, the access
// to the store) from being written to a core dump. A limit of one byte is too short
// for a file, and is the one that the kernel heeds where dumps go to a program.
func noCore() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}); err != nil {
		// The hard limit is zero already, which cannot be raised.
		if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
			return fmt.Errorf("guard: forbid core dumps: %w", err)
		}
	}
	return nil
}

// hurry raises the priority of the calling thread as far as it is allowed.
func hurry() (realtime, nice bool, err error) {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Flags: unix.SCHED_FLAG_RESET_ON_FORK, Priority: 1}
	if unix.SchedSetAttr(0, &attr, 0) == nil {
		return true, false, nil
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, -20); err != nil {
		return false, false, err
	}
	return false, true, nil
}

// lockMemory keeps what was or will be touched in RAM. Without MCL_ONFAULT the
// whole address space that the Go runtime reserves would be filled.
//
// Where the limit is finite, a later mapping of the runtime could fail and end
// the process, which is worse than a page fault: nothing is locked then.
func lockMemory() error {
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unlimited); err != nil {
		var have unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &have) != nil || have.Cur != unix.RLIM_INFINITY {
			if !holds(unix.CAP_IPC_LOCK) { // to which the limit does not apply
				return err
			}
		}
	}
	return unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
}
