// Package disktest is a disk in memory that misbehaves on cue: it runs full, loses what was written when a sync fails,
// and dies at any operation. It remembers for every file and every folder what is only written and what is synced,
// so that Restart can show what the next process would find after a kill or after a power cut.
//
// For one seed and one order of operations it always does the same. It starts no goroutines, and
// works in a bubble of testing/synctest. Paths are absolute; "/" and "/tmp" are there from the beginning.
// It does not model pages that reach the disk out of order, links, modes, or renames from one folder to another (EXDEV).
package disktest

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"

	"github.com/taskcluster/upload-agent/agent/internal/disk"
)

// ErrCrashed is what every operation gives from the crash on.
var ErrCrashed = errors.New("the process or the machine has crashed")

// Op is an operation that is about to happen.
type Op struct {
	Name   string // write, sync, create, rename, remove, mkdir, syncdir, truncate; open, read, close, lock, readdir, size
	Path   string // for rename the old name
	Number int    // counts those that change something (the first eight), from 1; 0 for the others
}

// Faults gives the error that the operation is to fail with, or nil. It may block, and call the disk.
//
// A write that fails with ENOSPC or EIO leaves a part of it, and perhaps garbage behind that. A sync that fails loses what it
// should have saved, unseen: it reads as written, the next Sync succeeds, and after a power cut it is not there
// (zeros are, if the file went on behind it). Whatever else fails has no effect.
type Faults func(Op) error

// Disk is a disk.Disk. Make it with New.
type Disk struct {
	mu      sync.Mutex
	random  *rand.Rand
	root    *node
	faults  Faults
	ops     int
	temps   int // folders that MkdirTemp has made
	crashAt int
	crashed bool
	dead    chan struct{} // nil until someone asks
}

var _ disk.Disk = (*Disk)(nil)

// New makes an empty disk, which draws all its luck from random; nobody else may use that meanwhile.
func New(random *rand.Rand) *Disk {
	root := newFolder()
	root.name("tmp", newFolder())
	root.settle()
	return &Disk{random: random, root: root}
}

// SetFaults puts f in the place of the faults so far; nil means none.
func (d *Disk) SetFaults(f Faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = f
}

// CrashAt makes the operation of that number the last. Whether it takes effect is random; of a write it may also be a part.
func (d *Disk) CrashAt(number int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crashAt = number
}

// Crash ends it now.
func (d *Disk) Crash() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crash()
}

// Dead is closed at the crash. The channel is made by the first call: in a synctest bubble, call it there.
func (d *Disk) Dead() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead == nil {
		d.dead = make(chan struct{})
		if d.crashed {
			close(d.dead)
		}
	}
	return d.dead
}

// Ops is the number of the last operation that changed something.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// Files gives every file as it reads now, or as it read at the crash, by path.
func (d *Disk) Files() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	files := make(map[string][]byte)
	d.root.collect(string(filepath.Separator), files)
	return files
}

// Restart crashes the disk, if it has not crashed yet, and gives what the next process finds. The locks are gone;
// the faults stay, the numbers go on, and CrashAt has to be called anew.
//
// After a kill (not power) that is everything that was written. After a power cut it is what was synced, and as it happens
// also some of what was not: of each file a prefix of its writes and truncations, and of each folder some of the changes
// to its names, those of one name in their order and a rename wholly or not at all.
func (d *Disk) Restart(power bool) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crash()
	next := &Disk{
		random: rand.New(rand.NewPCG(d.random.Uint64(), d.random.Uint64())),
		faults: d.faults,
		ops:    d.ops,
		temps:  d.temps,
	}
	if power {
		next.root = d.root.afterPowerCut(d.random)
	} else {
		next.root = d.root.clone(make(map[*node]*node))
	}
	return next
}

func (d *Disk) crash() {
	if d.crashed {
		return
	}
	d.crashed = true
	if d.dead != nil {
		close(d.dead)
	}
}

// fate is how much of an operation takes effect.
type fate int

const (
	nothing fate = iota
	whole
	part    // of a write: a prefix
	spoiled // of a write or sync: what Faults says
)

// begin numbers an operation and decides its fate; the error is for the caller. It is called, and returns, with d.mu
// held, but lets go of it while the faults are asked: look at the disk only afterwards.
func (d *Disk) begin(name, path string) (fate, error) {
	if d.crashed {
		return nothing, ErrCrashed
	}
	op := Op{Name: name, Path: path}
	if changes(name) {
		d.ops++
		op.Number = d.ops
		if d.crashAt > 0 && d.ops >= d.crashAt {
			d.crash()
			if name == "write" {
				return fate(d.random.IntN(3)), ErrCrashed
			}
			return fate(d.random.IntN(2)), ErrCrashed
		}
	}
	if d.faults == nil {
		return whole, nil
	}
	err := d.ask(op)
	switch {
	case d.crashed:
		return nothing, ErrCrashed
	case err != nil:
		return spoiled, err
	}
	return whole, nil
}

// ask calls the faults without holding d.mu, and holds it again even if they end the goroutine.
func (d *Disk) ask(op Op) error {
	faults := d.faults
	d.mu.Unlock()
	defer d.mu.Lock()
	return faults(op)
}

func changes(name string) bool {
	switch name {
	case "write", "sync", "create", "rename", "remove", "mkdir", "syncdir", "truncate":
		return true
	}
	return false
}
