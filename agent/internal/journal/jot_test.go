package journal_test

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/agent/internal/disk/disktest"
	"github.com/taskcluster/upload-agent/agent/internal/journal"
)

// inFile is how many logs another process finds in the journal.
func inFile(t *testing.T, d *disktest.Disk) int {
	t.Helper()
	s, err := journal.Read(d, stateDir)
	if err != nil {
		t.Fatal(err)
	}
	return len(s.Logs)
}

// What is jotted down is known at once, and is in the file, in its order, with whatever is written next.
func TestJottedIsWrittenWithTheNext(t *testing.T) {
	for name, next := range map[string]func(*journal.Journal) error{
		"note":   func(j *journal.Journal) error { return j.Note(addLog(3)) },
		"append": func(j *journal.Journal) error { return j.Append(addLog(3)) },
		"sync":   (*journal.Journal).Sync,
		"close":  (*journal.Journal).Close,
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk(1)
			j := create(t, d)
			var writes atomic.Int64
			d.SetFaults(func(op disktest.Op) error {
				if op.Name == "write" {
					writes.Add(1)
				}
				return nil
			})
			for i := range 3 {
				if err := j.Jot(addLog(i)); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(j.State().Logs); n != 3 || inFile(t, d) != 0 {
				t.Errorf("%s: %d known, %d in the file", name, n, inFile(t, d))
			}
			if err := next(j); err != nil {
				t.Fatal(err)
			}
			if n := inFile(t, d); n != len(j.State().Logs) || writes.Load() != 1 {
				t.Errorf("%s: %d of %d in the file after %d writes", name, n, len(j.State().Logs), writes.Load())
			}
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Where nothing comes next it is written by itself, and lasts.
func TestJottedIsWrittenByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(1)
		j := create(t, d)
		for i := range 3 {
			if err := j.Jot(addLog(i)); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(time.Second)
		synctest.Wait()
		if n := inFile(t, d.Restart(true)); n != 3 {
			t.Errorf("%d logs after a power cut", n)
		}
		_ = j.Close() // its disk is gone
	})
}

// Many are written before they take much memory.
func TestManyAreJotted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(1)
		j := create(t, d)
		for i := range 1000 {
			if err := j.Jot(addLog(i)); err != nil {
				t.Fatal(err)
			}
		}
		if n := inFile(t, d); n < 700 {
			t.Errorf("%d of 1000 in the file", n)
		}
		if err := j.Close(); err != nil || inFile(t, d) != 1000 {
			t.Errorf("%v, %d in the file", err, inFile(t, d))
		}
	})
}

// A step that cannot be is refused at once; a disk that fails shows up with the next call, and nothing is acknowledged that is lost.
func TestJottedIsRefusedOrLost(t *testing.T) {
	for name, next := range map[string]func(*journal.Journal) error{
		"note":   func(j *journal.Journal) error { return j.Note(addLog(3)) },
		"append": func(j *journal.Journal) error { return j.Append(addLog(3)) },
		"sync":   (*journal.Journal).Sync,
		"close":  (*journal.Journal).Close,
	} {
		d := newDisk(1)
		j := create(t, d)
		if err := j.Jot(addLog(0)); err != nil {
			t.Fatal(err)
		}
		var refused *journal.StepError
		if err := j.Jot(addLog(0)); !errors.As(err, &refused) {
			t.Errorf("%s: the same again: %v", name, err)
		}
		d.SetFaults(func(op disktest.Op) error {
			if op.Name == "write" {
				return syscall.EIO
			}
			return nil
		})
		if err := next(j); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", name, err)
		}
		if err := j.Sync(); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: sync after that: %v", name, err)
		}
		select {
		case <-j.Failed():
		default:
			t.Errorf("%s: the journal is not dead", name)
		}
		_ = j.Close() // the same error
	}
}
