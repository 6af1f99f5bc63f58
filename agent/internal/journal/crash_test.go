package journal_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"sync"
	"syscall"
	"testing"

	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
	"github.com/taskcluster/upload-agent/agent/internal/journal"
)

// promised is how many records a process has been told are there.
type promised struct{ durable, written, tried int }

// live writes the records from the one with index next on, as the first or as a later process, every third with Append, until the disk dies.
func live(d *disktest.Disk, records []journal.Record, next int) (p promised) {
	p = promised{durable: next, written: next, tried: next}
	var j *journal.Journal
	var err error
	if next == 0 {
		p.tried = 1
		if j, err = journal.Create(d, stateDir, records[0]); err == nil {
			p.durable, p.written = 1, 1
		}
	} else {
		j, err = journal.Open(d, stateDir)
	}
	if err != nil {
		return p
	}
	for i := p.written; i < len(records); i++ {
		p.tried = i + 1
		write := j.Note
		if i%3 == 2 || i == len(records)-1 {
			write = j.Append
		}
		if write(records[i]) != nil {
			break
		}
		p.written = i + 1
		if i%3 == 2 {
			p.durable = i + 1
		}
	}
	if j.Close() == nil {
		p.durable = p.written
	}
	return p
}

// found is how many records the next process finds; it fails if they are not the first ones as they were written.
func found(t *testing.T, d *disktest.Disk, states []journal.State) int {
	t.Helper()
	s, err := journal.Read(d, stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatalf("%v\n%q", err, d.Files()[path])
	}
	for n := range states {
		if reflect.DeepEqual(states[n], s) {
			return n
		}
	}
	t.Fatalf("no state that there was: %+v", s)
	return 0
}

// Killed or without power at any operation, and the next process again: what was acknowledged is there.
func TestCrashAtEveryOperation(t *testing.T) {
	records := wholeRun()
	states := statesOf(t, records)
	whole := newDisk(1)
	if p := live(whole, records, 0); p.durable != len(records) {
		t.Fatalf("without a crash: %+v", p)
	}
	for at := 1; at <= whole.Ops(); at++ {
		for seed := range uint64(8) {
			power := seed%2 == 0
			d := newDisk(seed)
			d.CrashAt(at)
			var generations int
			for next := 0; next < len(records); generations++ {
				p := live(d, records, next)
				d = d.Restart(power)
				next = found(t, d, states)
				least := p.durable
				if !power {
					least = p.written
				}
				if next < least || next > p.tried {
					t.Fatalf("crash at operation %d, seed %d, power cut %v: %d records found after %+v", at, seed, power, next, p)
				}
				if next == 0 {
					clean(t, d)
				}
				if generations == 0 {
					d.CrashAt(d.Ops() + 1 + int(seed)) // the second process dies as well
				}
			}
			if generations > 4 {
				t.Errorf("crash at operation %d, seed %d: it took %d processes", at, seed, generations)
			}
		}
	}
}

// The same with writes and fsyncs that fail, on a disk that may be full.
func TestCrashesAndFaults(t *testing.T) {
	records := wholeRun()
	states := statesOf(t, records)
	for seed := range uint64(400) {
		random := rand.New(rand.NewPCG(seed, 7))
		var mu sync.Mutex
		d := newDisk(seed)
		d.SetFaults(func(op disktest.Op) error {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case op.Name == "write" && random.IntN(8) == 0:
				return []error{syscall.EIO, syscall.ENOSPC}[random.IntN(2)]
			case op.Name == "sync" && random.IntN(12) == 0:
				return syscall.EIO
			}
			return nil
		})
		d.CrashAt(1 + random.IntN(60))
		p := live(d, records, 0)
		d = d.Restart(seed%2 == 0)
		d.SetFaults(nil)
		if _, err := journal.Read(d, stateDir); errors.Is(err, journal.ErrDead) {
			continue // an fsync has failed, and nobody relies on it
		}
		if n := found(t, d, states); n < p.durable || n > p.tried {
			t.Fatalf("seed %d: %d records found after %+v", seed, n, p)
		}
	}
}

func clean(t *testing.T, d *disktest.Disk) {
	t.Helper()
	for name := range d.Files() {
		if err := d.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
}
