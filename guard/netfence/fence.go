package netfence

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

const (
	setName   = "live"
	chainName = "sent"
	// latest is how late the kernel may have taken an element whose timeout was
	// counted before the call.
	latest = 50 * time.Millisecond
	// coarse is how much earlier than asked an element may run out: the kernel
	// counts in ticks.
	coarse = 20 * time.Millisecond
	// shortest is the shortest life that an element can have; for less there is
	// none, and the port is closed.
	shortest = time.Millisecond
)

// ErrUnlifted is the reason of a failed Raise that left the port to fall silent.
var ErrUnlifted = errors.New("the kernel-timed fence can be neither refreshed nor taken away")

const probeSuffix = "_probe"

// TableName is the name of the table for the server in a data directory on a
// port: several servers of one host do not meet.
func TableName(dataDir string, port uint16) string {
	sum := sha256.Sum256([]byte(dataDir))
	return fmt.Sprintf("%s%x", namePrefix(port), sum[:4])
}

func namePrefix(port uint16) string { return fmt.Sprintf("matriarch_%d_", port) }

// Fence is the kernel-timed fence of one port.
type Fence struct {
	port    uint16
	name    string
	clock   clock.Clock
	renewal *renewal
	able    bool // a fence is wanted and can be raised

	standing bool         // the table is there
	foreign  []string     // tables that close this port for a server that was here before
	lapse    boot.Instant // when its element runs out; 0 when not known
	trouble  error        // why none is, or could be, raised
}

// Open prepares the fence and finds what former guards of this port left. When the kernel or
// the rights of this process do not allow one, Trouble says so. With wanted
// false nothing is ever raised, but what was left can be lifted.
func Open(dataDir string, port uint16, wanted bool, c clock.Clock) *Fence {
	f := &Fence{port: port, name: TableName(dataDir, port), clock: c}
	f.trouble = f.open()
	if f.trouble == nil && wanted {
		f.trouble = f.probe()
		f.able = f.trouble == nil
	}
	return f
}

func (f *Fence) open() error {
	if err := raiseNetAdmin(); err != nil {
		return err
	}
	var err error
	if f.renewal, err = newRenewal(f.name, f.port); err != nil {
		return err
	}
	tables, err := (&nftables.Conn{}).ListTablesOfFamily(nftables.TableFamilyINet)
	if errors.Is(err, unix.EPERM) {
		return ErrNotPermitted // not in the user namespace that owns this network
	}
	if err != nil {
		return fmt.Errorf("list the tables of nftables: %w", err)
	}
	for _, t := range tables {
		switch {
		case t.Name == f.name:
			f.standing = true
		case strings.HasPrefix(t.Name, namePrefix(f.port)) && !strings.HasSuffix(t.Name, probeSuffix):
			if closes(t) {
				f.foreign = append(f.foreign, t.Name)
			}
		}
	}
	return nil
}

// closes reports whether the table of another directory's server closes the port
// now. Its guard lifts a fence within moments of its end, so that one was killed,
// and the port is this server's now. One that has not lapsed may be in use, by a
// server at another address of this host.
func closes(t *nftables.Table) bool {
	live, err := (&nftables.Conn{}).GetSetElements(&nftables.Set{Table: t, Name: setName})
	return err == nil && len(live) == 0 // else it is none of ours, or is gone
}

// probe tries all that a fence needs, without an effect.
func (f *Fence) probe() error {
	s, err := openSockets()
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.probe(); err != nil {
		return err
	}
	c := &nftables.Conn{}
	t := f.build(c, f.name+probeSuffix, unix.NFT_TABLE_F_DORMANT, time.Second)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("try a table of nftables: %w", err)
	}
	c.DelTable(t)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove the table that was tried: %w", err)
	}
	return nil
}

// Able reports whether a fence is wanted and can be raised.
func (f *Fence) Able() bool { return f.able }

// Barred reports whether a table stands that this Fence has not raised, or could
// not lift: the port may be silent.
func (f *Fence) Barred() bool { return len(f.foreign) > 0 || f.standing && f.lapsed() }

// lapsed: the port may have been closed; also when that is not known.
func (f *Fence) lapsed() bool { return f.clock.Now() >= f.lapse.Add(-coarse) }

// Trouble is why no fence is or could be raised; nil when all is well.
func (f *Fence) Trouble() error { return f.trouble }

// build adds the whole table to a batch, replacing one that exists.
func (f *Fence) build(c *nftables.Conn, name string, flags uint32, left time.Duration) *nftables.Table {
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: name, Flags: flags}
	c.AddTable(t) // so that there is one to delete
	c.DelTable(t)
	c.AddTable(t)
	set := &nftables.Set{Table: t, Name: setName, KeyType: nftables.TypeInetService, HasTimeout: true}
	var live []nftables.SetElement
	if left >= shortest {
		live = []nftables.SetElement{{Key: portKey(f.port), Timeout: left}}
	}
	_ = c.AddSet(set, live) // an error is kept in the connection and returned by Flush
	chain := c.AddChain(&nftables.Chain{Table: t, Name: chainName, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityRaw})
	c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		// Source port.
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: portKey(f.port)},
		&expr.Lookup{SourceRegister: 1, SetName: setName, Invert: true},
		// Flags: anything but RST.
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{0x04}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0}},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	return t
}

func portKey(port uint16) []byte { return binary.BigEndian.AppendUint16(nil, port) }

// Raise lets the port send until hard, and no longer.
//
// When the element cannot be refreshed (somebody flushed the rules, the kernel
// has no memory) the whole table is made anew; when that fails too it is taken
// away, and Trouble tells. The lease is then extended all the same: the guard
// process still kills at the deadline, as it does on every host without the
// capability, and giving up a healthy primary for the loss of its second bar
// would trade a rare risk for a certain outage. Who wants it the other way asks
// for "required". Only when the old element can neither be replaced nor removed
// is the answer false: the port will fall silent when it runs out.
//
// A deadline that has come closes the port at once. What stands then stays where that
// cannot be done: nothing is extended, and it closes the port later.
func (f *Fence) Raise(hard boot.Instant) bool {
	if f.standing && hard <= f.clock.Now() {
		if !f.lapsed() && f.refresh(hard) != nil {
			f.trouble = f.rebuild(hard)
		}
		return f.trouble == nil
	}
	if f.able && f.standing && len(f.foreign) == 0 && !f.lapsed() && f.refresh(hard) == nil {
		f.trouble = nil
		return true
	}
	if f.standing || len(f.foreign) > 0 {
		// What a dead server left unsent while the fence was closed must not be sent
		// when it is open.
		if err := purge(f.port, true); err != nil {
			f.trouble = fmt.Errorf("%w: %w", ErrUnlifted, err)
			return false
		}
	}
	if err := f.removeForeign(); err != nil {
		f.trouble = fmt.Errorf("%w: %w", ErrUnlifted, err)
		return false
	}
	if f.able {
		if f.trouble = f.rebuild(hard); f.trouble == nil {
			return true
		}
	}
	if !f.standing {
		return true
	}
	if err := f.remove(); err != nil {
		f.trouble = errors.Join(ErrUnlifted, f.trouble, err)
		return false
	}
	return true
}

// refresh replaces the element. The time that is left is read right before the
// call; should this thread have stood still in between, the kernel has counted
// from too late, so look again.
func (f *Fence) refresh(hard boot.Instant) error {
	for {
		now := f.clock.Now()
		left := hard.Sub(now)
		var err error
		if left < shortest {
			err = f.renewal.empty()
		} else {
			err = f.renewal.renew(left)
		}
		if err != nil {
			return err
		}
		f.lapse = hard
		if left < shortest || f.clock.Now().Sub(now) < latest {
			return nil
		}
	}
}

// rebuild makes the table anew, whatever is there.
func (f *Fence) rebuild(hard boot.Instant) error {
	c := &nftables.Conn{}
	f.build(c, f.name, 0, hard.Sub(f.clock.Now()))
	if err := c.Flush(); err != nil {
		return fmt.Errorf("make the table %s of nftables: %w", f.name, err)
	}
	f.standing, f.lapse = true, hard
	return f.refresh(hard) // with the time that is left now
}

// Lift takes the fence away: the server is dead, or is no writer. A fence that
// may have been closed is lifted only after the sockets that could still send
// what it held back are destroyed.
func (f *Fence) Lift() error {
	if !f.standing && len(f.foreign) == 0 {
		return nil
	}
	if f.Barred() {
		if err := purge(f.port, false); err != nil {
			return fmt.Errorf("the fence of port %d stays: %w", f.port, err)
		}
	}
	if err := f.removeForeign(); err != nil {
		return err
	}
	return f.remove()
}

func (f *Fence) remove() error {
	if err := deleteTable(f.name); err != nil {
		return err
	}
	f.standing, f.lapse = false, 0
	return nil
}

func (f *Fence) removeForeign() error {
	for len(f.foreign) > 0 {
		if err := deleteTable(f.foreign[0]); err != nil {
			return err
		}
		f.foreign = f.foreign[1:]
	}
	return nil
}

// deleteTable deletes a table; one that somebody else deleted is no error.
func deleteTable(name string) error {
	c := &nftables.Conn{}
	c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: name})
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete the table %s of nftables: %w", name, err)
	}
	return nil
}
